"""Transport-wide feedback: recorded arrivals, encoded and parsed again."""

from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.bandwidth.twcc import Recorder, encode_chunks, parse_feedback
from sfu.errors import MalformedPacket
from sfu.rtp import rtcp

TICK = 1 / 4000


def arrivals_in(packets: list[bytes]) -> dict[int, float | None]:
    """Maps numbers to arrivals and checks that the RTCP packets are well-formed."""
    found: dict[int, float | None] = {}
    for packet in packets:
        assert len(packet) <= 1150
        (parsed,) = rtcp.parse(packet)
        assert isinstance(parsed, rtcp.TransportFeedback)
        assert (parsed.sender_ssrc, parsed.media_ssrc) == (1, 2)
        found.update(parse_feedback(parsed.fci).arrivals)
    return found


def recorded(*arrivals: tuple[int, float]) -> Recorder:
    recorder = Recorder(1)
    for number, arrival in arrivals:
        recorder.record(number, arrival)
    return recorder


@pytest.mark.parametrize(
    ("symbols", "chunks"),
    [
        (b"1", (0x2001,)),
        (b"1" * 20, (0x2014,)),
        (b"0" * 100 + b"1", (0x0064, 0x2001)),
        (b"0" * 10_000, (0x1FFF, 0x0711)),
        (b"01" * 7, (0x9555,)),
        (b"01" * 3, (0x9500,)),
        (b"0120120", (0xC618,)),
        (b"2" * 7, (0x4007,)),
        (b"2121", (0xE640,)),
    ],
)
def test_chunks(symbols: bytes, chunks: tuple[int, ...]) -> None:
    assert encode_chunks(symbols) == pack(f"!{len(chunks)}H", *chunks)


def test_no_feedback_without_packets() -> None:
    assert Recorder(1).feedback(2) == []


def test_regular_packets_byte_by_byte() -> None:
    recorder = recorded((7, 64.0641), (8, 64.0651), (9, 64.0651))
    assert recorder.feedback(2) == [
        bytes.fromhex("af cd 0006 00000001 00000002 0007 0003 0003e9 00 2003 000400 000003".replace(" ", ""))
    ]
    assert recorder.feedback(2) == []


@pytest.mark.parametrize(
    "arrivals",
    [
        [(1, 1.0), (2, 1.001), (4, 1.002)],
        [(65534, 1.0), (65535, 1.001), (0, 1.002), (1, 1.002)],
        [(2, 1.0), (1, 1.001), (3, 1.002)],
        [(2, 1.002), (1, 1.001), (3, 1.0)],
        [(1, 1.0), (2, 1.5), (3, 5.0)],
        [(1, 1.0), (2, 60.0)],
        [(1, 1.0), (30_000, 1.01)],
        [(n, 1 + n * 0.0005) for n in range(2000)],
        [(n * 15 % 65536, 1 + n * 0.1) for n in range(2000)],
    ],
)
def test_arrivals_round_trip(arrivals: list[tuple[int, float]]) -> None:
    found = arrivals_in(recorded(*arrivals).feedback(2))
    assert {number for number, at in found.items() if at is not None} == {number for number, _ in arrivals}
    for number, at in arrivals:
        assert found[number] == pytest.approx(at, abs=TICK)


def test_a_gap_between_feedbacks_is_reported_as_lost() -> None:
    recorder = recorded((1, 1.0))
    recorder.feedback(2)
    recorder.record(4, 1.1)
    assert set(arrivals_in(recorder.feedback(2))) == {4}
    recorder.record(5, 1.11)
    recorder.record(7, 1.11)
    assert arrivals_in(recorder.feedback(2))[6] is None


def test_a_late_packet_is_reported_with_its_neighbours() -> None:
    recorder = recorded((1, 1.0), (3, 1.01))
    assert arrivals_in(recorder.feedback(2))[2] is None
    recorder.record(2, 1.05)
    recorder.record(4, 1.06)
    found = arrivals_in(recorder.feedback(2))
    assert found[2] == pytest.approx(1.05)
    assert found[3] == pytest.approx(1.01)
    assert found[4] == pytest.approx(1.06)
    assert 1 not in found


def test_history_ends_after_half_a_second() -> None:
    recorder = recorded((1, 1.0), (3, 1.01))
    recorder.feedback(2)
    for number in range(4, 10):
        recorder.record(number, 1.5 + number / 10)
        recorder.feedback(2)
    recorder.record(2, 2.5)
    found = arrivals_in(recorder.feedback(2))
    assert found[2] == pytest.approx(2.5)
    assert found[3] is None
    assert found[9] == pytest.approx(2.4)


