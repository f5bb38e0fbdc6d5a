import pytest

from sfu.forwarding.encoding import Encoding
from sfu.rtp.rtcp import SenderReport
from tests.support.wire import Bench


def encoding(kind: str = "video") -> Encoding:
    bench = Bench()
    track = bench.video(()) if kind == "video" else bench.audio()
    made = track.encodings[""]
    made.ssrc = 5
    return made


@pytest.mark.parametrize(
    ("sequences", "taken", "highest", "lost"),
    [
        ([1, 2, 3], [True] * 3, 3, 0),
        ([1, 3], [True, True], 3, 1),
        ([1, 3, 2], [True] * 3, 3, 0),
        ([1, 2, 2], [True, True, False], 2, 0),
        ([65_534, 65_535, 0, 1], [True] * 4, 65_537, 0),
        ([65_535, 1, 0], [True] * 3, 65_537, 0),
        ([1000, 400], [True, False], 1000, 0),
        ([1, 30_000], [True, True], 30_000, 29_998),
    ],
)
def test_places_in_the_stream(sequences: list[int], taken: list[bool], highest: int, lost: int) -> None:
    made = encoding()
    assert [made.record_arrival(sequence, 0, 1.0) for sequence in sequences] == taken
    report = made.report(2.0)
    assert report is not None
    assert (report.highest_sequence, report.packets_lost) == (highest, lost)


def test_the_fraction_is_of_the_interval() -> None:
    made = encoding()
    for sequence in range(100):
        if sequence % 4:
            made.record_arrival(sequence, 0, 1.0)
    first = made.report(2.0)
    for sequence in range(100, 200):
        made.record_arrival(sequence, 0, 3.0)
    second = made.report(4.0)
    assert first is not None
    assert second is not None
    assert first.fraction_lost == 24 * 256 // 99
    assert second.fraction_lost == 0
    assert second.packets_lost == 24


def test_jitter_is_that_of_rfc_3550() -> None:
    """Every second packet comes 10 ms late: the mean deviation tends to 10 ms."""
    made = encoding("audio")
    for number in range(400):
        made.record_arrival(number, number * 960, number * 0.02 + (0.01 if number % 2 else 0.0))
    assert made.jitter == pytest.approx(480, rel=0.02)


def test_the_report_refers_to_the_last_sender_report() -> None:
    made = encoding()
    made.record_arrival(1, 0, 1.0)
    made.sender_report(SenderReport(5, 0x1234_5678_9ABC_DEF0, 0, 0, 0, ()), 10.0)
    report = made.report(10.5)
    assert report is not None
    assert (report.lsr, report.dlsr) == (0x5678_9ABC, 32_768)


def test_no_packet_no_report() -> None:
    assert encoding().report(1.0) is None


def test_silence_and_life_are_reported_once() -> None:
    made = encoding()
    made.last_arrival = 1.0
    assert made.check_alive(1.5)
    assert not made.check_alive(1.6)
    assert made.check_alive(2.5)
    assert not made.alive
