"""Playlists of a live stream from start to replay, each checked by `rules` and by an independent parser."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import m3u8
import pytest

from sfu.outputs.fmp4 import AudioTrack, VideoTrack, init_segment
from sfu.outputs.hls.live_stream import LiveStream, State
from sfu.outputs.hls.rendition_stream import Limits
from sfu.outputs.hls.storage import DirectoryStorage
from sfu.outputs.segmenter import Part
from sfu.outputs.settings import Rendition
from sfu.resources.disk_executor import DiskExecutor
from tests.outputs.hls import rules
from tests.outputs.test_fmp4 import AVCC

LADDER = (
    Rendition("1080p", 1920, 1080, 4_000_000),
    Rendition("720p", 1280, 720, 1_500_000),
    Rendition("480p", 848, 480, 700_000),
)
INIT = init_segment(VideoTrack(1280, 720, AVCC), AudioTrack(b"\x11\x90"))
OTHER_INIT = init_segment(VideoTrack(848, 480, AVCC), AudioTrack(b"\x11\x90"))
START = 1_700_000_000.25


def part(number: int, rendition: str = "720p", size: int = 100) -> Part:
    """Part that begins at `number` · 0.2 s."""
    data = f"{rendition}:{number};".encode().ljust(size, b".")
    return Part(rendition, number // 5, number % 5, number % 5 == 0, 0.2, number * 18_000, data)


def live_stream(
    parts: int = 0, *, dvr: float = 12.0, keep: bool = True, storage: DirectoryStorage | None = None, ladder: int = 3
) -> LiveStream:
    made = LiveStream("PG_1", LADDER[:ladder], Limits(dvr, 6.0, keep), storage)
    made.begin(START)
    for one in made.streams:
        made.add_init(one, INIT)
    feed(made, range(parts))
    return made


def feed(made: LiveStream, numbers: range) -> None:
    for number in numbers:
        for name in made.streams:
            made.add_part(part(number, name))


def live(made: LiveStream, name: str = "720p", *, skip: bool = False) -> str:
    return made.media(name, skip=skip).decode()


def checked(text: str) -> m3u8.M3U8:
    assert rules.media(text) == []
    return m3u8.loads(text)


class ImmediateExecutor(DiskExecutor):
    """Executes each job when it is submitted."""

    def __init__(self) -> None:
        super().__init__("at once")

    def submit(self, job: Callable[[], None], size: int = 0, *, admitted: bool = False) -> bool:
        job()
        return True


class SyncDirectory(DirectoryStorage):
    def __init__(self, root: Path) -> None:
        super().__init__(root, ImmediateExecutor())


@pytest.fixture
def directory(tmp_path: Path) -> DirectoryStorage:
    return SyncDirectory(tmp_path / "PG_1")


def test_a_complete_playlist() -> None:
    made = live_stream(7)
    assert (
        live(made)
        == """#EXTM3U
