"""Receiver and sender reports: what they contain, how they are split, and which reports of peers count."""

import pytest

from sfu.forwarding.peer_clock import NTP_UNITS
from sfu.forwarding.peer_transport import PeerTransport
from sfu.forwarding.rtcp_reports import RTCP_SIZE, RtcpReports
from sfu.rtp import rtcp
from sfu.rtp.xr import DlrrBlock, ExtendedReport
from tests.support.wire import EXTENSIONS, Bench, Wire, engine_track, rtp, vp8

WALL = 3_900_000_000.5


class Sent:
    """Compound packets that reports sent, by peer."""

    def __init__(self) -> None:
        self.packets: list[tuple[PeerTransport, bytes]] = []
        self.reports = RtcpReports(lambda peer, data: self.packets.append((peer, data)))

    def parsed(self) -> list[list[rtcp.RtcpPacket]]:
        return [rtcp.parse(data) for _, data in self.packets]


def publish(bench: Bench, count: int, *, extra: int = 0) -> None:
    """Video tracks that received one packet each, and `extra` ones that received none."""
    for number in range(count + extra):
        bench.engine.add_track(
            bench.publisher, mid=f"v{number}", kind="video", codec="VP8", parameters="", clock_rate=90_000,
            payload_types={96: "VP8"}, rtx={97: 96}, extensions=EXTENSIONS, rids=(),
            ssrcs=((100 + number, 500 + number),) if number < count else (),
        )  # fmt: skip
    for number in range(count):
        bench.send(rtp(vp8(key=True), ssrc=100 + number, sequence=1, timestamp=0))


def test_receiver_reports_hold_31_blocks_and_our_clock_once() -> None:
    bench, sent = Bench(), Sent()
    publish(bench, 40, extra=1)
    sent.reports.send_receiver_reports(bench.publisher, bench.now, WALL)
    first, second = sent.parsed()
    assert isinstance(first[0], rtcp.ReceiverReport)
    assert isinstance(second[0], rtcp.ReceiverReport)
    assert [len(first[0].reports), len(second[0].reports)] == [31, 9]
    assert [block.ssrc for block in first[0].reports + second[0].reports] == list(range(100, 140))
    assert first[1] == ExtendedReport(bench.publisher.rtcp_ssrc, int(WALL * NTP_UNITS))
    assert len(second) == 1
    assert {peer for peer, _ in sent.packets} == {bench.publisher}


def test_a_publisher_that_sends_nothing_gets_no_report() -> None:
    bench, sent = Bench(), Sent()
    publish(bench, 0, extra=2)
    sent.reports.send_receiver_reports(bench.publisher, bench.now, WALL)
    assert sent.packets == []


def viewing(count: int, sending: int) -> tuple[Bench, PeerTransport, Sent]:
    """A subscriber with `count` down tracks, of which `sending` have sent a packet."""
    bench, sent = Bench(), Sent()
    publish(bench, count)
    subscriber = bench.peer(Wire())
    for number, track in enumerate(bench.publisher.tracks.values()):
        down_track = bench.down_track(track, subscriber, number=number)
        if number < sending:
            bench.engine.set_target(down_track, engine_track(down_track).encodings[""], bench.now)
    for number in range(count):
        report = rtcp.encode_sender_report(rtcp.SenderReport(100 + number, 1000 << 32, 0, 1, 1))
        bench.engine.receive_rtcp(bench.publisher, report, bench.now, WALL)
        bench.send(rtp(vp8(key=True), ssrc=100 + number, sequence=2, timestamp=3000))
    return bench, subscriber, sent


def test_sender_reports_share_datagrams_up_to_a_size() -> None:
    bench, subscriber, sent = viewing(50, 48)
    down_tracks = [down_track for track in bench.publisher.tracks.values() for down_track in track.down_tracks]
    assert len(down_tracks) == 50
    sent.reports.send_sender_reports(subscriber, down_tracks, bench.now, wall=WALL)
    assert len(sent.packets) > 1
    found: list[int] = []
    for (peer, data), packets in zip(sent.packets, sent.parsed(), strict=True):
        assert peer is subscriber
        assert len(data) < RTCP_SIZE + 100
        assert packets[0] == rtcp.ReceiverReport(subscriber.rtcp_ssrc, ()), "RFC 3550 6.1"
        found += [packet.ssrc for packet in packets if isinstance(packet, rtcp.SenderReport)]
    assert found == [down_track.ssrc for down_track in down_tracks[:48]]


