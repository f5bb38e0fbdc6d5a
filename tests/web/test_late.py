"""A late joiner sees all participants at once, without waiting for their next keyframes."""

from typing import Any

import pytest

from tests.web.guest import Guest, Meeting

pytestmark = pytest.mark.quiet  # a second is judged
PICTURE_DEADLINE = 1.0
"""From the first offer of the server, which is when the subscription begins, to the last of the pictures."""
ATTEMPTS = 3
"""A machine that runs three browsers on two cores may be slow once; a server without a keyframe is slow each time."""


async def time_to_picture(guest: Guest, tracks: list[str]) -> dict[str, float]:
    """Seconds from the offer that brought a track to its first decoded picture on the screen."""
    marks: list[dict[str, Any]] = await guest.until(
        "a picture of each participant",
        """(tracks) => {
            const shown = watched.marks.filter(({ name, detail }) => name === 'picture' && tracks.includes(detail));
            const offer = watched.marks.find(({ name }) => name === 'offer');
            return new Set(shown.map(({ detail }) => detail)).size === tracks.length && [offer, ...shown];
        }""",
        tracks,
    )
    return {mark["detail"]: (mark["at"] - marks[0]["at"]) / 1000 for mark in marks[1:]}


async def test_a_third_sees_the_others_within_a_second(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada"), await meeting.join("Bob")
    tracks = [await ada.track(), await bob.track()]
    await ada.sees(tracks[1])
    await bob.sees(tracks[0])

    times = []
    for attempt in range(ATTEMPTS):
        cleo = await meeting.join(f"Cleo {attempt}")
        times.append(max((await time_to_picture(cleo, tracks)).values()))
        if times[-1] <= PICTURE_DEADLINE:
            break
        await cleo.part("leave").click()
        await cleo.part("end").wait_for()
    assert min(times) <= PICTURE_DEADLINE, times

    for one in (ada, bob):
        await one.sees(await cleo.track())
    for track in tracks:
        await cleo.sees(track)
        assert (await cleo.received(track))["pliCount"] <= 1