#EXT-X-VERSION:9
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-TARGETDURATION:1
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.600,HOLD-BACK=3.000,CAN-SKIP-UNTIL=6.000
#EXT-X-PART-INF:PART-TARGET=0.200
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-MAP:URI="720p/init0.mp4"
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:20.250Z
#EXT-X-PART:DURATION=0.20000,URI="720p/0.0.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.20000,URI="720p/0.1.m4s"
#EXT-X-PART:DURATION=0.20000,URI="720p/0.2.m4s"
#EXT-X-PART:DURATION=0.20000,URI="720p/0.3.m4s"
#EXT-X-PART:DURATION=0.20000,URI="720p/0.4.m4s"
#EXTINF:1.00000,
720p/0.m4s
#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:21.250Z
#EXT-X-PART:DURATION=0.20000,URI="720p/1.0.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.20000,URI="720p/1.1.m4s"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="720p/1.2.m4s"
#EXT-X-RENDITION-REPORT:URI="1080p.m3u8",LAST-MSN=1,LAST-PART=1
#EXT-X-RENDITION-REPORT:URI="480p.m3u8",LAST-MSN=1,LAST-PART=1
"""
    )


@pytest.mark.parametrize("parts", [1, 4, 5, 6, 14, 15, 16, 40, 61, 200, 203])
def test_every_playlist_of_a_live_stream(parts: int) -> None:
    made = live_stream(parts)
    read = checked(live(made))
    assert read.target_duration == 1
    assert read.part_inf.part_target == pytest.approx(0.2)
    assert read.media_sequence == max(0, parts // 5 - 13 if parts > 65 else 0) or read.media_sequence <= parts // 5
    complete = [one for one in read.segments if one.uri]
    assert [one.uri for one in complete] == [
        f"720p/{msn}.m4s" for msn in range(read.media_sequence, read.media_sequence + len(complete))
    ]
    assert read.media_sequence + len(complete) == parts // 5
    assert read.preload_hint.uri == f"720p/{parts // 5}.{parts % 5}.m4s"
    assert (complete[0].init_section.uri if complete else "720p/init0.mp4") == "720p/init0.mp4"
    assert sum(one.duration for one in complete) <= 13.01
    assert {report.uri for report in read.rendition_reports} == {"1080p.m3u8", "480p.m3u8"}


def test_constants_stay_and_numbers_only_increase() -> None:
    made, before = live_stream(), None
    for number in range(150):
        feed(made, range(number, number + 1))
        text = live(made)
        read = checked(text)
        head = text.split("#EXT-X-MEDIA-SEQUENCE")[0]
        if before is not None:
            assert head == before[0]
            assert before[1] <= read.media_sequence <= before[1] + 1
        before = (head, read.media_sequence)


def test_a_delta_update_equals_the_full_playlist() -> None:
    made = live_stream(55)
    old = live(made)
    feed(made, range(55, 62))
    update, whole = live(made, skip=True), live(made)
    assert rules.media(update) == []
    assert "#EXT-X-SKIP:SKIPPED-SEGMENTS=6\n" in update
    assert len(update) < len(whole)
    assert rules.apply(old, update).split("\n") == whole.split("\n")


def test_a_short_playlist_is_sent_in_full() -> None:
    made = live_stream(30)
    assert live(made, skip=True) == live(made)


@pytest.mark.parametrize(
    ("parts", "msn", "part_index", "expected"),
    [
        (0, 0, 0, False),
        (3, 0, 2, True),
        (3, 0, 3, False),
        (3, 0, None, False),
        (5, 0, None, True),
        (5, 0, 7, False),
        (6, 0, 7, True),
        (5, 1, 0, False),
        (6, 1, 0, True),
        (6, 0, None, True),
    ],
)
def test_blocking_reload(parts: int, msn: int, part_index: int | None, expected: bool) -> None:
    assert live_stream(parts).streams["720p"].has(msn, part_index) is expected


def test_waiting_requests_are_woken_once() -> None:
    made, woken = live_stream(3), []
    made.streams["720p"].waiting.add(lambda: woken.append(1))
    feed(made, range(3, 6))
    assert woken == [1]


def test_a_worker_restart() -> None:
    made = live_stream(8)
    made.discontinuity(START + 5)
    for name in made.streams:
        made.add_init(name, OTHER_INIT)
    feed(made, range(12))
    text = live(made)
    read = m3u8.loads(text)
    assert rules.media(text) == []
    assert [(one.uri, one.discontinuity, one.duration) for one in read.segments if one.uri] == [
        ("720p/0.m4s", False, 1.0),
        ("720p/1.m4s", False, pytest.approx(0.6)),
        ("720p/2.m4s", True, 1.0),
        ("720p/3.m4s", False, 1.0),
    ]
    assert [one.init_section.uri for one in read.segments[:3]] == [
        "720p/init0.mp4",
        "720p/init0.mp4",
        "720p/init1.mp4",
    ]
    assert read.segments[2].program_date_time - read.segments[0].program_date_time == timedelta(seconds=5)
    assert made.streams["720p"].part(2, 1, 1) == part(1).data
    assert made.streams["720p"].part(2, 1) is None
    assert '"720p/2.1.1.m4s"' in text


def test_removed_discontinuities_are_counted() -> None:
    made = live_stream(8)
    for again in (1, 2):
        made.discontinuity(START + 5 * again)
        for name in made.streams:
            made.add_init(name, INIT)
        feed(made, range(8))
    feed(made, range(8, 120))
    read = checked(live(made))
    assert read.discontinuity_sequence == 2
    assert not any(one.discontinuity for one in read.segments)


def test_old_segments_are_on_disk_and_expired_ones_are_removed(directory: DirectoryStorage) -> None:
    made = live_stream(200, storage=directory, keep=False)
    stream = made.streams["720p"]
    assert stream.part(39, 4) == part(199).data
    assert stream.segment(39) == b"".join(part(number).data for number in range(195, 200))
    assert stream.part(30, 0) is None
    assert stream.segment(30) == "720p/30.m4s"
    path = directory.path("720p/30.m4s")
    assert path is not None
    assert path.read_bytes() == b"".join(part(number).data for number in range(150, 155))
    # No longer listed, but a player with the previous playlist may still fetch it.
    assert stream.first_listed == 27
    assert stream.segment(20) == "720p/20.m4s"
    assert stream.segment(10) is None
    assert directory.path("720p/10.m4s") is None


def test_without_storage_all_listed_segments_are_in_memory() -> None:
    made = live_stream(100, keep=False)
    for segment in m3u8.loads(live(made)).segments:
        if segment.uri:
            assert isinstance(made.streams["720p"].segment(int(segment.uri[5:-4])), bytes)


def test_the_end_and_the_replay(directory: DirectoryStorage) -> None:
    made = live_stream(103, storage=directory)
    before = made.state
    assert before is State.LIVE
    made.end(START + 30)
    made.end(START + 40)
    read = checked(live(made))
    assert read.is_endlist
    assert read.preload_hint is None
    assert made.streams["720p"].has(99, 3)
    replay = checked(made.streams["720p"].replay().decode())
    assert replay.is_endlist
    assert replay.playlist_type == "vod"
    assert [one.uri for one in replay.segments] == [f"720p/{msn}.m4s" for msn in range(21)]
    assert sum(one.duration for one in replay.segments) == pytest.approx(103 * 0.2)
    assert made.state is State.ENDED
    assert made.ended_at == START + 30
    with pytest.raises(ValueError, match="initialization segment"):
        made.add_part(part(103))
    made.close()
    assert not directory.root.exists()


def test_the_multivariant_playlist() -> None:
    made = live_stream(10)
    text = made.multivariant("PG_1/").decode()
    assert rules.general(text) == []
    read = m3u8.loads(text)
    assert read.is_variant
    assert [one.uri for one in read.playlists] == ["PG_1/720p.m3u8", "PG_1/1080p.m3u8", "PG_1/480p.m3u8"]
    first = read.playlists[0].stream_info
    assert (first.codecs, first.resolution, first.frame_rate) == ("avc1.64001f,mp4a.40.2", (1280, 720), 30.0)
    assert first.bandwidth > first.average_bandwidth == 1_628_000


def test_the_multivariant_playlist_of_a_replay_has_measured_rates(directory: DirectoryStorage) -> None:
    made = live_stream(storage=directory, ladder=1)
    for number in range(10):
        made.add_part(part(number, "1080p", 1000 if number < 5 else 3000))
    made.end(START)
    (only,) = m3u8.loads(made.multivariant().decode()).playlists
    assert only.uri == "1080p.replay.m3u8"
    assert (only.stream_info.bandwidth, only.stream_info.average_bandwidth) == (120_000, 80_000)


def test_caption_segments() -> None:
    made = live_stream(10)
    made.add_captions("en", "English")
    made.caption("en", "Hello <all>", START + 1.5, START + 2.0)
    made.caption("en", "It lasts", START + 2.5, START + 4.2)
    feed(made, range(10, 25))
    text = made.multivariant().decode()
    assert rules.general(text) == []
    assert m3u8.loads(text).media[0].uri == "captions-en.m3u8"
    playlist = m3u8.loads(made.captions_playlist("en").decode())
    assert [one.uri for one in playlist.segments] == [f"captions-en/{msn}.vtt" for msn in (2, 3, 4)]
    track = made.captions["en"]
    first = (track.segment(2) or b"").decode()
    assert first.startswith("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n")
    # The cue precedes the current segment: it is shown from its start, for one second.
    assert "00:00:02.000 --> 00:00:03.000\nHello &lt;all&gt;\n" in first
    for msn in (2, 3, 4):
        assert "00:00:02.500 --> 00:00:04.200\nIt lasts" in (track.segment(msn) or b"").decode()
    assert track.segment(1) is track.segment(5) is None


def test_a_restarted_server_continues_the_stream(directory: DirectoryStorage) -> None:
    live_stream(103, storage=directory)
    again = LiveStream.restored("PG_1", LADDER, Limits(12.0, 6.0, True), directory, directory.found())
    assert again.state is State.LIVE
    again.begin(START + 23)
    for name in again.streams:
        again.add_init(name, INIT)
    feed(again, range(12))
    read = checked(live(again))
    assert [(one.uri, one.discontinuity) for one in read.segments if one.uri][-3:] == [
        ("720p/19.m4s", False),
        ("720p/20.m4s", True),
        ("720p/21.m4s", False),
    ]
    again.end(START + 50)
    replay = checked(again.streams["720p"].replay().decode())
    assert len(replay.segments) == 23
    ended = LiveStream.restored("PG_1", LADDER, Limits(12.0, 6.0, True), directory, directory.found())
    assert ended.state is State.ENDED
    assert ended.streams["720p"].replay() == again.streams["720p"].replay()


def test_a_damaged_journal(directory: DirectoryStorage) -> None:
    live_stream(53, storage=directory)
    directory.remove("720p/4.m4s")
    directory.note(b"nonsense")
    directory.note(b'{"is":"segment","rendition":"720p","msn":77')
    again = LiveStream.restored("PG_1", LADDER, Limits(12.0, 6.0, True), directory, directory.found())
    assert [one.msn for one in again.streams["720p"].segments] == [5, 6, 7, 8, 9]


def test_a_full_disk_affects_only_old_segments(directory: DirectoryStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    made = live_stream(60, storage=directory)
    assert directory.failures > 0
    assert isinstance(made.streams["720p"].segment(11), bytes)
    assert rules.media(live(made)) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (lambda text: text.replace("DURATION=0.20000", "DURATION=0.21000", 1), "4.4.4.9: a part of 0.21 s"),
        (lambda text: text.replace(",INDEPENDENT=YES", "", 1), "a segment does not begin independently"),
        (lambda text: text.replace('#EXT-X-MAP:URI="720p/init0.mp4"\n', ""), "4.4.4.5: no map"),
        (lambda text: text.replace("PART-HOLD-BACK=0.600", "PART-HOLD-BACK=0.300"), "PART-HOLD-BACK is too small"),
        (lambda text: text.replace("22:13:21.250Z", "22:13:21.350Z"), "dates differ"),
        (lambda text: text.replace("#EXT-X-PRELOAD-HINT", "#X"), "no preload hint"),
        (lambda text: text + "#EXT-X-VERSION:9\n", "occurs 2 times"),
    ],
)
def test_the_rules_find_planted_violations(text: "object", complaint: str) -> None:
    assert callable(text)
    assert any(complaint in one for one in rules.media(text(live(live_stream(7)))))


class FullDisk(SyncDirectory):
    """A disk on which every write fails."""

    def write(self, name: str, data: bytes) -> None:
        pass


def held(made: LiveStream) -> int:
    return sum(len(part.data) for stream in made.streams.values() for each in stream.segments for part in each.parts)


def test_a_full_disk_does_not_fill_the_memory(tmp_path: Path) -> None:
    made = live_stream(5 * 15, storage=FullDisk(tmp_path / "PG_1"), ladder=1)
    size = held(made)
    feed(made, range(5 * 15, 5 * 60))
    assert held(made) <= size + 500


def test_an_ended_stream_is_only_on_disk(tmp_path: Path) -> None:
    made = live_stream(5 * 15, storage=SyncDirectory(tmp_path / "PG_1"))
    made.end(START + 15)
    assert held(made) > 0
    whole = live(made)
    made.release_memory()
    made.release_memory()
    assert held(made) == 0
    assert live(made) == whole
    assert made.streams["720p"].segment(3) is not None


def test_the_playlist_of_a_very_long_stream_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfu.outputs.hls.rendition_stream.KEPT", 20)
    monkeypatch.setattr("sfu.outputs.hls.captions.KEPT", 20)
    made = live_stream(ladder=1)
    made.add_captions("en", "English")
    feed(made, range(5 * 30))
    assert len(made.streams["1080p"].segments) == 20
    checked(live(made, "1080p"))
    assert len(made.captions["en"]._blocks) == 20
    for number in range(1000):
        made.caption("en", str(number), START + 40, START + 41)
    assert len(made.captions["en"]._waiting) == 100


def test_a_blocked_disk_affects_only_old_segments(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The queue holds 1,000 bytes: further files are dropped, counted and logged; viewers still get everything in
    memory.
    """
    gate, disk = threading.Event(), DiskExecutor("blocked", size=1_000)
    storage = DirectoryStorage(tmp_path / "PG_1", disk)

    def blocked() -> None:
        gate.wait()

    disk.submit(blocked)
    made = live_stream(5 * 15, storage=storage, ladder=1)
    assert storage.dropped > 5
    assert storage.failures == 0
    assert "the disk is too slow" in caplog.text
    assert len([record for record in caplog.records if "too slow" in record.message]) < 6
    (stream,) = made.streams.values()
    assert all(stream.segment(one.msn) for one in stream.segments if one.complete)
    assert rules.media(made.media(stream.name, skip=False).decode()) == []
    gate.set()
    for begin in range(5 * 15, 5 * 40, 5):  # at the speed of the disk
        assert disk.flush()
        feed(made, range(begin, begin + 5))
    made.end(START + 40)
    assert disk.flush()
    lost = [one.msn for one in stream.segments if one.complete and not isinstance(stream.segment(one.msn), bytes)]
    replay = stream.replay().decode()
    gone = [msn for msn in lost if storage.path(f"{stream.name}/{msn}.m4s") is None]
    assert gone
    for msn in gone:
        assert "#EXT-X-GAP\n" in replay.partition(f"{stream.name}/{msn}.m4s")[0].rpartition(".m4s")[2], msn


