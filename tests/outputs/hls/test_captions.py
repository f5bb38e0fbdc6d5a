"""Caption tracks: late cues, text that needs escaping, bounds, and the playlist."""

import pytest

from sfu.outputs.hls import captions
from sfu.outputs.hls.captions import CUES, MAX_CUE_LENGTH, CaptionTrack

EPOCH = 1_767_225_600.0


def track(segments: int = 0) -> CaptionTrack:
    made = CaptionTrack("en", "English")
    add_segments(made, range(segments))
    return made


def add_segments(made: CaptionTrack, numbers: range, *, discontinuity: bool = False) -> None:
    """One segment of a second per number; segment 0 begins at the epoch."""
    for number in numbers:
        made.add_segment(number, EPOCH + number, 1.0, discontinuity=discontinuity, epoch=EPOCH)


def cues(made: CaptionTrack, msn: int) -> list[str]:
    """The cues of a segment, as `start --> end text`."""
    text = made.segment(msn)
    assert text is not None
    return [block.replace("\n", " ") for block in text.decode().rstrip("\n").split("\n\n")[2:]]


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        (2.0, 2.5, {2: "00:00:02.000 --> 00:00:02.500"}),
        (2.2, 4.0, {2: "00:00:02.200 --> 00:00:04.000", 3: "00:00:02.200 --> 00:00:04.000"}),
        (0.5, 1.5, {2: "00:00:02.000 --> 00:00:03.000"}),  # late: from the current segment on, for one second
        (0.5, 3.5, {2: "00:00:02.000 --> 00:00:03.500", 3: "00:00:02.000 --> 00:00:03.500"}),
        (3.0, 3.5, {3: "00:00:03.000 --> 00:00:03.500"}),  # waits for its segment
    ],
)
def test_a_cue_is_in_each_segment_that_shows_it(start: float, end: float, shown: dict[int, str]) -> None:
    made = track(2)
    made.add("Hello", EPOCH + start, EPOCH + end)
    add_segments(made, range(2, 5))
    for msn in range(5):
        assert cues(made, msn) == ([f"{shown[msn]} Hello"] if msn in shown else [])


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a & b <i>c</i>", "a &amp; b &lt;i&gt;c&lt;/i&gt;"),
        ("00:01 --> 00:02", "00:01 --&gt; 00:02"),
        ("one\n\n\ntwo", "one\ntwo"),
        ("one\r\n\r\nNOTE two", "one\nNOTE two"),
        ("  padded  ", "padded"),
        ("x" * (MAX_CUE_LENGTH + 1), "x" * MAX_CUE_LENGTH),
    ],
)
def test_text_cannot_end_its_cue(text: str, written: str) -> None:
    made = track()
    made.add(text, EPOCH, EPOCH + 1)
    add_segments(made, range(1))
    segment = made.segment(0)
    assert segment is not None
    assert segment.decode().endswith(f"\n\n00:00:00.000 --> 00:00:01.000\n{written}\n")


def test_empty_cues_and_cues_after_the_end_are_ignored() -> None:
    made = track()
    made.add(" \n ", EPOCH, EPOCH + 1)
    made.end()
    made.add("late", EPOCH, EPOCH + 1)
    add_segments(made, range(1))
    assert cues(made, 0) == []


def test_waiting_and_visible_cues_are_bounded() -> None:
    made = track()
    for number in range(3 * CUES):
        made.add(f"future {number}", EPOCH + 1.0, EPOCH + 100)
    add_segments(made, range(2))
    assert [len(cues(made, msn)) for msn in (0, 1)] == [0, CUES]
    for number in range(3 * CUES):
        made.add(f"more {number}", EPOCH + 2.0, EPOCH + 100)
    add_segments(made, range(2, 4))
    assert [len(cues(made, msn)) for msn in (2, 3)] == [CUES, CUES]


def test_the_playlist_lists_the_same_segments_as_the_video() -> None:
    made = track(2)
    add_segments(made, range(2, 3), discontinuity=True)
    assert made.playlist(1).decode() == (
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:1\n"
        "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:01.000Z\n#EXTINF:1.00000,\ncaptions-en/1.vtt\n"
        "#EXT-X-DISCONTINUITY\n"
        "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:02.000Z\n#EXTINF:1.00000,\ncaptions-en/2.vtt\n"
    )
    assert b"#EXT-X-MEDIA-SEQUENCE:7\n" in made.playlist(7)
    add_segments(made, range(3, 4))
    assert b"#EXT-X-DISCONTINUITY-SEQUENCE:1\n" in made.playlist(3)
    made.end()
    ended = made.playlist(0)
    assert b"#EXT-X-PLAYLIST-TYPE:VOD\n" in ended
    assert ended.endswith(b"#EXT-X-ENDLIST\n")


def test_a_playlist_without_segments_starts_where_the_video_starts() -> None:
    assert b"#EXT-X-MEDIA-SEQUENCE:5\n" in track().playlist(5)
    assert track().segment(0) is None


def test_old_segments_are_removed_and_their_discontinuities_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "KEPT", 3)
    made = track()
    add_segments(made, range(2), discontinuity=True)
    add_segments(made, range(2, 6))
    assert [msn for msn in range(-1, 7) if made.segment(msn) is not None] == [3, 4, 5]
    assert b"#EXT-X-DISCONTINUITY-SEQUENCE:2\n" in made.playlist(0)


def test_segments_map_media_time_to_wall_clock() -> None:
    text = track(1).segment(0)
    assert text == (b"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\nNOTE zero 2026-01-01T00:00:00.000+00:00\n")
