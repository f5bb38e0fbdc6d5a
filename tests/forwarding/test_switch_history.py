"""Segments of three real streams; the subscriber's numbers are counted back from the last one sent."""

import pytest

from sfu.forwarding.encoding import Encoding
from sfu.forwarding.offsets import Offsets
from sfu.forwarding.packet import Packet
from sfu.forwarding.switch_history import SEGMENTS, Segment, SwitchHistory
from tests.support.wire import Bench


@pytest.fixture
def streams() -> list[Encoding]:
    """Streams that have forwarded up to sequence number 100, 200 and (after a wrap) 5."""
    track = Bench().video(("q", "h", "f"))
    streams = list(track.encodings.values())
    for stream, highest, cycles in zip(streams, (100, 200, 5), (0, 0, 65_536), strict=True):
        stream.highest = stream.forwarded = highest
        stream.cycles = cycles
    return streams


def found(history: SwitchHistory, back: int, *, is_open: bool = True) -> Segment:
    segment = history.find(back, is_open=is_open)
    assert segment is not None
    return segment


def packet(sequence: int) -> Packet:
    return Packet(0x9000, sequence, 0, 0xBEDE0001, b"", 22, 0, 0, None, False)


def test_an_empty_history_finds_nothing() -> None:
    history = SwitchHistory()
    history.end()
    assert history.find(0, is_open=False) is None
    assert history.find(0, is_open=True) is None


def test_numbers_belong_to_the_stream_that_was_sent_then(streams: list[Encoding]) -> None:
    low, middle, _ = streams
    history = SwitchHistory()
    history.begin(low, Offsets(1), 91)  # ten packets up to 100
    history.end()
    history.begin(middle, Offsets(2), 196)  # five packets up to 200
    assert [found(history, back).stream is middle for back in (0, 4, 5, 14)] == [True, True, False, False]
    assert found(history, 4).offsets == Offsets(2)
    assert found(history, 14).offsets == Offsets(1)
    assert history.find(15, is_open=True) is None


def test_an_open_segment_grows_and_an_ended_one_does_not(streams: list[Encoding]) -> None:
    low, _, _ = streams
    history = SwitchHistory()
    history.begin(low, Offsets(), 100)
    assert history.find(1, is_open=True) is None
    low.highest = low.forwarded = 102
    assert found(history, 2).stream is low
    history.end()
    low.highest = low.forwarded = 110
    assert found(history, 2, is_open=False).length == 3
    assert history.find(3, is_open=False) is None


def test_a_segment_may_end_before_what_its_stream_forwarded(streams: list[Encoding]) -> None:
    low, middle, _ = streams
    history = SwitchHistory()
    history.begin(low, Offsets(), 91)
    history.end_before(95)
    history.begin(middle, Offsets(), 200)
    assert found(history, 4).length == 4
    assert history.find(5, is_open=True) is None


@pytest.mark.parametrize("end", [91, 80])
def test_a_segment_without_packets_has_no_numbers(streams: list[Encoding], end: int) -> None:
    low, middle, _ = streams
    history = SwitchHistory()
    history.begin(low, Offsets(), 91)
    history.end_before(end)
    history.begin(middle, Offsets(), 200)
    assert found(history, 0).stream is middle
    assert history.find(1, is_open=True) is None


def test_late_packets_from_before_the_switch_are_recognized(streams: list[Encoding]) -> None:
    _, _, wrapped = streams
    history = SwitchHistory()
    history.begin(wrapped, Offsets(), 65_534)
    cases = [(65_533, True), (65_534, False), (65_535, False), (0, False), (5, False)]
    assert [(number, history.is_before(packet(number))) for number, _ in cases] == cases
    assert found(history, 7).start == 65_534
    assert history.find(8, is_open=True) is None


def test_the_history_is_bounded(streams: list[Encoding]) -> None:
    low, _, _ = streams
    history = SwitchHistory()
    for number in range(3 * SEGMENTS):
        history.begin(low, Offsets(number), 100)
        history.end()
    assert found(history, SEGMENTS - 1, is_open=False).offsets == Offsets(2 * SEGMENTS)
    assert history.find(SEGMENTS, is_open=False) is None
