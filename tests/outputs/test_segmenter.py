"""Segment and part boundaries, also when ticks are dropped."""

from fractions import Fraction
from typing import Any

import pytest

from sfu.outputs.fmp4 import Sample
from sfu.outputs.segmenter import Part, Segmenter
from tests.outputs.test_fmp4 import boxes


def run(segmenter: Segmenter, numbers: range | list[int]) -> list[Part]:
    """Frames with these numbers at 30 per second; keyframes where the segmenter wants them."""
    parts = []
    for number in numbers:
        pts = number * 3000
        parts += segmenter.receive_video([Sample(b"x", pts, pts, segmenter.wants_keyframe(pts), 3000)])
    return parts


def approx(seconds: float) -> Any:
    return pytest.approx(seconds)


def outline(parts: list[Part]) -> list[tuple[int, int, bool, float]]:
    return [(part.msn, part.index, part.independent, part.duration) for part in parts]


def test_six_frames_per_part_and_five_parts_per_segment() -> None:
    parts = run(Segmenter("720p"), range(66))
    assert outline(parts) == [(n // 5, n % 5, n % 5 == 0, 0.2) for n in range(11)]
    assert [part.pts for part in parts] == [n * 18_000 for n in range(11)]


def test_a_part_is_complete_with_its_last_frame() -> None:
    segmenter = Segmenter("720p")
    assert run(segmenter, range(5)) == []
    assert len(run(segmenter, [5])) == 1


DROPPED = [
    ("in the middle", [0, 1, 2, 4, 5], [(0, 0, True, 0.2)]),
    ("at a part's end", [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11], [(0, 0, True, 0.2), (0, 1, False, 0.2)]),
    ("at a part's begin", [*range(6), *range(7, 12)], [(0, 0, True, 0.2), (0, 1, False, 1 / 6)]),
    (
        "where a segment would begin",
        [*range(30), *range(31, 60)],
        [*((0, n, n == 0, 0.2) for n in range(5)), *((1, n, n == 0, 0.2 if n else 1 / 6) for n in range(5))],
    ),
    ("a whole part and more", [*range(3), *range(15, 18)], [(0, 0, True, 0.2), (0, 1, False, 0.1)]),
]


@pytest.mark.parametrize(("numbers", "expected"), [row[1:] for row in DROPPED], ids=[row[0] for row in DROPPED])
def test_dropped_ticks(numbers: list[int], expected: list[tuple[int, int, bool, float]]) -> None:
    segmenter = Segmenter("720p")
    parts = run(segmenter, numbers)
    assert outline(parts) == [(*one[:3], approx(one[3])) for one in expected]
    assert all(part.duration <= 0.2 for part in parts)


def test_media_has_no_gap_after_dropped_ticks() -> None:
    segmenter = Segmenter("720p")
    parts = run(segmenter, [*range(3), *range(15, 18)])
    found = [dict(boxes(part.data)) for part in parts]
    begins = [int.from_bytes(one["/moof/traf/tfdt"][4:]) for one in found]
    durations = [
        sum(int.from_bytes(run[at : at + 4]) for at in range(12, len(run), 12))
        for run in (one["/moof/traf/trun"] for one in found)
    ]
    assert begins == [0, 45_000]
    assert begins[0] + durations[0] == begins[1]
    assert segmenter.stretched == 1


def test_only_wanted_keyframes_begin_a_segment() -> None:
    segmenter = Segmenter("720p")
    parts = []
    for number in range(66):
        pts = number * 3000
        parts += segmenter.receive_video([Sample(b"x", pts, pts, number in (0, 12, 33, 63), 3000)])
    assert [(part.msn, part.index, part.independent) for part in parts] == [
        *((0, n, n in (0, 2)) for n in range(6)),
        *((1, n, n == 0) for n in range(5)),
    ]
    assert [parts[5].duration, parts[6].pts] == [pytest.approx(0.1), 99_000]


def test_a_missing_keyframe_does_not_exceed_the_target_duration() -> None:
    segmenter, parts = Segmenter("720p"), []
    for number in range(120):
        parts += segmenter.receive_video([Sample(b"x", number * 3000, number * 3000, number == 0, 3000)])
    assert max(part.index for part in parts) == 6


def test_no_parts_before_the_first_keyframe() -> None:
    segmenter = Segmenter("720p")
    assert segmenter.receive_video([Sample(b"x", 0, 0, False, 3000)]) == []
    assert outline(run(segmenter, range(3, 9))) == [(0, 0, True, 0.2)]


def test_sound_belongs_to_the_part_of_its_time_and_is_never_awaited() -> None:
    segmenter = Segmenter("720p")
    priming = Sample(b"p", -1024, -1024, True, 1024)
    sound = [priming, *(Sample(bytes([n]), n * 1024, n * 1024, True, 1024) for n in range(12))]
    segmenter.receive_audio(sound)
    first, second = run(segmenter, range(12))
    ends = Fraction(1, 5) * 48_000
    heard = [n for n in range(12) if n * 1024 < ends]
    assert first.data.endswith(bytes(heard))
    assert second.data.endswith(bytes(range(len(heard), 12)))
    assert [path for path, _ in boxes(run(segmenter, range(12, 18))[0].data)].count("/moof/traf") == 1


def test_flush() -> None:
    segmenter = Segmenter("720p")
    run(segmenter, range(8))
    assert outline(segmenter.flush()) == [(0, 1, False, approx(1 / 15))]
    assert segmenter.flush() == []