def test_continued_by_another_node() -> None:
    lost = live_stream(12)
    lost.discontinuity(START + 4.0)
    for name in lost.streams:
        lost.add_init(name, OTHER_INIT)
    feed(lost, range(7))
    old = checked(live(lost))
    position = lost.position(START + 10.0)
    feed(lost, range(7, 15))  # after the last snapshot

    found = LiveStream("PG_1", LADDER, lost.limits)
    found.continue_from(position, START + 13.2)
    assert found.state is State.WAITING
    found.begin(START + 13.0)
    for name in found.streams:
        found.add_init(name, OTHER_INIT)
    feed(found, range(6))
    text = live(found)
    new = checked(text)
    used = lost.streams["720p"].last[0]
    assert position.msn <= used < new.media_sequence
    assert new.segments[0].discontinuity
    assert "#EXT-X-DISCONTINUITY-SEQUENCE:1\n" in text, "the first segment follows the second discontinuity"
    # The names of parts and of initialization segments do not recur, because viewers have cached those of the lost node.
    before = {one.init_section.uri for one in old.segments if one.init_section is not None}
    assert (before, new.segments[0].init_section.uri) == ({"720p/init0.mp4", "720p/init1.mp4"}, "720p/init2.mp4")
    assert found.streams["720p"].inits == [b"", b"", OTHER_INIT]
    assert found.streams["720p"].next == (new.media_sequence + 1, 1)
