"""RTCP reports in both directions: reception statistics, sender clocks and round trips.

Publishers get receiver reports and our reference time, subscribers get sender reports. All peers can measure their round
trip, also those that only receive. RFC 3550 6.4, RFC 3611 4.4 and 4.5. `now` is monotonic seconds, `wall` seconds since
1900 (NTP).
"""

from collections.abc import Callable, Iterable
from typing import Final

from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.peer_clock import NTP_UNITS
from sfu.forwarding.peer_transport import PeerTransport
from sfu.rtp import rtcp, xr

RTCP_SIZE: Final = 1180
"""Bytes after which a new compound packet begins."""


class RtcpReports:
    """Reports of all peers of one engine. `send` sends a compound packet to a peer."""

    def __init__(self, send: Callable[[PeerTransport, bytes], None]) -> None:
        self._send = send
        self._wall_offset = 0.0

    # -- inbound ----------------------------------------------------------------------------------------------------

    def take_sender_report(self, peer: EnginePeer, report: rtcp.SenderReport, now: float, wall: float) -> None:
        """A publisher's sender report for one of its streams."""
        bound = peer.streams.get(report.ssrc)
        if bound is None or bound[1]:
            return
        bound[0].sender_report(report, now)
        peer.clock.receive_sender_report(report.ntp, wall)

    def take_blocks(self, peer: EnginePeer, blocks: tuple[rtcp.ReportBlock, ...], now: float, wall: float) -> None:
        """A subscriber's report blocks for the streams sent to it."""
        middle = int(wall * 65536) & 0xFFFFFFFF
        lost = -1
        for block in blocks:
            down_track = peer.down_tracks.get(block.ssrc)
            if down_track is None or block.ssrc != down_track.ssrc:
                continue
            down_track.last_report_block = block
            down_track.update_loss(block.fraction_lost / 256, now)
            lost = max(lost, block.fraction_lost)
            if block.lsr:
                peer.clock.receive_round_trip(middle - block.lsr - block.dlsr)
        if peer.downlink is not None and lost >= 0:
            peer.downlink.receive_report(lost / 256, peer.clock.rtt, now)

    def take_clocks(self, peer: EnginePeer, report: xr.ExtendedReport, now: float, wall: float) -> None:
        """An extended report: the peer's reference time, and its answers (DLRR) to ours."""
        if report.reference is not None:
            peer.clock.add_reference(report.ssrc, report.reference, now)
        for answer in report.dlrr_blocks:
            if answer.ssrc == peer.rtcp_ssrc and answer.time:
                peer.clock.receive_round_trip((int(wall * 65536) & 0xFFFFFFFF) - answer.time - answer.delay)

    # -- outbound ---------------------------------------------------------------------------------------------------

    def send_receiver_reports(self, peer: EnginePeer, now: float, wall: float) -> None:
        """Sends receiver reports for a publisher's streams, and our reference time."""
        blocks = []
        for track in peer.tracks.values():
            for encoding in track.encodings.values():
                block = encoding.report(now) if encoding.ssrc else None
                if block is not None:
                    blocks.append(block)
        for at in range(0, len(blocks), 31):
            report = rtcp.ReceiverReport(peer.rtcp_ssrc, tuple(blocks[at : at + 31]))
            clock = b"" if at else xr.encode(xr.ExtendedReport(peer.rtcp_ssrc, int(wall * NTP_UNITS)))
            self._send(peer, rtcp.encode_receiver_report(report) + clock)

    def send_sender_reports(
        self, peer: PeerTransport, down_tracks: Iterable[DownTrack], now: float, *, wall: float | None = None
    ) -> None:
        """Sends sender reports for down tracks of `peer`, in as few datagrams as possible."""
        if wall is None:
            wall = now + self._wall_offset
        else:
            self._wall_offset = wall - now
        compound = b""
        answers, answered = peer.clock.dlrr_blocks(now), False
        for down_track in down_tracks:
            report = down_track.sender_report(wall, down_track.track.peer.clock.offset or 0.0)
            if report is None:
                continue
            if len(compound) > RTCP_SIZE:
                self._send(peer, compound)
                compound = b""
            compound = compound or _empty_report(peer)
            compound += rtcp.encode_sender_report(report) + rtcp.encode_source_description(
                down_track.ssrc, down_track.cname
            )
            if answers:  # from every SSRC: a browser matches answers to the streams that it receives
                compound += xr.encode(xr.ExtendedReport(down_track.ssrc, None, answers))
                answered = True
        if answered:
            peer.clock.clear_references()
        if compound:
            self._send(peer, compound)


def _empty_report(peer: PeerTransport) -> bytes:
    """A compound packet begins with a report (RFC 3550 6.1). One SSRC for all, so that SRTCP uses one index."""
    return rtcp.encode_receiver_report(rtcp.ReceiverReport(peer.rtcp_ssrc, ()))
