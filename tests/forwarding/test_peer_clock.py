"""The clock of a peer: NTP offset, round trip, and answers to reference times."""

import pytest

from sfu.forwarding.peer_clock import NTP_UNITS, REFERENCES_LIMIT, RTT_LIMIT, PeerClock
from sfu.rtp.xr import DlrrBlock


@pytest.mark.parametrize(
    ("delays", "offset"),
    [
        ([0.2], 5.2),
        ([0.2, 0.05], 5.05),  # the least delayed report counts
        ([0.05, 0.25], 5.052),  # a drifting clock is followed slowly
        ([0.05, 1.05], 5.06),
        ([0.05, 1.5], 6.5),  # the peer set its clock
        ([0.05, -60.0], -55.0),
    ],
)
def test_the_offset_comes_from_the_least_delayed_report(delays: list[float], offset: float) -> None:
    clock = PeerClock()
    assert clock.offset is None
    for number, delay in enumerate(delays):
        clock.receive_sender_report(int((1000 + number) * NTP_UNITS), 1005 + number + delay)
    assert clock.offset == pytest.approx(offset)


def test_the_round_trip_is_smoothed() -> None:
    clock = PeerClock()
    assert clock.rtt is None
    clock.receive_round_trip(65536 // 10)
    assert clock.rtt == pytest.approx(0.1, abs=1e-4)
    clock.receive_round_trip(65536 // 2)
    assert clock.rtt == pytest.approx(0.2, abs=1e-4)


@pytest.mark.parametrize("units", [int(RTT_LIMIT * 65536), -1, -65536, 1 << 31])
def test_impossible_round_trips_are_ignored(units: int) -> None:
    """A negative one comes from a timestamp in the future."""
    clock = PeerClock()
    clock.receive_round_trip(units)
    assert clock.rtt is None


def test_a_round_trip_across_the_wrap_of_the_timestamp() -> None:
    clock = PeerClock()
    clock.receive_round_trip(6554 - (1 << 32))
    assert clock.rtt == pytest.approx(0.1, abs=1e-4)


def test_reference_times_are_answered_with_the_delay_since_their_arrival() -> None:
    clock = PeerClock()
    assert clock.dlrr_blocks(1.0) == ()
    clock.add_reference(1, 0x1122_3344_5566_7788, 10.0)
    clock.add_reference(2, 0x0000_0001_8000_0000, 10.25)
    clock.add_reference(2, 0x0000_0002_8000_0000, 10.5)
    assert clock.dlrr_blocks(11.0) == (DlrrBlock(1, 0x3344_5566, 65536), DlrrBlock(2, 0x0002_8000, 32768))
    clock.clear_references()
    assert clock.dlrr_blocks(11.0) == ()


def test_a_long_delay_is_limited_to_its_field() -> None:
    clock = PeerClock()
    clock.add_reference(1, 0, 0.0)
    assert clock.dlrr_blocks(100_000.0)[0].delay == 0xFFFF_FFFF


def test_the_number_of_reference_times_is_bounded() -> None:
    clock = PeerClock()
    for ssrc in range(REFERENCES_LIMIT):
        clock.add_reference(ssrc, 0, 0.0)
    clock.add_reference(0, 1 << 16, 1.0)
    assert [block.ssrc for block in clock.dlrr_blocks(1.0)] == list(range(REFERENCES_LIMIT)), "a known SSRC"
    for ssrc in range(100, 10_000):
        clock.add_reference(ssrc, 0, 1.0)
        assert len(clock.dlrr_blocks(1.0)) <= REFERENCES_LIMIT
