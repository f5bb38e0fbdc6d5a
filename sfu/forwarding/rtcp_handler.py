"""RTCP in both directions, and the engine's periodic work.

Reports (RFC 3550 6.4), NACK and PLI (RFC 4585), transport-wide feedback. `now` is monotonic seconds, `wall` seconds since
1900 (NTP).
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sfu.bandwidth.twcc import feedback_count, parse_feedback
from sfu.errors import MalformedPacket
from sfu.forwarding import fanout
from sfu.forwarding.decision_log import Cause, DecisionKind
from sfu.forwarding.down_track import OriginStream
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.fault_log import FaultLog
from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.peer_transport import PLAIN, PeerTransport
from sfu.forwarding.retransmitter import Retransmitter
from sfu.forwarding.rtcp_budget import FEEDBACK, KEYFRAME_REQUEST, REPORT, REPORT_BLOCK, STATUS
from sfu.forwarding.rtcp_reports import RTCP_SIZE, RtcpReports
from sfu.forwarding.track import Track
from sfu.ids import PeerId
from sfu.rtp import rtcp, xr

log = logging.getLogger(__name__)

TICK: Final = 0.025
"""Seconds between calls of `handle_timer` while a peer publishes."""
IDLE_TICK: Final = 0.25
"""The same while no peer publishes."""
TWCC_EVERY: Final = 0.1
"""Seconds between transport-wide feedback packets, as in libwebrtc's receivers."""
REPORT_SLOTS: Final = round(1.0 / TICK)
"""Each peer gets reports once a second, distributed over this many ticks."""
BUSY: Final = 0.6
"""Seconds after its last packet in which a publisher is served in every tick: longer than any NACK waits."""
ALIVE_EVERY: Final = 0.25
"""Seconds between checks which streams are alive."""
QUIET: Final = 3.0
QUIET_EVERY: Final = 1.0
"""A peer that sent nothing for `QUIET` seconds is checked at this interval only: most peers of a large room only listen."""
KEYFRAME_RETRY: Final = 1.0
"""Seconds after which a waiting down track requests a keyframe again (mediasoup: 1 s)."""
NACK_LIMIT: Final = 256
"""Sequence numbers in one NACK packet."""
NACKS_PER_TICK: Final = 512
"""Sequence numbers in all NACK packets to one peer in one tick."""
DEFAULT_RTT: Final = 0.1


@dataclass(frozen=True, slots=True)
class IngressLimits:
    """Media that one peer may send per second."""

    packets: float = 6_000
    bits: float = 30_000_000


