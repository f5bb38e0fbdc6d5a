"""Who wishes fewer frames gets fewer of the same picture, without a freeze and without a keyframe: layers in the stream."""

import asyncio

import pytest

from tests.web.guest import Guest, Meeting
from tests.web.steady import ATTEMPTS, watched

CAMERA = "320x180x30"
"Of one size, so that nothing else can change."


async def rate(guest: Guest, track: str, seconds: float = 4.0) -> float:
    """Frames decoded per second."""
    loop = asyncio.get_running_loop()
    before, begin = (await guest.received(track))["framesDecoded"], loop.time()
    await asyncio.sleep(seconds)
    return ((await guest.received(track))["framesDecoded"] - before) / (loop.time() - begin)


async def keyframes(guest: Guest) -> int:
    return sum([one["keyFramesEncoded"] for one in await guest.streams("outbound", "video")])


@pytest.mark.parametrize("codec", ["vp8"])
async def test_frames_a_second_are_what_was_wished(meeting: Meeting, codec: str) -> None:
    ada, bob = await meeting.join("Ada", camera=CAMERA, codec=codec), await meeting.join("Bob", camera="320x180x5")
    track = await ada.track()
    await bob.sees(track, frames=90)
    whole = await rate(bob, track)
    found: dict[int, list[float]] = {1: [], 2: [], 4: []}

    async def changes() -> None:
        for part in (4, 1, 2, 4, 2, 1):
            await bob.wish({"track": track, "fps": whole / part if part > 1 else 0})
            await asyncio.sleep(2.0)
            found[part].append(await rate(bob, track))

    flows = []
    for _ in range(ATTEMPTS):
        before = await keyframes(ada)
        flows.append(await watched(bob, track, changes))
        made = await keyframes(ada) - before
        print(found, flows[-1], "keyframes", made)
        if flows[-1].freezes == 0 and flows[-1].pause < 0.6 and not made:
            break
    else:
        raise AssertionError(f"{flows}, keyframes {made}")
    for part, rates in found.items():
        assert rates[-2:] == pytest.approx([whole / part] * 2, rel=0.25)
