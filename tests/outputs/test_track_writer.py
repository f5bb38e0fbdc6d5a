"""sfu.outputs.track_writer and codec_config: every codec read back, an hour with loss and drift, all kinds of ends."""

import json
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from sfu.errors import MalformedPacket
from sfu.outputs import track_writer
from sfu.outputs.codec_config import codec_config, length_prefixed
from sfu.outputs.disk_writer import DiskWriter
from sfu.outputs.encoder import OpusEncoder, VideoEncoder, annex_b
from sfu.outputs.track_writer import TrackMetadata, TrackWriter, finalize_track
from sfu.rtp.frames import CodedFrame

ABOUT = TrackMetadata("TR_1", "ana", "camera")
WALL = 1_700_000_000.0
ENCODERS = {"VP8": "libvpx", "VP9": "libvpx-vp9", "AV1": "libsvtav1", "H264": "libx264"}


def pictures(codec: str, count: int, width: int = 320, height: int = 180) -> list[CodedFrame]:
    """Pictures at 30 per second, from a timestamp near the wrap."""
    first = 0xFFFF_F000
    if codec == "H264":
        h264 = VideoEncoder(width, height, 300_000)
        found = []
        for number in range(count):
            canvas = np.full((height * 3 // 2, width), 30 + number % 200, np.uint8)
            for packet in h264.encode(canvas, number * 3000):
                data = annex_b(packet, h264.extradata)
                found.append(CodedFrame(data, first + packet.pts, packet.keyframe, 0.0, 0))
        return found
    encoder = av.CodecContext.create(ENCODERS[codec], "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate, encoder.bit_rate = Fraction(1, 90_000), Fraction(30), 300_000
    encoder.gop_size = 30
    encoder.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
    if codec == "AV1":
        encoder.bit_rate = 0
        encoder.options = {"preset": "12", "crf": "40", "svtav1-params": "pred-struct=1"}
    packets = []
    for number in range(count):
        canvas = np.full((height * 3 // 2, width), 30 + number % 200, np.uint8)
        frame = av.VideoFrame.from_numpy_buffer(canvas, "yuv420p")
        frame.pts, frame.time_base = number * 3000, Fraction(1, 90_000)
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return [CodedFrame(bytes(p), first + (p.pts or 0), p.is_keyframe, 0.0, 0) for p in packets]


def sound(count: int) -> list[CodedFrame]:
    encoder, found = OpusEncoder(), []
    for number in range(count):
        wave = 0.2 * np.sin(np.arange(number * 960, number * 960 + 960) / 20)
        packets = encoder.encode(np.stack([wave, wave], axis=1).astype(np.float32), number * 960)
        found += [CodedFrame(packet.data, packet.pts + 77, True, 0.0, 0) for packet in packets]
    return found


def record(folder: Path, codec: str, frames: list[CodedFrame]) -> Path:
    disk = DiskWriter(folder, reserve=0)
    recorder = TrackWriter(disk, "ana-camera", codec, ABOUT)
    rate = 48_000 if codec == "opus" else 90_000
    for frame in frames:
        recorder.receive(frame, WALL + (frame.timestamp - frames[0].timestamp) / rate)
    recorder.close(WALL + 10)
    recorder.close(WALL + 10)
    recorder.receive(frames[0], WALL)
    disk.close()
    result = finalize_track(folder / "ana-camera.mkv")
    assert result is not None
    return result


@pytest.mark.parametrize("codec", ["VP8", "VP9", "AV1", "H264"])
def test_each_codec_plays(tmp_path: Path, codec: str) -> None:
    frames = pictures(codec, 75)
    shape = codec_config(codec, frames[0].data)
    assert (shape.width, shape.height) == (320, 180)
    path = record(tmp_path, codec, frames)
    assert path.name == ("ana-camera.mp4" if codec == "H264" else "ana-camera.webm")
    assert not (tmp_path / "ana-camera.mkv").exists()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (320, 180)
        assert container.duration is not None
        assert container.duration / 1e6 == pytest.approx(2.5, abs=0.05)
        times = [float(frame.time or 0) for frame in container.decode(video=0)]
    assert len(times) == 75
    assert times == pytest.approx([number / 30 for number in range(75)], abs=0.0011)
    lines = [json.loads(line) for line in (tmp_path / "ana-camera.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["begin", "end"]
    assert (lines[0]["started_at"], lines[0]["codec"], lines[0]["width"]) == (WALL, codec, 320)


def test_sound_keeps_its_gaps(tmp_path: Path) -> None:
    frames = [frame for number, frame in enumerate(sound(200)) if not 50 <= number < 125]
    path = record(tmp_path, "opus", frames)
    assert path.suffix == ".webm"
    with av.open(str(path)) as container:
        times = [float(packet.pts * packet.time_base) for packet in container.demux() if packet.pts is not None]
    assert times[49:51] == pytest.approx([0.98, 2.5], abs=0.002)
    assert times[-1] == pytest.approx(3.98, abs=0.002)


@pytest.mark.parametrize("drift", [0.0, 150e-6, -150e-6])
@pytest.mark.parametrize("codec", ["opus", "VP8"])
def test_an_hour_with_loss_has_wall_clock_length(tmp_path: Path, codec: str, drift: float) -> None:
    rng = random.Random(1)
    disk = DiskWriter(tmp_path, reserve=0)
    recorder = TrackWriter(disk, "t", codec, ABOUT)
    step, rate = (0.06, 48_000) if codec == "opus" else (0.2, 90_000)
    key, rest = (b"\xfc\xff\xfe", b"\xfc\xff\xfe") if codec == "opus" else (pictures("VP8", 1)[0].data, b"\x31\0\0")
    count = round(3600 / step)
    for number in range(count + 1):
        if number not in (0, count) and rng.random() < 0.02:
            continue
        now = number * step
        frame = CodedFrame(key if number % 50 == 0 else rest, int(now * (1 + drift) * rate), number % 50 == 0, 0.0, 0)
        recorder.receive(frame, WALL + now + min(0.2, rng.expovariate(100)))
        if number % 1000 == 0:
            recorder.report(number << 32, int(now * (1 + drift) * rate) & 0xFFFFFFFF, WALL + now)
    recorder.close(WALL + 3600)
    disk.close()
    assert recorder.end == pytest.approx(3600, abs=0.040)
    path = finalize_track(tmp_path / "t.mkv")
    assert path is not None
    with av.open(str(path)) as container:
        assert container.duration is not None
        assert container.duration / 1e6 == pytest.approx(3600 + (0.02 if codec == "opus" else step), abs=0.040)
    reports = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()][1:-1]
    assert len(reports) > 15
    for line in reports:  # the sender's clock jumped; the file follows the wall clock
        assert line["media"] == pytest.approx((line["ntp"] >> 32) * step, abs=0.060)
    assert all(line["ntp"] and line["event"] == "report" for line in reports[1:])


def test_a_truncated_file_plays(tmp_path: Path) -> None:
    frames = pictures("VP8", 200)
    disk = DiskWriter(tmp_path, reserve=0)
    recorder = TrackWriter(disk, "t", "VP8", ABOUT)
    for frame in frames:
        recorder.receive(frame, WALL + (frame.timestamp - frames[0].timestamp) / 90_000)
    disk.close()  # like a kill: the last cluster was not written
    with (tmp_path / "t.mkv").open("ab") as file:
        file.write(b"\x1f\x43\xb6\x75\x10\x00\xff\xff half a cluster")
    path = finalize_track(tmp_path / "t.mkv")
    assert path is not None
    with av.open(str(path)) as container:
        count = sum(1 for _ in container.decode(video=0))
    assert 180 - 30 <= count <= 200
    (tmp_path / "empty.mkv").write_bytes(b"")
    assert finalize_track(tmp_path / "empty.mkv") is None


def test_video_begins_with_a_valid_keyframe(tmp_path: Path) -> None:
    disk = DiskWriter(tmp_path, reserve=0)
    recorder = TrackWriter(disk, "t", "VP8", ABOUT)
    frames = pictures("VP8", 3)
    recorder.receive(frames[1], WALL)
    recorder.receive(frames[0]._replace(data=b"\0\1\2"), WALL)
    recorder.handle_timer(WALL + track_writer.MAX_REPORT_WAIT)
    assert (recorder.refused, recorder.frames) == (2, 0)
    recorder.report(1, 1, WALL)
    recorder.receive(frames[0], WALL)
    recorder.receive(frames[1], WALL + 0.033)
    # The sender's timestamps restart at another value.
    recorder.receive(frames[2]._replace(timestamp=5), WALL + 9)
    recorder.close(WALL + 9)
    assert recorder.frames == 3
    assert recorder.end == pytest.approx(9, abs=0.05)
    disk.close()


@pytest.mark.parametrize(("codec", "name"), [("PCMU", "t"), ("VP8", "../t"), ("VP8", ".t")])
def test_unsupported_codecs_and_names(tmp_path: Path, codec: str, name: str) -> None:
    disk = DiskWriter(tmp_path, reserve=0)
    with pytest.raises(ValueError, match="cannot record"):
        TrackWriter(disk, name, codec, ABOUT)
    disk.close()


def test_any_bytes_have_a_codec_config_or_are_malformed() -> None:
    rng = random.Random(7)
    for codec in ENCODERS:
        key = pictures(codec, 1)[0].data
        for _ in range(300):
            data = bytearray(key[: rng.randrange(1, min(len(key), 80))])
            data[rng.randrange(len(data))] = rng.randrange(256)
            try:
                codec_config(codec, bytes(data))
            except MalformedPacket:
                continue
    with pytest.raises(ValueError, match="unsupported codec"):
        codec_config("H265", b"")


def test_start_codes_of_three_and_four_bytes() -> None:
    assert length_prefixed(b"\0\0\0\1ab\0\0\1c\0\0\0\1d") == b"\0\0\0\2ab\0\0\0\1c\0\0\0\1d"
    assert track_writer.MAX_SLEW == 0.005


def reports_of(frames: list[CodedFrame], rate: int, wall: float) -> tuple[int, int]:
    """NTP and RTP time of a report for a first frame captured at `wall`."""
    return int((wall + 2_208_988_800) * (1 << 32)), frames[0].timestamp & 0xFFFF_FFFF


def side(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def test_a_track_begins_on_the_clock_of_its_reports(tmp_path: Path) -> None:
    """The first packets waited 0.4 s in a socket; the first report arrives a second later."""
    frames, disk = sound(200), DiskWriter(tmp_path, reserve=0)
    recorder = TrackWriter(disk, "t", "opus", ABOUT)
    for number, frame in enumerate(frames):
        if number == 50:
            recorder.report(*reports_of(frames, 48_000, WALL - 0.05), WALL + 1)
        recorder.receive(frame, WALL + max(0.4, number * 0.02))
    recorder.close(WALL + 5)
    disk.close()
    begin = side(tmp_path, "t")[0]
    assert begin["clock"] == "reports"
    assert begin["started_at"] == pytest.approx(WALL - 0.05, abs=1e-3)
    path = finalize_track(tmp_path / "t.mkv")
    assert path is not None
    with av.open(str(path)) as container:
        times = [float(packet.pts * packet.time_base) for packet in container.demux() if packet.pts is not None]
    assert times == pytest.approx([number * 0.02 for number in range(200)], abs=0.002)


def test_without_reports_the_fastest_packets_define_the_start(tmp_path: Path) -> None:
    frames, disk = sound(300), DiskWriter(tmp_path, reserve=0)
    recorder = TrackWriter(disk, "t", "opus", ABOUT)
    for number, frame in enumerate(frames):
        recorder.receive(frame, WALL + max(0.4, number * 0.02))
    assert recorder.frames >= 140  # the wait for a report is over
    recorder.close(WALL + 6)
    disk.close()
    begin = side(tmp_path, "t")[0]
    assert begin["clock"] == "arrivals"
    assert begin["started_at"] == pytest.approx(WALL, abs=1e-3)


@pytest.mark.parametrize("off", [-0.2, 0.2])
def test_a_late_report_corrects_the_clock_at_once(tmp_path: Path, off: float) -> None:
    """After five seconds, a report moves the capture times by `off` against the arrival times."""
    frames, disk = sound(500), DiskWriter(tmp_path, reserve=0)
    recorder = TrackWriter(disk, "t", "opus", ABOUT)
    for number, frame in enumerate(frames):
        if number == 250:
            recorder.report(*reports_of(frames, 48_000, WALL + off), WALL + 5)
        recorder.receive(frame, WALL + number * 0.02)
    recorder.close(WALL + 10)
    disk.close()
    assert recorder.end == pytest.approx(9.98 + off, abs=0.005)
    path = finalize_track(tmp_path / "t.mkv")
    assert path is not None
    with av.open(str(path)) as container:
        times = [float(packet.pts * packet.time_base) for packet in container.demux() if packet.pts is not None]
    steps = np.diff(times)
    assert steps.min() > 0
    assert len(times) == 500 - (10 if off < 0 else 0)


def test_reports_that_contradict_the_arrivals_are_ignored(tmp_path: Path) -> None:
    frames, disk = sound(300), DiskWriter(tmp_path, reserve=0)
    recorder = TrackWriter(disk, "t", "opus", ABOUT)
    for number, frame in enumerate(frames):
        if number % 50 == 0:
            recorder.report(number << 32, frame.timestamp & 0xFFFF_FFFF, WALL + number * 0.02)
        recorder.receive(frame, WALL + number * 0.02)
    recorder.close(WALL + 6)
    disk.close()
    assert side(tmp_path, "t")[0]["clock"] == "arrivals"
    assert recorder.end == pytest.approx(5.98, abs=0.002)


def test_stereo_that_begins_with_a_mono_packet_stays_stereo(tmp_path: Path) -> None:
    encoder, left = OpusEncoder(128_000), np.zeros((48_000, 2), np.float32)
    left[:, 0] = 0.5 * np.sin(np.arange(48_000) / 20)
    frames = [CodedFrame(b"\xf8\xff\xfe", number * 960, True, 0.0, 0) for number in range(3)]  # silence, mono
    frames += [CodedFrame(one.data, one.pts + 2_880, True, 0.0, 0) for one in encoder.encode(left, 0)]
    path = record(tmp_path, "opus", frames)
    with av.open(str(path)) as container:
        decoded = [frame.to_ndarray() for frame in container.decode(audio=0)]
    samples = np.concatenate(decoded[5:], axis=1)
    assert samples.shape[0] == 2
    assert np.abs(samples[0]).max() > 20 * np.abs(samples[1]).max()