class RtcpHandler:
    """Belongs to one engine. `changed` is called with every encoding that was bound, resized, came alive or fell silent."""

    def __init__(
        self,
        encryptor: fanout.SrtpEncryptor,
        dropped: Counter[str],
        changed: Callable[[Encoding], None],
        ingress: IngressLimits,
        clock: Callable[[], float],
    ) -> None:
        self._encryptor = encryptor
        self._publishing: dict[PeerId, EnginePeer] = {}
        self._reporting: list[dict[PeerId, EnginePeer]] = [{} for _ in range(REPORT_SLOTS)]
        """Peers with tracks or down tracks, by the tick of the second in which their reports are due."""
        self._turn = 0
        self._faults = FaultLog(log, "control failed", dropped)
        self._dropped = dropped
        self._changed = changed
        self._ingress = ingress
        self._clock = clock
        self._next_twcc = self._next_alive = 0.0
        self.reports = RtcpReports(self.send_rtcp)
        self.retransmitter = Retransmitter(encryptor)
        self.plis_sent = 0
        self.firs_received = 0

    def reschedule(self, peer: EnginePeer) -> None:
        """Call it after each change of the peer's tracks or down tracks."""
        slot = self._reporting[peer.id % REPORT_SLOTS]
        if peer.tracks:
            self._publishing[peer.id] = peer
        else:
            self._publishing.pop(peer.id, None)
        if peer.tracks or peer.down_tracks:
            slot[peer.id] = peer
        else:
            slot.pop(peer.id, None)

    def request_keyframe(
        self, encoding: OriginStream, now: float, *, asker: PeerTransport | None = None, cause: Cause = Cause.SWITCH
    ) -> None:
        """Requests a keyframe from the publisher, throttled per track. `asker`: the subscriber that needs it."""
        track = encoding.track
        if track.keyframes.request(now):
            self._send_keyframe_request(encoding)
        if track.peer.decision_log is not None:
            track.peer.decision_log.write(now, DecisionKind.KEYFRAME, cause, track=track.name)
        if asker is not None and asker.decision_log is not None:
            asker.decision_log.write(now, DecisionKind.KEYFRAME, cause, track=track.name, counted=False)

    def receive_rtcp(self, peer: EnginePeer, data: bytes | memoryview, now: float, wall: float) -> None:
        """A decrypted RTCP compound packet."""
        peer.last_arrival = now
        budget = peer.rtcp_budget
        if not budget.begin(len(data), now):
            self._dropped["rtcp_rate"] += 1
            return
        try:
            packets = rtcp.parse(data)
        except MalformedPacket:
            self._dropped["rtcp_malformed"] += 1
            return
        if False in [self._take(peer, packet, now, wall) for packet in packets]:
            self._dropped["rtcp_work"] += 1

    def _take(self, peer: EnginePeer, packet: rtcp.RtcpPacket, now: float, wall: float) -> bool:
        """Handles one packet of a compound; False if the datagram has used up its budget."""
        spend = peer.rtcp_budget.spend
        if isinstance(packet, rtcp.Nack):
            return self.retransmitter.resend(peer, packet, now)
        if isinstance(packet, rtcp.TransportFeedback):
            return self._take_feedback(peer, packet.fci, now)
        if isinstance(packet, rtcp.SenderReport | rtcp.ReceiverReport):
            if not spend(REPORT + REPORT_BLOCK * len(packet.reports)):
                return False
            if isinstance(packet, rtcp.SenderReport):
                self.reports.take_sender_report(peer, packet, now, wall)
            self.reports.take_blocks(peer, packet.reports, now, wall)
        elif isinstance(packet, xr.ExtendedReport):
            if not spend(REPORT + REPORT_BLOCK * len(packet.dlrr_blocks)):
                return False
            self.reports.take_clocks(peer, packet, now, wall)
        elif isinstance(packet, rtcp.PictureLossIndication):
            return self._keyframe_asked(peer, packet.media_ssrc, now)
        elif isinstance(packet, rtcp.FullIntraRequest):
            self.firs_received += 1
            return all(self._keyframe_asked(peer, ssrc, now) for ssrc in dict(packet.entries))
        elif isinstance(packet, rtcp.Remb):
            if not spend(REPORT + REPORT_BLOCK * len(peer.down_tracks) / 4):
                return False
            peer.remb = packet.bitrate
            if peer.downlink is not None:
                octets = {down_track.ssrc: down_track.octets for down_track in peer.media_down_tracks()}
                peer.downlink.receive_remb(packet.bitrate, now, packet.ssrcs, octets)
        return True

    def _take_feedback(self, peer: EnginePeer, fci: bytes, now: float) -> bool:
        """Handles transport-wide feedback. Feedback that covers more packets than were sent is not parsed."""
        downlink = peer.downlink
        if downlink is None:
            return True
        try:
            count = feedback_count(fci)
            if not peer.rtcp_budget.spend(FEEDBACK + STATUS * count) or not downlink.estimator.accepts_feedback(
                count, now
            ):
                return False
            downlink.receive_feedback(parse_feedback(fci), now)
        except MalformedPacket:
            self._dropped["rtcp_malformed"] += 1
        return True

    def _keyframe_asked(self, peer: EnginePeer, ssrc: int, now: float) -> bool:
        if not peer.rtcp_budget.spend(KEYFRAME_REQUEST):
            return False
        down_track = peer.down_tracks.get(ssrc)
        if down_track is None:
            return True
        peer.counters.keyframe_requests_received += 1
        encoding = down_track.target or down_track.current
        if encoding is not None and down_track.track.kind == "video":
            self.request_keyframe(encoding.origin, now, asker=peer, cause=Cause.VIEWER)
        return True

    def _send_keyframe_request(self, encoding: OriginStream) -> None:
        peer = encoding.track.peer
        if not encoding.ssrc:
            return
        self.plis_sent += 1
        self.send_rtcp(peer, rtcp.encode_pli(peer.rtcp_ssrc, encoding.ssrc))

    def send_rtcp(self, peer: PeerTransport, data: bytes) -> None:
        """Encrypts and sends one compound packet. Does nothing before keys and address are known."""
        if peer.tx is None or peer.datagram_sink is None:
            return
        sealed = self._encryptor.encrypt_rtcp(peer.tx, data) if peer.tx is not PLAIN else data
        if sealed is None:
            self._dropped["rtcp_seal"] += 1
        elif not peer.datagram_sink.send(sealed, peer.address):
            self._dropped["send_buffer"] += 1

    # -- time -------------------------------------------------------------------------------------------------------

    def handle_timer(self, now: float, wall: float) -> bool:
        """Call it every `TICK` seconds while it returns True (a peer publishes), else every `IDLE_TICK` seconds."""
        busy = False
        twcc = now >= self._next_twcc
        if twcc:
            self._next_twcc = now + TWCC_EVERY
        alive = now >= self._next_alive
        if alive:
            self._next_alive = now + ALIVE_EVERY
        for peer in self._publishing.values():
            sends = now - peer.last_arrival < BUSY
            busy = busy or sends
            look = alive and (
                now - peer.last_arrival < QUIET or now - peer.last_rate_check[2] >= QUIET_EVERY or peer.flooding
            )
            if look or sends:
                began = self._clock()
                try:
                    self._serve_publisher(peer, now, twcc=twcc, alive=look)
                except Exception:  # one peer's fault must not affect others
                    self._faults.record(now)
                peer.budget.charge_elapsed(self._clock() - began, now)
                if peer.payload_time:
                    peer.budget.charge(peer.payload_time, now)
                    peer.payload_time = 0.0
                if not peer.trusted and not peer.budget.admits(now):
                    peer.flooding = True  # until `_watch_ingress` finds credit again
        before, self._turn = self._turn, int(now / TICK)
        for slot in range(max(before, self._turn - REPORT_SLOTS) + 1, self._turn + 1):
            for peer in self._reporting[slot % REPORT_SLOTS].values():
                try:
                    self._report(peer, now, wall)
                except Exception:
                    self._faults.record(now)
        return busy

    def _report(self, peer: EnginePeer, now: float, wall: float) -> None:
        if peer.tracks:
            self.reports.send_receiver_reports(peer, now, wall)
        if peer.down_tracks:
            self.reports.send_sender_reports(peer, peer.media_down_tracks(), now, wall=wall)

    def _serve_publisher(self, peer: EnginePeer, now: float, *, twcc: bool, alive: bool) -> None:
        feedback_ssrc = peer.stream_table.feedback_ssrc
        if twcc and peer.twcc is not None and feedback_ssrc:
            for feedback in peer.twcc.feedback(feedback_ssrc):
                self.send_rtcp(peer, feedback)
        if alive:
            self._watch_ingress(peer, now)
        self._ask_for_missing(peer, now)
        for track in peer.tracks.values():
            if track.kind == "audio":
                for encoding in track.encodings.values():
                    if encoding.ssrc and not encoding.alive:
                        encoding.alive = True
                        self._changed(encoding)
                continue
            if track.keyframes.due(now):
                wanted = next((r.target or r.current for r in track.down_tracks if r.target or r.current), None)
                if wanted is not None:
                    self._send_keyframe_request(wanted.origin)
            for encoding in track.encodings.values():
                if not encoding.ssrc or (encoding.alive and not alive):
                    continue  # a stream that starts is noticed in every tick, one that ends every ALIVE_EVERY
                if encoding.check_alive(now) or encoding.resized:
                    encoding.resized = False
                    self._changed(encoding)
            if alive:
                self._retry_keyframes(track, now)

    def _ask_for_missing(self, peer: EnginePeer, now: float) -> None:
        """Sends NACKs for all streams of a peer, in as few datagrams as possible: at most three."""
        held, left, compound = 0, NACKS_PER_TICK, b""
        for track in peer.tracks.values():
            for encoding in track.encodings.values():
                generator = encoding.nack_generator
                if generator is None or not generator.missing or not encoding.ssrc:
                    continue
                due = generator.due(now, peer.clock.rtt or DEFAULT_RTT, left) if left else []
                held += len(generator.missing)
                left -= len(due)
                for at in range(0, len(due), NACK_LIMIT):
                    nack = rtcp.encode_nack(peer.rtcp_ssrc, encoding.ssrc, due[at : at + NACK_LIMIT])
                    if compound and len(compound) + len(nack) > RTCP_SIZE:
                        self.send_rtcp(peer, compound)
                        compound = b""
                    compound += nack
        if peer.nack_budget is not None:
            peer.nack_budget.refill(peer.packets_in, held, now)
        if compound:
            peer.counters.nacks_sent += NACKS_PER_TICK - left
            self.send_rtcp(peer, compound)

    def _watch_ingress(self, peer: EnginePeer, now: float) -> None:
        """Drops the media of a peer that exceeds its limits until the next check. Its packets still count."""
        packets, size, since = peer.last_rate_check
        peer.last_rate_check = (peer.packets_in, peer.bytes_in, now)
        if peer.trusted:
            return
        interval = max(now - since, ALIVE_EVERY)
        peer.flooding = (
            peer.packets_in - packets > self._ingress.packets * interval
            or (peer.bytes_in - size) * 8 > self._ingress.bits * interval
            or not peer.budget.admits(now)
        )

    def _retry_keyframes(self, track: Track, now: float) -> None:
        """Repeats the requests of waiting down tracks: the request or the keyframe may have been lost."""
        for down_track in track.down_tracks:
            target = down_track.target
            if (
                target is not None
                and down_track.current is not target
                and now - down_track.keyframe_requested_at > KEYFRAME_RETRY
            ):
                down_track.keyframe_requested_at = now
                self.request_keyframe(target.origin, now, asker=down_track.peer, cause=Cause.RETRY)
