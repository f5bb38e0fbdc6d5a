"""Retransmissions: packets that subscribers lost, and padding for bandwidth probes."""

from dataclasses import dataclass

import pytest

from sfu.forwarding.retransmitter import Retransmitter
from sfu.forwarding.rtcp_budget import LOOKUP, REPAIR
from sfu.rtp import rtcp
from tests.forwarding.test_rtcp_handler import Viewing, numbers
from tests.support.wire import Bench, PlainSealer, Wire


@dataclass
class Estimator:
    is_lossy_link: bool


@dataclass
class Path:
    """A downlink of which only the cause of the loss is known."""

    estimator: Estimator


@pytest.fixture
def viewing() -> Viewing:
    return Viewing()


@pytest.fixture
def retransmitter() -> Retransmitter:
    return Retransmitter(PlainSealer())


def nack(ssrc: int, *sequences: int) -> rtcp.Nack:
    (parsed,) = rtcp.parse(rtcp.encode_nack(5, ssrc, list(sequences)))
    assert isinstance(parsed, rtcp.Nack)
    return parsed


@pytest.mark.parametrize(("is_lossy_link", "times"), [(None, 1), (False, 1), (True, 2)])
def test_lost_packets_are_sent_again_twice_on_a_lossy_link(
    viewing: Viewing, retransmitter: Retransmitter, is_lossy_link: bool | None, times: int
) -> None:
    sent = viewing.show(5, key=True)
    path = Path(Estimator(is_lossy_link)) if is_lossy_link is not None else None
    viewing.viewer.downlink = path  # type: ignore[assignment]  # the rest of a downlink is not used
    viewing.viewer.rtcp_budget.begin(100, viewing.bench.now)
    lost = nack(viewing.down_track.ssrc, sent[1].sequence, sent[3].sequence)
    assert retransmitter.resend(viewing.viewer, lost, viewing.bench.now)
    repairs = viewing.wire.media()
    expected = [sent[index].sequence for index in (1, 3) for _ in range(times)]
    assert [int.from_bytes(packet.payload[:2], "big") for packet in repairs] == expected
    assert viewing.viewer.counters.nacks_received == 2
    assert viewing.down_track.retransmitted == 2


def test_packets_of_unknown_streams_and_of_the_repair_stream_are_not_sent_again(
    viewing: Viewing, retransmitter: Retransmitter
) -> None:
    (sent,) = viewing.show(1, key=True)
    viewing.viewer.rtcp_budget.begin(100, viewing.bench.now)
    for ssrc in (4711, viewing.down_track.rtx_ssrc):
        assert retransmitter.resend(viewing.viewer, nack(ssrc, sent.sequence), viewing.bench.now)
    assert viewing.wire.take() == []
    assert viewing.viewer.counters.nacks_received == 0


def test_work_ends_with_the_budget(viewing: Viewing, retransmitter: Retransmitter) -> None:
    sent = viewing.show(200, key=True)
    budget = viewing.viewer.rtcp_budget
    budget.begin(100, viewing.bench.now)
    while budget.spend(LOOKUP + REPAIR):
        pass
    lost = nack(viewing.down_track.ssrc, *(packet.sequence for packet in sent))
    assert not retransmitter.resend(viewing.viewer, lost, viewing.bench.now)
    assert len(viewing.wire.media()) <= 1


def test_padding_is_what_was_sent_once_more(viewing: Viewing, retransmitter: Retransmitter) -> None:
    sent = viewing.show(10, key=True, size=900)
    before, bytes_before = viewing.viewer.twcc_number, viewing.downlink.estimator.sent_bytes
    retransmitter.send_padding(viewing.viewer, 2500, viewing.bench.now)
    repairs = viewing.wire.media()
    assert {(packet.ssrc, packet.payload_type) for packet in repairs} == {(viewing.down_track.rtx_ssrc, 101)}
    assert [int.from_bytes(packet.payload[:2], "big") for packet in repairs] == [
        packet.sequence for packet in reversed(sent[-len(repairs) :])
    ]
    size = sum(len(packet.payload) for packet in repairs)
    assert 2000 < size < 3600
    # The subscriber reports their arrival under numbers that the estimator knows.
    assert numbers(repairs) == list(range(before, before + len(repairs)))
    viewing.downlink.estimator.handle_timer(viewing.bench.now)
    assert viewing.downlink.estimator.sent_bytes - bytes_before >= size


def test_where_nothing_was_sent_padding_is_empty(viewing: Viewing, retransmitter: Retransmitter) -> None:
    retransmitter.send_padding(viewing.viewer, 1000, viewing.bench.now)
    padding = viewing.wire.media()
    assert padding
    assert all(packet.payload == b"" and packet.ssrc == viewing.down_track.rtx_ssrc for packet in padding)
    assert len(set(numbers(padding))) == len(padding)


@pytest.mark.parametrize("what", ["sound only", "not connected"])
def test_where_padding_cannot_be_sent_nothing_is(retransmitter: Retransmitter, what: str) -> None:
    bench, wire = Bench(), Wire()
    viewer = bench.peer(wire)
    if what == "sound only":
        bench.down_track(bench.audio(), viewer)
    else:
        bench.down_track(bench.video(("q",)), viewer)
        viewer.tx = None
    retransmitter.send_padding(viewer, 1000, bench.now)
    assert wire.take() == []
    assert viewer.twcc_number == 0