def test_duplicates_are_reported_once() -> None:
    recorder = recorded((1, 1.0), (1, 1.1), (2, 1.2))
    assert arrivals_in(recorder.feedback(2))[1] == pytest.approx(1.0)
    recorder.record(2, 1.3)
    assert recorder.feedback(2) == []


def test_a_restarted_sender_is_followed() -> None:
    recorder = recorded((30_000, 1.0), (30_001, 1.0))
    recorder.feedback(2)
    recorder.record(5, 2.0)
    assert arrivals_in(recorder.feedback(2)) == {5: 2.0}
    recorder.record(6, 2.25)
    assert arrivals_in(recorder.feedback(2)) == {6: 2.25}


def test_feedbacks_are_counted() -> None:
    recorder = Recorder(1)
    counts = []
    for number in range(300):
        recorder.record(number, number / 100)
        (packet,) = recorder.feedback(2)
        counts.append(packet[19])
    assert counts == [number & 0xFF for number in range(300)]


@given(st.lists(st.lists(st.tuples(st.integers(0, 0xFFFF), st.floats(0, 100)), max_size=40), max_size=6))
def test_hostile_numbers_and_clocks(batches: list[list[tuple[int, float]]]) -> None:
    recorder = Recorder(1)
    for batch in batches:
        for number, arrival in batch:
            recorder.record(number, arrival)
        packets = recorder.feedback(2)
        assert len(packets) <= 400
        arrivals_in(packets)


@given(
    st.integers(0, 0xFFFF),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 2000), st.booleans()), min_size=1, max_size=300),
)
def test_regular_traffic_round_trips(first: int, steps: list[tuple[int, int, bool]]) -> None:
    recorder = Recorder(1)
    number, tick = first, 40_000
    sent: dict[int, int] = {}
    found: dict[int, float | None] = {}
    for skip, wait, flush in steps:
        number += 1 + (skip if skip > 15 else 0)
        tick += wait
        sent[number & 0xFFFF] = tick
        recorder.record(number & 0xFFFF, (tick + 0.5) / 4000)
        if flush:
            found.update(arrivals_in(recorder.feedback(2)))
    found.update(arrivals_in(recorder.feedback(2)))
    assert {number: round(at * 4000) for number, at in found.items() if at is not None} == sent


@pytest.mark.parametrize(
    ("fci", "what"),
    [
        (b"", "nothing"),
        (bytes(7), "half a header"),
        (pack("!HHI", 1, 0, 0), "no packet"),
        (pack("!HHI", 1, 1, 0), "no chunk"),
        (pack("!HHIH", 1, 1, 0, 0), "an empty run"),
        (pack("!HHIH", 1, 1, 0, 0x2001), "a small delta that is missing"),
        (pack("!HHIHB", 1, 1, 0, 0x4001, 1), "half of a large delta"),
        (pack("!HHIHI", 1, 1, 0, 0x6001, 1), "the reserved symbol"),
        (pack("!HHI8H", 1, 0xFFFF, 0, *[0x1FFF] * 8), "65,535 packets"),
    ],
)
def test_malformed_feedback(fci: bytes, what: str) -> None:
    with pytest.raises(MalformedPacket):
        parse_feedback(fci)


def test_parsed_fields() -> None:
    feedback = parse_feedback(pack("!HHIHHhB", 65535, 9, 5 << 8 | 9, 0x8000 | 1 << 13, 0xC000 | 2 << 12, -4, 8)[:-1])
    assert feedback.base == 65535
    assert feedback.feedback_count == 9
    assert feedback.reference_time == pytest.approx(0.32)


def test_mixed_symbols() -> None:
    fci = pack("!HHIHBhB", 65535, 4, 5 << 8, 0xC000 | 0b01_00_10_01 << 6, 4, -4, 8)
    assert parse_feedback(fci).arrivals == [
        (65535, pytest.approx(0.321)),
        (0, None),
        (1, pytest.approx(0.32)),
        (2, pytest.approx(0.322)),
    ]


@given(st.binary(max_size=400))
def test_random_feedback(data: bytes) -> None:
    try:
        feedback = parse_feedback(data)
    except MalformedPacket:
        return
    assert len(feedback.arrivals) == feedback.count


@given(st.integers(0, 3000), st.binary(max_size=400))
def test_random_chunks(count: int, data: bytes) -> None:
    try:
        parse_feedback(memoryview(pack("!HHI", 1, count, 0) + data))
    except MalformedPacket:
        return
