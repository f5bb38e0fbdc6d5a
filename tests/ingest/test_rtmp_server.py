"""Real encoders publish over RTMP; a subscriber receives and decodes their media."""

import asyncio
import itertools
import os
import shutil
import signal
from pathlib import Path

import av
import pytest
from av.audio.codeccontext import AudioCodecContext

from sfu.ingest.rtmp_server import MAX_FAILURES
from sfu.rtp.codecs import h264
from sfu.rtp.frames import FrameAssembler
from tests.ingest.support import AAC, H264, ROOM, Received, ingest_server, until
from tests.support.wire import rtp

DECODERS = {"H264": "h264", "VP9": "libvpx-vp9", "AV1": "libdav1d"}
pytestmark = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is the encoder here")


def decoded_pictures(received: Received, codec: str = "H264") -> list[av.VideoFrame]:
    assembler, decoder = FrameAssembler(codec), av.CodecContext.create(DECODERS[codec], "r")
    frames = []
    for packet in received.video:
        data = rtp(
            packet.payload, ssrc=packet.ssrc, sequence=packet.sequence, timestamp=packet.timestamp, marker=packet.marker
        )
        frames += assembler.receive(data, 0.0)
    assert isinstance(decoder, av.VideoCodecContext)
    return [picture for frame in frames for picture in decoder.decode(av.Packet(frame.data))]


def decoded_samples(received: Received) -> int:
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, AudioCodecContext)
    return sum(frame.samples for packet in received.audio for frame in decoder.decode(av.Packet(packet.payload)))


async def test_an_encoder_is_seen_and_heard(tmp_path: Path) -> None:
    async with ingest_server(tmp_path) as one:
        key = await one.create_key()
        client = await one.watch()
        received = Received(client)
        encoder = await one.encode(key, *H264, *AAC)

        def enough() -> bool:
            received.take()
            return len({packet.timestamp for packet in received.video}) > 40 and len(received.audio) > 60

        await client.until(enough, 40)
        pictures = decoded_pictures(received)
        assert len(pictures) > 30
        assert {(picture.width, picture.height) for picture in pictures} == {(320, 180)}
        assert decoded_samples(received) >= 50 * 960
        stamps = [packet.timestamp for packet in received.audio]
        steps = {(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(stamps)}
        assert steps == {960}
        joined = next(event for event in client.events if event["type"] == "participant_joined")
        assert joined["participant"]["kind"] == "ingress"
        assert joined["participant"]["attributes"] == {"ingest": "live", "ingest_protocol": "rtmp"}
        status = await one.status()
        assert (status["state"], status["codec"], status["width"], status["problem"]) == ("live", "H264", 320, "")
        assert key not in str(status)

        # The encoder reconnects: the same tracks go on.
        encoder.kill()
        await until(lambda: one.server.ingests.states()["waiting"] == 1)
        count, ssrc = len(received.video), {packet.ssrc for packet in received.video}
        await one.encode(key, *H264, *AAC)

        def resumed() -> bool:
            received.take()
            return len(received.video) > count + 60

        await client.until(resumed, 40)
        assert {packet.ssrc for packet in received.video} == ssrc
        sequences = [packet.sequence for packet in received.video]
        assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(sequences))
        times = [packet.timestamp for packet in received.video]
        assert all((b - a) & 0xFFFFFFFF < 90_000 * 30 for a, b in itertools.pairwise(times))
        assert len(decoded_pictures(received)) > len(pictures)
        assert not [event for event in client.events if event["type"] == "track_unpublished"]

        # Its key is revoked.
        status = await one.status()
        await one.ask("DELETE", f"/rooms/{ROOM}/ingest/{status['id']}")
        assert (await one.ask("GET", f"/rooms/{ROOM}/ingest"))["ingests"] == []
        await client.until(lambda: [event for event in client.events if event["type"] == "participant_left"])
        await client.close()


