"""Boxes according to the standards, and files that other programs read without warnings."""

import io
import json
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from sfu.outputs.fmp4 import AudioTrack, Fragmenter, Sample, VideoTrack, codecs, init_segment
from tests.support.synthetic_stream import recorded

AVCC = bytes.fromhex("0164001fffe100046764001f01000468ee3c80fdf8f800")
CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"mvex", b"moof", b"traf", b"dinf"}


def boxes(data: bytes, path: str = "") -> Iterator[tuple[str, bytes]]:
    """(path, content) of every box, recursively."""
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        assert 8 <= size <= len(data) - at, f"{path}/{kind!r} has a size of {size}"
        name = f"{path}/{kind.decode()}"
        yield name, data[at + 8 : at + size]
        if kind in CONTAINERS:
            yield from boxes(data[at + 8 : at + size], name)
        at += size


def test_the_initialization_segment() -> None:
    init = init_segment(VideoTrack(1280, 720, AVCC), AudioTrack(b"\x11\x90"))
    found = dict(boxes(init))
    paths = [path for path, _ in boxes(init)]

    assert paths[:3] == ["/ftyp", "/moov", "/moov/mvhd"]
    assert paths.count("/moov/trak") == paths.count("/moov/mvex/trex") == 2
    assert found["/ftyp"][:4] == b"cmfc"
    (entry, _) = (content for path, content in boxes(init) if path == "/moov/trak/mdia/minf/stbl/stsd")
    assert struct.unpack_from(">HH", entry, 8 + 8 + 24) == (1280, 720)
    inner = dict(boxes(entry[8 + 8 + 78 :]))
    assert inner["/avcC"] == AVCC
    assert inner["/colr"] == b"nclx" + struct.pack(">HHHB", 6, 6, 6, 0)
    assert codecs(init) == "avc1.64001f,mp4a.40.2"


@pytest.mark.parametrize(
    ("video", "audio", "expected"),
    [(True, False, "avc1.64001f"), (False, True, "mp4a.40.2"), (True, True, "avc1.64001f,mp4a.40.2")],
)
def test_either_track_may_be_missing(video: bool, audio: bool, expected: str) -> None:
    init = init_segment(VideoTrack(640, 360, AVCC) if video else None, AudioTrack(b"\x11\x90") if audio else None)
    assert codecs(init) == expected
    assert [path for path, _ in boxes(init)].count("/moov/trak") == video + audio


def test_times_sizes_and_offsets_of_a_fragment() -> None:
    video = [Sample(b"key", 9000, 9000, True, 3000), Sample(b"delta!", 12_000, 12_000, False, 3100)]
    audio = [Sample(b"a" * 10, 4800, 4800, True, 1024)]
    fragment = Fragmenter().fragment(video, audio, 7)
    found = list(boxes(fragment))

    assert [path for path, _ in found] == [
        "/moof",
        "/moof/mfhd",
        *("/moof/traf", "/moof/traf/tfhd", "/moof/traf/tfdt", "/moof/traf/trun") * 2,
        "/mdat",
    ]
    assert found[1][1] == struct.pack(">II", 0, 7)
    assert [struct.unpack(">IQ", content)[1] for path, content in found if path.endswith("tfdt")] == [9000, 4800]
    runs = [content for path, content in found if path.endswith("trun")]
    count, offset, *samples = struct.unpack(">Ii6I", runs[0][4:])
    assert (count, samples) == (2, [3000, 3, 0x02000000, 3100, 6, 0x01010000])
    assert fragment[offset : offset + 9] == b"keydelta!"
    assert fragment[struct.unpack(">i", runs[1][8:12])[0] :] == b"a" * 10


def test_a_lost_picture_extends_the_previous_one() -> None:
    video = [Sample(b"1", 0, 0, True, 3000), Sample(b"2", 6000, 6000, False, 3000)]
    run = dict(boxes(Fragmenter().fragment(video, [], 1)))["/moof/traf/trun"]
    assert struct.unpack(">Ii6I", run[4:])[2] == 6000


def test_composition_offsets() -> None:
    run = dict(boxes(Fragmenter().fragment([Sample(b"1", 3000, 0, True, 3000)], [], 1)))["/moof/traf/trun"]
    assert struct.unpack(">I", run[:4])[0] == 0x01000F01
    assert struct.unpack(">i", run[-4:])[0] == 3000


def fragmented_file(seconds: int = 3) -> bytes:
    inits, parts = recorded(seconds)
    return inits["180p"] + b"".join(part.data for part in parts)


def test_pyav_reads_all_pictures_and_sound() -> None:
    with av.open(io.BytesIO(fragmented_file()), "r") as file:
        pictures = [frame.pts for frame in file.decode(video=0)]
    assert pictures == [number * 3000 for number in range(90)]
    with av.open(io.BytesIO(fragmented_file()), "r") as file:
        samples = sum(int(frame.samples) for frame in file.decode(audio=0))
    assert samples == pytest.approx(3 * 48_000, abs=3 * 1024)


def test_ffprobe_reports_no_errors(tmp_path: Path) -> None:
    path = tmp_path / "recording.mp4"
    path.write_bytes(fragmented_file())
    done = subprocess.run(
        ["ffprobe", "-v", "warning", "-count_frames", "-show_streams", "-of", "json", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    video, audio = json.loads(done.stdout)["streams"]
    assert (video["codec_name"], video["width"], video["height"], video["nb_read_frames"]) == ("h264", 320, 180, "90")
    assert video["avg_frame_rate"] == "30/1"
    assert {video[name] for name in ("color_space", "color_primaries", "color_transfer")} == {"smpte170m"}
    assert (audio["codec_name"], audio["sample_rate"], audio["channels"]) == ("aac", "48000", 2)
    assert float(video["start_time"]) == float(audio["start_time"]) == 0