def test_each_sender_report_answers_the_reference_times_once() -> None:
    bench, subscriber, sent = viewing(2, 2)
    down_tracks = [down_track for track in bench.publisher.tracks.values() for down_track in track.down_tracks]
    subscriber.clock.add_reference(77, 5 << 32, bench.now)
    for _ in range(2):
        sent.reports.send_sender_reports(subscriber, down_tracks, bench.now + 1, wall=WALL)
    first, second = sent.parsed()
    answers = [packet for packet in first if isinstance(packet, ExtendedReport)]
    block = DlrrBlock(77, 5 << 16, 65536)
    assert answers == [ExtendedReport(down_track.ssrc, None, (block,)) for down_track in down_tracks]
    assert not any(isinstance(packet, ExtendedReport) for packet in second)


def test_reference_times_wait_for_the_first_sender_report() -> None:
    bench, subscriber, sent = viewing(1, 0)
    (track,) = bench.publisher.tracks.values()
    subscriber.clock.add_reference(77, 5 << 32, bench.now)
    sent.reports.send_sender_reports(subscriber, track.down_tracks, bench.now, wall=WALL)
    assert sent.packets == []
    assert len(subscriber.clock.dlrr_blocks(bench.now)) == 1


def test_a_report_without_wall_time_uses_the_last_known_one() -> None:
    bench, subscriber, sent = viewing(1, 1)
    (track,) = bench.publisher.tracks.values()
    for later, wall in ((0.0, WALL), (1.5, None)):
        sent.reports.send_sender_reports(subscriber, track.down_tracks, bench.now + later, wall=wall)
    times = [
        packet.ntp / NTP_UNITS
        for packets in sent.parsed()
        for packet in packets
        if isinstance(packet, rtcp.SenderReport)
    ]
    assert times[1] - times[0] == pytest.approx(1.5, abs=1e-3)


def test_only_reports_of_known_media_streams_set_the_clock() -> None:
    bench, sent = Bench(), Sent()
    publish(bench, 1)
    for ssrc in (999, 500):  # unknown, repair
        sent.reports.take_sender_report(bench.publisher, rtcp.SenderReport(ssrc, 1000 << 32, 0, 1, 1), bench.now, WALL)
    assert bench.publisher.clock.offset is None
    sent.reports.take_sender_report(bench.publisher, rtcp.SenderReport(100, 1000 << 32, 0, 1, 1), bench.now, WALL)
    assert bench.publisher.clock.offset == WALL - 1000


def test_report_blocks_of_other_streams_are_ignored() -> None:
    bench, subscriber, sent = viewing(1, 1)
    (down_track,) = next(iter(bench.publisher.tracks.values())).down_tracks
    lsr = int((WALL - 0.5) * 65536) & 0xFFFF_FFFF
    viewer = next(peer for peer in bench.engine.peers.values() if peer is subscriber)
    blocks = tuple(rtcp.ReportBlock(ssrc, 128, 1, 1, 0, lsr, 65536 // 4) for ssrc in (down_track.rtx_ssrc or 0, 12_345))
    sent.reports.take_blocks(viewer, blocks, bench.now, WALL)
    assert down_track.last_report_block is None
    assert viewer.clock.rtt is None
    block = rtcp.ReportBlock(down_track.ssrc, 128, 1, 1, 0, lsr, 65536 // 4)
    sent.reports.take_blocks(viewer, (*blocks, block), bench.now, WALL)
    assert down_track.last_report_block == block
    assert viewer.clock.rtt == pytest.approx(0.25, abs=1e-3)


def test_a_block_without_a_last_report_measures_no_round_trip() -> None:
    bench, subscriber, sent = viewing(1, 1)
    (down_track,) = next(iter(bench.publisher.tracks.values())).down_tracks
    viewer = next(peer for peer in bench.engine.peers.values() if peer is subscriber)
    sent.reports.take_blocks(viewer, (rtcp.ReportBlock(down_track.ssrc, 0, 0, 1, 0, 0, 0),), bench.now, WALL)
    assert viewer.clock.rtt is None


def test_only_answers_to_our_reference_time_measure_the_round_trip() -> None:
    bench, sent = Bench(), Sent()
    peer = bench.publisher
    middle = int((WALL - 0.5) * 65536) & 0xFFFF_FFFF
    answers = (DlrrBlock(peer.rtcp_ssrc + 1, middle, 0), DlrrBlock(peer.rtcp_ssrc, 0, 0))
    sent.reports.take_clocks(peer, ExtendedReport(1, None, answers), bench.now, WALL)
    assert peer.clock.rtt is None
    answer = DlrrBlock(peer.rtcp_ssrc, middle, 65536 // 4)
    sent.reports.take_clocks(peer, ExtendedReport(1, 9 << 32, (answer,)), bench.now, WALL)
    assert peer.clock.rtt == pytest.approx(0.25, abs=1e-3)
    assert peer.clock.dlrr_blocks(bench.now) == (DlrrBlock(1, 9 << 16, 0),)
