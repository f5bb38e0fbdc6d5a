"""Reports in both directions: what arrived, whose clock says what, and how long the way there and back is.

A publisher is told what arrived of its streams, a subscriber the clocks of those it is sent; both learn their round trip,
whoever only receives as well. RFC 3550 6.4, RFC 3611 4.4 and 4.5. `now` is monotonic seconds, `wall` seconds since 1900 (NTP).
"""

from collections.abc import Callable
from typing import Final

from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.encoding import NTP_UNITS
from sfu.forwarding.peer import EnginePeer
from sfu.rtp import rtcp, xr

RTCP_SIZE: Final = 1180
"""Compound packets are cut at this size."""
REFERENCES_LIMIT: Final = 4
"""A browser tells its clock under one SSRC for its pictures and one for its sound."""
RTT_LIMIT: Final = 10.0


class RtcpReports:
    """Of all peers of one engine. `send` takes a compound packet for a peer."""

    def __init__(self, send: Callable[[EnginePeer, bytes], None]) -> None:
        self._send = send
        self._wall_offset = 0.0

    # -- what comes in ----------------------------------------------------------------------------------------------

    def take_sender_report(self, peer: EnginePeer, report: rtcp.SenderReport, now: float, wall: float) -> None:
        """A publisher's word about the clock of one of its streams."""
        bound = peer.streams.get(report.ssrc)
        if bound is None or bound[1]:
            return
        bound[0].sender_report(report, now)
        offset = wall - report.ntp / NTP_UNITS
        known = peer.clock_offset
        if known is None or offset < known or offset > known + 1.0:
            peer.clock_offset = offset
        else:
            peer.clock_offset = known + (offset - known) * 0.01  # follows a drifting clock slowly

    def take_blocks(self, peer: EnginePeer, blocks: tuple[rtcp.ReportBlock, ...], now: float, wall: float) -> None:
        """What a subscriber says of the streams that it is sent."""
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
                _measure(peer, middle - block.lsr - block.dlsr)
        if peer.downlink is not None and lost >= 0:
            peer.downlink.receive_report(lost / 256, peer.rtt, now)

    def take_clocks(self, peer: EnginePeer, report: xr.ExtendedReport, now: float, wall: float) -> None:
        """A clock that wants to be told back, and ours come back."""
        if report.reference is not None:
            if len(peer.xr_reference_times) >= REFERENCES_LIMIT:
                peer.xr_reference_times.clear()
            peer.xr_reference_times[report.ssrc] = (report.reference >> 16 & 0xFFFFFFFF, now)
        for echo in report.dlrr_blocks:
            if echo.ssrc == peer.rtcp_ssrc and echo.time:
                _measure(peer, (int(wall * 65536) & 0xFFFFFFFF) - echo.time - echo.delay)

    # -- what goes out ----------------------------------------------------------------------------------------------

    def send_receiver_reports(self, peer: EnginePeer, now: float, wall: float) -> None:
        """What arrived of a publisher's streams, and our clock."""
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
        self, peer: EnginePeer, now: float, *, wall: float | None = None, only: DownTrack | None = None
    ) -> None:
        """Sender reports of a subscriber's routes, in as few datagrams as possible."""
        if wall is None:
            wall = now + self._wall_offset
        else:
            self._wall_offset = wall - now
        compound = b""
        xr_reference_times, told = peer.xr_reference_times, False
        for ssrc, down_track in ({only.ssrc: only} if only is not None else peer.down_tracks).items():
            if ssrc != down_track.ssrc:
                continue
            report = down_track.sender_report(wall, down_track.track.peer.clock_offset or 0.0)
            if report is None:
                continue
            if len(compound) > RTCP_SIZE:
                self._send(peer, compound)
                compound = b""
            compound = compound or _empty_report(peer)
            compound += rtcp.encode_sender_report(report) + rtcp.encode_source_description(
                down_track.ssrc, down_track.cname
            )
            if xr_reference_times:
                compound += _echo(down_track.ssrc, xr_reference_times, now)
                told = True
        if told:
            xr_reference_times.clear()
        if compound:
            self._send(peer, compound)


def _measure(peer: EnginePeer, passed: int) -> None:
    """A round trip in 1/65536 s, smoothed."""
    rtt = (passed & 0xFFFFFFFF) / 65536
    if rtt < RTT_LIMIT:
        peer.rtt = rtt if peer.rtt is None else peer.rtt + (rtt - peer.rtt) / 4


def _echo(ssrc: int, xr_reference_times: dict[int, tuple[int, float]], now: float) -> bytes:
    """The clocks that a peer told, back to it from one of the streams that it receives: it knows each by that."""
    dlrr_blocks = [
        xr.DlrrBlock(known, time, min(int((now - since) * 65536), 0xFFFFFFFF))
        for known, (time, since) in xr_reference_times.items()
    ]
    return xr.encode(xr.ExtendedReport(ssrc, None, tuple(dlrr_blocks)))


def _empty_report(peer: EnginePeer) -> bytes:
    """A compound packet begins with a report (RFC 3550 6.1), under one SSRC so that SRTCP keeps one index."""
    return rtcp.encode_receiver_report(rtcp.ReceiverReport(peer.rtcp_ssrc, ()))