async def test_b_frames_are_transcoded_with_a_hint(tmp_path: Path) -> None:
    async with ingest_server(tmp_path) as one:
        key = await one.create_key()
        client = await one.watch()
        received = Received(client)
        codec = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "30", "-pix_fmt", "yuv420p")
        await one.encode(key, *codec, "-an")

        def enough() -> bool:
            received.take()
            return len({packet.timestamp for packet in received.video}) > 30

        await client.until(enough, 40)
        times = list(dict.fromkeys(packet.timestamp for packet in received.video))
        assert all((b - a) & 0xFFFFFFFF < 90_000 for a, b in itertools.pairwise(times))
        assert len(decoded_pictures(received)) > 20
        assert "B-frames" in (await one.status())["problem"]
        await client.close()


@pytest.mark.parametrize(("codec", "name"), [("libx265", "HEVC"), ("flv1", "Sorenson")])
async def test_codecs_that_browsers_lack_are_refused(tmp_path: Path, codec: str, name: str) -> None:
    async with ingest_server(tmp_path) as one:
        encoder = await one.encode_with_pyav(await one.create_key(), codec)
        await until(lambda: one.server.ingests.states()["error"])
        status = await one.status()
        assert name in status["problem"]
        assert await asyncio.wait_for(encoder.wait(), 30) != 0


@pytest.mark.parametrize(("codec", "name"), [("libvpx-vp9", "VP9"), ("libsvtav1", "AV1")])
async def test_enhanced_rtmp(tmp_path: Path, codec: str, name: str) -> None:
    async with ingest_server(tmp_path) as one:
        key = await one.create_key()
        client = await one.watch()
        received = Received(client)
        await one.encode_with_pyav(key, codec)

        def enough() -> bool:
            received.take()
            return len({packet.timestamp for packet in received.video}) > 20

        await client.until(enough, 60)
        assert (await one.status())["codec"] == name
        pictures = decoded_pictures(received, name)
        assert len(pictures) > 10
        assert (pictures[0].width, pictures[0].height) == (320, 180)
        await client.close()


async def test_wrong_keys_are_refused_and_counted(tmp_path: Path) -> None:
    async with ingest_server(tmp_path) as one:
        await one.create_key()
        encoder = await one.encode("wrong", *H264, "-an")
        assert await asyncio.wait_for(encoder.wait(), 30) != 0
        assert one.server.ingests.counters.refused["wrong_key"] == 1
        assert MAX_FAILURES > 1
        assert len(one.server.rooms) == 0


async def test_lower_layers_are_encoded(tmp_path: Path) -> None:
    async with ingest_server(tmp_path, ingest__renditions='["160x90@100"]') as one:
        key = await one.create_key()
        client = await one.watch()
        received = Received(client)
        await one.encode(key, *H264, "-an")
        await client.until(lambda: [event for event in client.events if event["type"] == "track_published"], 40)
        (track,) = [event["track"] for event in client.events if event["type"] == "track_published"]
        assert [layer["rid"] for layer in track["layers"]] == ["q", "f"]
        for width, height in ((160, 90), (320, 180)):
            update = {"track": track["id"], "width": width, "height": height}
            await client.request("subscribe", tracks=[update])

            def shown(size: tuple[int, int] = (width, height)) -> bool:
                received.take()
                sizes = {(one.width, one.height) for packet in received.video for one in sizes_of(packet.payload)}
                return size in sizes

            await client.until(shown, 40)
            received.video.clear()
        await client.close()


def sizes_of(payload: bytes) -> list[h264.Descriptor]:
    described = h264.describe(payload, 0, len(payload))
    return [described] if described.width else []


async def test_sound_returns_after_the_transcoder_died(tmp_path: Path) -> None:
    async with ingest_server(tmp_path) as one:
        key = await one.create_key()
        client = await one.watch()
        received = Received(client)
        await one.encode(key, *H264, *AAC)

        def heard() -> bool:
            received.take()
            return len(received.audio) > 20

        await client.until(heard, 40)
        (stream,) = one.server.ingests._streams.values()
        assert stream._transcoder is not None
        pid = stream._transcoder.pid
        os.kill(pid, signal.SIGKILL)
        await client.until(lambda: stream._transcoder is not None and stream._transcoder.pid not in (0, pid), 40)
        received.take()
        received.audio.clear()
        await client.until(heard, 40)
        assert len({packet.ssrc for packet in received.audio}) == 1
        await client.close()
