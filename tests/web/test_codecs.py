"""Every codec that browsers offer goes through, in layers, and so do Opus' own means against loss and idle bits."""

import pytest

from tests.web.guest import Guest, Meeting
from tests.web.steady import steady

CAMERA = "960x540x10"


@pytest.mark.parametrize(("codec", "mime"), [("h264", "video/H264"), ("vp9", "video/VP9"), ("av1", "video/AV1")])
async def test_a_codec_is_decoded_and_switches_layers(meeting: Meeting, codec: str, mime: str) -> None:
    ada = await meeting.join("Ada", camera=CAMERA, codec=codec)
    bob = await meeting.join("Bob", camera="320x180x5")
    track = await ada.track()
    await bob.sees(track)
    assert (await bob.received(track))["mime"] == mime
    for width in (240, 960):
        await bob.wish({"track": track, "width": width, "height": width * 9 // 16})
        await bob.width(track, width, within=30)

    async def down_and_up() -> None:
        for width in (240, 480, 960):
            await bob.wish({"track": track, "width": width, "height": width * 9 // 16})
            await bob.width(track, width)
            await bob.sees(track, frames=5)

    flow = await steady(bob, track, down_and_up, pause=0.8)

    assert flow.widths == (960, 240, 480, 960)


async def voice(guest: Guest) -> dict[str, object]:
    """Of its outgoing sound: codec, and packets a second over one second."""
    before = (await guest.streams("outbound", "audio"))[0]
    after = await guest.until(
        "a second of packets",
        """async (timestamp) => {
            const now = (await watched.streams()).find(({ type, kind }) => type === 'outbound-rtp' && kind === 'audio');
            return now.timestamp >= timestamp + 1000 && now;
        }""",
        before["timestamp"],
    )
    seconds = (after["timestamp"] - before["timestamp"]) / 1000
    return {**after, "rate": (after["packetsSent"] - before["packetsSent"]) / seconds}


async def test_sound_is_sent_twice_in_red_and_pauses_with_dtx(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada"), await meeting.join("Bob")
    microphone = await ada.track("microphone")
    await bob.hears(microphone)

    assert (await voice(ada))["mime"] == "audio/red"
    assert (await bob.received(microphone))["mime"] in ("audio/red", "audio/opus")
    answer = await ada.run("() => watched.connections[0].currentRemoteDescription.sdp")
    assert "usedtx=1" in answer
    assert "useinbandfec=1" in answer

    # Silence at the source, of which the signalling knows nothing: hardly a packet is sent, and nothing is made up.
    await ada.run("() => { sfu.local.state.microphone.sent.enabled = false; }")
    await ada.until(
        "few packets",
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


async def test_without_red_plain_opus_is_sent(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", red="off", dtx="off"), await meeting.join("Bob")
    await bob.hears(await ada.track("microphone"))

    assert (await voice(ada))["mime"] == "audio/opus"
    assert (await bob.received(await ada.track("microphone")))["mime"] == "audio/opus"
    assert "usedtx=1" not in await ada.run("() => watched.connections[0].currentRemoteDescription.sdp")


async def test_without_simulcast_one_picture_is_sent(meeting: Meeting) -> None:
    ada, bob = await meeting.join("Ada", simulcast="off"), await meeting.join("Bob")
    track = await ada.track()

    await bob.width(track, 640)
    await bob.wish({"track": track, "width": 160, "height": 90})
    await bob.sees(track)

    assert [one.get("rid") for one in await ada.streams("outbound", "video")] == [None]
    assert (await bob.received(track))["frameWidth"] == 640
