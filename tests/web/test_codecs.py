"""Every codec that browsers offer goes through, in layers, and so do Opus' own means against loss and idle bits."""

from typing import Any

import pytest

from tests.web.guest import TWO_LAYERS, Meeting
from tests.web.steady import steady

CAMERA = "640x360x10"
"Two layers: three of AV1 are too much for two cores, and an encoder without breath makes its pictures smaller by itself."
TINY = "320x180x15"
ANSWER = "() => watched.connections[0].currentRemoteDescription.sdp"


@pytest.mark.parametrize(("codec", "mime"), [("h264", "video/H264"), ("vp9", "video/VP9"), ("av1", "video/AV1")])
async def test_a_codec_is_decoded_and_switches_layers(meeting: Meeting, codec: str, mime: str) -> None:
    ada = await meeting.join("Ada", camera=CAMERA, codec=codec)
    bob = await meeting.join("Bob", camera=TINY)
    track = await ada.track()
    await bob.sees(track)
    assert (await bob.received(track))["mime"] == mime
    await bob.subscribe({"track": track, "width": 640, "height": 360})
    await bob.width(track, 640, within=30)

    async def down_and_up() -> None:
        for width in (320, 640):
            await bob.subscribe({"track": track, "width": width, "height": width * 9 // 16})
            await bob.width(track, width)
            await bob.sees(track, frames=5)

    flow = await steady(bob, track, down_and_up, pause=0.8)

    assert flow.widths == (640, 320, 640)


async def test_red_says_everything_twice(meeting: Meeting) -> None:
    even: dict[str, Any] = {"test-microphone": "processed"}
    ada = await meeting.join("Ada", camera=TINY, dtx="off", **even)
    bob = await meeting.join("Bob", camera=TINY, dtx="off", red="off", **even)
    cleo = await meeting.join("Cleo", camera=TINY)
    twice, once = await ada.track("microphone"), await bob.track("microphone")
    await cleo.hears(twice)
    await cleo.hears(once)

    # The browser's statistics name Opus either way; what tells is the size of the packets.
    sizes = await cleo.until(
        "one hundred packets of both",
        """async (tracks) => {
            const heard = await watched.pictures();
            const all = tracks.map((track) => heard[track]);
            return all.every(({ packetsReceived }) => packetsReceived >= 100)
                && all.map(({ bytesReceived, packetsReceived }) => bytesReceived / packetsReceived);
        }""",
        [twice, once],
    )

    assert sizes[0] > 1.6 * sizes[1]
    assert " 63 111\r\n" in await ada.run(ANSWER)
    assert "usedtx=1" not in await ada.run(ANSWER)


async def test_silence_is_hardly_sent(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", camera=TINY), await meeting.join("Bob", camera=TINY)
    microphone = await ada.track("microphone")
    await bob.hears(microphone)
    assert "usedtx=1" in await ada.run(ANSWER)
    assert "useinbandfec=1" in await ada.run(ANSWER)

    # Silence at the source, of which the signalling knows nothing.
    await ada.run("() => { sfu.local.state.microphone.sent.enabled = false; }")
    await ada.until(
        "fewer than twenty packets a second",
        """async () => {
            const { packetsSent, timestamp } = (await watched.streams())
                .find(({ type, kind }) => type === 'outbound-rtp' && kind === 'audio');
            const { packetsSent: before = 0, timestamp: then = 0 } = watched.voice ?? {};
            if (timestamp < then + 1000) return false;
            watched.voice = { packetsSent, timestamp };
            return (packetsSent - before) / (timestamp - then) < 0.02;
        }""",
    )
    await ada.run("() => { sfu.local.state.microphone.sent.enabled = true; }")
    await bob.hears(microphone)


async def test_without_simulcast_one_picture_is_sent(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", camera=TWO_LAYERS, simulcast="off"), await meeting.join("Bob")
    track = await ada.track()

    await bob.width(track, 640)
    await bob.subscribe({"track": track, "width": 160, "height": 90})
    await bob.sees(track)

    assert [one.get("rid") for one in await ada.streams("outbound", "video")] == [None]
    assert (await bob.received(track))["frameWidth"] == 640
