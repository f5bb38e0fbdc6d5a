"""sfu.outputs.recorder and finalize: the result according to ffprobe, after all kinds of ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sfu.outputs.disk_writer import QUEUE_LIMIT
from sfu.outputs.encoder import AudioEncoder, EncodedPacket, VideoEncoder
from sfu.outputs.finalize import finalize, main, runs, whole
from sfu.outputs.fmp4 import AudioTrack, Fragmenter, VideoTrack, init_segment
from sfu.outputs.recorder import Recorder, RecorderStatus

needs_ffprobe = pytest.mark.skipif(not shutil.which("ffprobe"), reason="ffprobe is the judge here")
EPOCH = 1_700_000_000.0


class SyntheticStream:
    """Pictures and a tone, in fragments of 0.2 s."""

    def __init__(self, width: int = 320) -> None:
        self.video, self.audio = VideoEncoder(width, 180, 300_000), AudioEncoder()
        video = VideoTrack(width, 180, self.video.extradata)
        self.init = init_segment(video, AudioTrack(self.audio.extradata))
        self.width = width
        self.number = 0

    def fragment(self) -> tuple[bytes, int, bool]:
        pictures: list[EncodedPacket] = []
        sound: list[EncodedPacket] = []
        for number in range(self.number * 6, self.number * 6 + 6):
            canvas = np.full((270, self.width), 30 + number % 190, np.uint8)
            pictures += self.video.encode(canvas, number * 3000)
            tone = 0.1 * np.sin(np.arange(number * 1600, number * 1600 + 1600) / 20)
            sound += self.audio.encode(np.stack([tone, tone], axis=1).astype(np.float32), number * 1600)
        self.number += 1
        data = Fragmenter().fragment(pictures, sound, self.number)
        return data, pictures[0].pts, pictures[0].keyframe

    def feed(self, recorder: Recorder, fragments: int) -> None:
        for _ in range(fragments):
            data, pts, independent = self.fragment()
            recorder.add(data, pts, independent=independent, duration=0.2)


def probe(path: Path) -> dict[str, object]:
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-show_chapters", "-of", "json", str(path)],
        capture_output=True,
        check=True,
    )
    assert not done.stderr, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def decodes(path: Path) -> None:
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-f", "null", "-"], capture_output=True, check=True
    )
    assert not done.stderr, done.stderr


def boxes(path: Path) -> list[bytes]:
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        found.append(data[at + 4 : at + 8])
        at += int.from_bytes(data[at : at + 4], "big")
    return found


@needs_ffprobe
def test_a_recording_becomes_a_fast_start_file_with_chapters(tmp_path: Path) -> None:
    recorder, stream = Recorder(tmp_path / "one", reserve=0), SyntheticStream()
    for _ in range(15):
        stream.fragment()  # the stream ran for 3 s before the recording began
    recorder.begin(stream.init, EPOCH)
    stream.feed(recorder, 1)
    recorder.note("join", 3.0, "Ana", chapter=True)
    recorder.note("layout", 3.1, "Grid", chapter=True, layout="grid")
    stream.feed(recorder, 29)
    recorder.note("screen", 6.0, "Ben shares a screen\n", chapter=True)
    recorder.note("leave", 7.0, "Ana")
    recorder.note("layout", 99.0, "After the end", chapter=True)
    recorder.close()
    recorder.close()
    status = recorder.snapshot()
    assert (status.state, status.dropped, round(status.seconds, 3)) == ("closed", 0, 6.0)
    done = finalize(tmp_path / "one", "Weekly")
    assert done is not None
    path = tmp_path / "one" / "recording.mp4"
    assert (done.path, done.chapters, done.cut) == (str(path), 2, 0)
    order = boxes(path)
    assert order.index(b"moov") < order.index(b"mdat")
    assert b"moof" not in order
    found = probe(path)
    streams = {stream["codec_type"]: stream for stream in found["streams"]}  # type: ignore[attr-defined]  # JSON of ffprobe
    assert float(streams["video"]["duration"]) == pytest.approx(6.0, abs=0.01)
    assert float(streams["audio"]["duration"]) == pytest.approx(6.0, abs=0.1)
    assert streams["video"]["color_space"] == "smpte170m"
    chapters = [(float(c["start_time"]), c["tags"]["title"]) for c in found["chapters"]]  # type: ignore[attr-defined]  # JSON of ffprobe
    assert chapters == [(0.0, "Ana · Grid"), (3.0, "Ben shares a screen ")]
    decodes(path)
    lines = [json.loads(line) for line in (tmp_path / "one" / "events.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["media", "join", "layout", "screen", "leave", "layout", "end"]
    assert lines[2]["media"] == pytest.approx(0.1)
    assert runs(tmp_path / "one") == []
    assert finalize(tmp_path / "one") is None


@needs_ffprobe
def test_two_workers_make_one_file_of_wall_clock_length(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, reserve=0)
    for start in (0.0, 5.0):
        stream = SyntheticStream()
        recorder.begin(stream.init, EPOCH + start)
        stream.feed(recorder, 10)
        recorder.note("layout", 1.0, f"at {start}", chapter=True)
    recorder.close()
    done = finalize(tmp_path)
    assert done is not None
    assert done.duration == pytest.approx(7.0, abs=0.001)
    found = probe(tmp_path / "recording.mp4")
    assert float(found["format"]["duration"]) == pytest.approx(7.0, abs=0.05)  # type: ignore[index]  # JSON of ffprobe
    assert [float(c["start_time"]) for c in found["chapters"]] == [0.0, 1.0, 6.0]  # type: ignore[attr-defined]  # JSON of ffprobe


@needs_ffprobe
def test_a_new_picture_size_makes_a_second_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder(tmp_path, reserve=0)
    for width in (320, 240):
        stream = SyntheticStream(width)
        recorder.begin(stream.init, EPOCH)
        stream.feed(recorder, 3)
    recorder.close()
    assert main([str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    for name in ("recording.mp4", "recording-2.mp4"):
        decodes(tmp_path / name)


KILLED = """
import sys, time
from pathlib import Path
from tests.outputs.test_recorder import SyntheticStream
from sfu.outputs.recorder import Recorder
stream, recorder = SyntheticStream(), Recorder(Path(sys.argv[1]), reserve=0)
recorder.begin(stream.init, 1_700_000_000.0)
recorder.note("join", 0.0, "Ana", chapter=True)
while True:
    stream.feed(recorder, 1)
    print(stream.number, flush=True)
    time.sleep(0.005)
"""


@needs_ffprobe
def test_kill_9_costs_only_the_last_fragment(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    count = 0
    while count < 12:
        count = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with (tmp_path / "recording.1.mp4").open("ab") as file:
        file.write(b"\0\0\xff\xffmoof" + bytes(100))
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"event": "lay')
    done = subprocess.run(
        [sys.executable, "-m", "sfu.outputs.finalize", str(tmp_path)], capture_output=True, check=True, text=True
    )
    result = json.loads(done.stdout)
    assert result["duration"] >= 11 * 0.2 - 0.001
    assert result["cut"] >= 108
    assert result["chapters"] == 1
    decodes(tmp_path / "recording.mp4")


@needs_ffprobe
@pytest.mark.parametrize("kept", [0.35, 0.62, 0.9, 0.999])
def test_a_truncated_file_is_finalized(tmp_path: Path, kept: float) -> None:
    recorder, stream = Recorder(tmp_path, reserve=0), SyntheticStream()
    recorder.begin(stream.init, EPOCH)
    stream.feed(recorder, 8)
    recorder.close()
    path = tmp_path / "recording.1.mp4"
    os.truncate(path, int(path.stat().st_size * kept))
    end, fragments = whole(path)
    assert 0 < end <= path.stat().st_size
    done = finalize(tmp_path)
    assert done is not None
    assert done.duration == pytest.approx(fragments * 0.2, abs=0.001)
    decodes(tmp_path / "recording.mp4")


def test_a_recording_without_media(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert finalize(tmp_path) is None
    (tmp_path / "recording.1.mp4").write_bytes(SyntheticStream().init)
    assert finalize(tmp_path) is None
    assert (tmp_path / "recording.1.mp4").exists()
    (tmp_path / "recording.1.mp4").write_bytes(b"\0\0\0\x10ftyp12345678\0\0\0\x08moof\0\0\0\x08mdat")
    assert main([str(tmp_path)]) == 1
    assert "error" in json.loads(capsys.readouterr().out)


def settled(recorder: Recorder) -> RecorderStatus:
    for _ in range(500):
        if not recorder.disk._queue:
            break
        time.sleep(0.005)
    time.sleep(0.05)
    return recorder.snapshot()


def test_a_full_disk_is_reported_and_writing_resumes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder, stream = Recorder(tmp_path, reserve=1 << 60), SyntheticStream()
    recorder.begin(stream.init, EPOCH)
    stream.feed(recorder, 3)
    status = settled(recorder)
    assert (status.state, status.error) == ("full", "No space left on device")
    assert status.dropped >= 3
    recorder.disk._reserve = 0
    recorder.disk._retry_at = 0.0
    recorder.begin(stream.init, EPOCH)
    stream.feed(recorder, 7)
    status = settled(recorder)
    assert status.state == "recording"
    assert status.size > 3000
    recorder.close()
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_while_writing(tmp_path: Path) -> None:
    (tmp_path / "recording.1.mp4").symlink_to("/dev/full")
    (tmp_path / "recording.0.mp4").touch()
    recorder, stream = Recorder(tmp_path / "x", reserve=0), SyntheticStream()
    (tmp_path / "x" / "recording.1.mp4").symlink_to("/dev/full")
    recorder.begin(stream.init, EPOCH)
    stream.feed(recorder, 2)
    assert settled(recorder).state in ("full", "failing")
    recorder.close()


def test_a_slow_disk_drops_fragments_until_a_keyframe(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, reserve=0)
    recorder.begin(b"init", EPOCH)
    settled(recorder)
    with recorder.disk._condition:  # blocks the writer thread like a slow disk
        big = bytes(QUEUE_LIMIT // 4)
        for number in range(6):
            recorder.add(big, number, independent=number == 0)
    assert settled(recorder).dropped == 2
    recorder.add(b"P", 7, independent=False)
    assert settled(recorder).dropped >= 3
    recorder.add(b"I", 8, independent=True)
    settled(recorder)
    recorder.add(b"p", 9, independent=False)
    recorder.close()
    assert (tmp_path / "recording.1.mp4").read_bytes().endswith(b"Ip")


def test_fragments_before_begin_and_after_close_are_ignored(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "deep" / "er", reserve=0)
    recorder.add(b"x", 0)
    recorder.note("join", 0.0, "Ana")
    recorder.close()
    recorder.note("leave", 0.0, "Ana")
    recorder.begin(b"x", EPOCH)
    assert len((tmp_path / "deep" / "er" / "events.jsonl").read_text().splitlines()) == 2
