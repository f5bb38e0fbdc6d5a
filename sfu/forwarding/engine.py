"""The data plane behind its narrow face.

Commands go in: open, key, move and close a peer; add and remove tracks and routes; aim, park and resume routes; mute;
resend; send RTCP. Events come out of `take_events`: an encoding was bound, came alive or fell silent, a keyframe gave it
its size. Counters are read where they are kept. Nothing here calls back into rooms or signalling.

The driver (sfu.transport.udp) hands in datagrams with `receive` in batches and calls `flush` after each batch, and
`handle_timer` every `TICK` seconds. `now` is monotonic seconds; `wall` seconds since 1900 (NTP). Sans-IO otherwise:
sealing and sending are behind `Sealer` and `Outlet`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sfu.errors import MalformedPacket
from sfu.forwarding import fanout
from sfu.forwarding.encoding import NTP_UNITS, Encoding
from sfu.forwarding.inbound import receive as receive_rtp
from sfu.forwarding.packet import Packet
from sfu.forwarding.peer import Address, EnginePeer, Outlet, SrtpContext
from sfu.forwarding.route import Route
from sfu.forwarding.track import Track
from sfu.ids import PeerId
from sfu.rtp import rtcp

TICK: Final = 0.025
TWCC_EVERY: Final = 0.05
REPORT_EVERY: Final = 1.0
ALIVE_EVERY: Final = 0.25
RTCP_SIZE: Final = 1180
"""Compound packets are cut at this size."""
NACK_LIMIT: Final = 256
"""Sequence numbers answered per NACK packet."""
DEFAULT_RTT: Final = 0.1


@dataclass(frozen=True, slots=True)
class EncodingChanged:
    """`encoding` of a track was bound, fell silent, came alive, or changed its size: choose layers again."""

    encoding: Encoding


class Engine:
    """All peers, tracks and routes of one process (or of one thread of it)."""

    def __init__(self, sealer: fanout.Sealer, *, segments: bool) -> None:
        self._sealer = sealer
        self._segments = segments
        self._dirty: list[Encoding] = []
        self._events: list[EncodingChanged] = []
        self._publishing: dict[PeerId, EnginePeer] = {}
        self._sending: dict[PeerId, EnginePeer] = {}
        self._next_twcc = self._next_alive = 0.0
        self._report_phase = 0.0
        self.peers: dict[PeerId, EnginePeer] = {}
        self.dropped: Counter[str] = Counter()
        """Packets dropped, by reason."""
        self.keyframes_sent = 0
        self.closed_totals: Counter[str] = Counter()
        """Counters of peers that are gone, so that totals never fall."""

    # -- commands ---------------------------------------------------------------------------------------------------

    def open_peer(self, peer_id: PeerId, rtcp_ssrc: int) -> EnginePeer:
        peer = self.peers[peer_id] = EnginePeer(peer_id, rtcp_ssrc)
        return peer

    def key_peer(self, peer: EnginePeer, rx: SrtpContext, tx: SrtpContext, tag: int) -> None:
        peer.rx, peer.tx, peer.tag = rx, tx, tag

    def move_peer(self, peer: EnginePeer, outlet: Outlet, address: Address) -> None:
        """The only way a peer's address changes; the caller has authenticated it (RFC 8445 consent)."""
        peer.outlet, peer.address = outlet, address

    def close_peer(self, peer: EnginePeer) -> None:
        """Closes its routes, then its tracks (and their routes elsewhere), then forgets it."""
        if peer.closed:
            return
        peer.closed = True
        for route in {id(route): route for route in peer.routes.values()}.values():
            self.remove_route(route)
        for track in list(peer.tracks.values()):
            self.remove_track(track)
        for name in COUNTED:
            self.closed_totals[name] += getattr(peer, name)
        self.peers.pop(peer.id, None)
        self._publishing.pop(peer.id, None)
        self._sending.pop(peer.id, None)
        peer.rx = peer.tx = peer.outlet = None

    def add_track(
        self,
        peer: EnginePeer,
        *,
        mid: str,
        kind: Literal["audio", "video"],
        codec: str,
        parameters: str,
        clock_rate: int,
        payload_types: Mapping[int, str],
        rtx: Mapping[int, int],
        extensions: Mapping[str, int],
        rids: tuple[str, ...],
        ssrcs: tuple[tuple[int, int | None], ...],
    ) -> Track:
        """A sending m-line of the peer. `payload_types` and `rtx` as negotiated; `ssrcs` (media, repair) as declared."""
        peer.learn_extensions(extensions)
        track = Track(
            peer,
            mid=mid,
            kind=kind,
            codec=codec,
            parameters=parameters,
            clock_rate=clock_rate,
            payload_types=payload_types,
            rtx=rtx,
            rids=rids,
            nack=kind == "video",
        )
        peer.tracks[mid] = track
        if not rids and ssrcs:
            peer.declare(track, *ssrcs[0])
        for ssrc in [ssrc for ssrc, bound in peer.streams.items() if bound is None]:
            del peer.streams[ssrc]  # it may be this track's
        self._publishing[peer.id] = peer
        return track

    def remove_track(self, track: Track) -> None:
        for route in list(track.routes):
            self.remove_route(route)
        peer = track.peer
        if peer.tracks.get(track.mid) is track:
            del peer.tracks[track.mid]
        for encoding in track.encodings.values():
            for ssrc in (encoding.ssrc, encoding.rtx_ssrc):
                peer.streams.pop(ssrc, None)
            encoding.history = [None] * len(encoding.history)
            encoding.batch.clear()
        if not peer.tracks:
            self._publishing.pop(peer.id, None)

    def add_route(
        self,
        track: Track,
        peer: EnginePeer,
        *,
        mid: str,
        ssrc: int,
        rtx_ssrc: int,
        payload_type: int,
        red_payload_type: int | None,
        rtx_payload_type: int | None,
        first_sequence: int,
        cname: str,
    ) -> Route:
        """`track` towards `peer`. Nothing flows until `aim`. `first_sequence` below 2¹⁵ (RFC 3711 3.3.1)."""
        route = Route(
            track,
            peer,
            mid=mid,
            ssrc=ssrc,
            rtx_ssrc=rtx_ssrc,
            payload_type=payload_type,
            red_payload_type=red_payload_type,
            rtx_payload_type=rtx_payload_type,
            first_sequence=first_sequence,
            cname=cname,
        )
        track.routes.append(route)
        peer.routes[ssrc] = route
        if rtx_ssrc:
            peer.routes[rtx_ssrc] = route
        self._sending[peer.id] = peer
        return route

    def remove_route(self, route: Route) -> None:
        route.park()
        if route in route.track.routes:
            route.track.routes.remove(route)
        for ssrc in (route.ssrc, route.rtx_ssrc):
            route.peer.routes.pop(ssrc, None)
        if not route.peer.routes:
            self._sending.pop(route.peer.id, None)

    def aim(self, route: Route, encoding: Encoding, now: float) -> None:
        """`encoding` for this route from its next keyframe on (audio: from its next packet)."""
        if route.aim(encoding, now) and route.track.kind == "video":
            self.request_keyframe(encoding, now)

    def request_keyframe(self, encoding: Encoding, now: float) -> None:
        if encoding.track.keyframes.request(now):
            self._send_keyframe_request(encoding)

    def mute(self, track: Track, muted: bool, now: float) -> None:
        """Stops a track at the server, or lets it pass again (from a keyframe on)."""
        if track.muted == muted:
            return
        track.muted = muted
        for route in track.routes:
            target = route.target or route.current
            if muted:
                route.previous, route.current = route.current or route.previous, None
            elif target is not None and route.current is None:
                route.target = None
                self.aim(route, target, now)

    def take_events(self) -> list[EncodingChanged]:
        events, self._events = self._events, []
        return events

    # -- packets ----------------------------------------------------------------------------------------------------

    def receive(self, peer: EnginePeer, view: memoryview, n: int, now: float) -> None:
        """An opened RTP packet: `n` bytes of `view`, which may be reused when this returns."""
        peer.packets_in += 1
        peer.bytes_in += n
        peer.last_arrival = now
        encoding = receive_rtp(peer, view, n, now)
        if encoding is not None and len(encoding.batch) == 1:
            self._dirty.append(encoding)

    def flush(self, now: float) -> None:
        """Sends what `receive` gathered. Call once after each batch of datagrams."""
        dirty = self._dirty
        if not dirty:
            return
        self._dirty = []
        for encoding in dirty:
            batch, encoding.batch = encoding.batch, []
            if batch:
                self._forward(encoding, batch, now)

    def _forward(self, encoding: Encoding, batch: list[Packet], now: float) -> None:
        routes = encoding.routes
        sealer = self._sealer
        groups = plain = None
        waiting = None
        dropped = 0
        high = encoding.highest
        for route in routes:
            if route.current is not encoding:
                waiting = True
                continue
            if route.takes_red or encoding.track.kind == "video":
                if groups is None:
                    groups = fanout.runs(batch, self._segments, len(routes) > 1 and encoding.track.kind == "video")
                dropped += fanout.send_batch(route, groups, high, sealer)
            else:
                if plain is None:
                    try:
                        plain = fanout.runs(fanout.without_red(batch), self._segments, False)
                    except MalformedPacket:
                        plain = []
                dropped += fanout.send_batch(route, plain, high, sealer)
        if waiting:
            dropped += self._switch_waiting(encoding, batch, now)
        if dropped:
            self.dropped["send_buffer"] += dropped

    def _switch_waiting(self, encoding: Encoding, batch: list[Packet], now: float) -> int:
        """Routes that wait for this encoding take it from the first keyframe of the batch on."""
        key = next((packet for packet in batch if packet.keyframe), None)
        if key is None:
            return 0
        # a keyframe whose first packet came late (it was lost and repaired): what followed it is in the history
        ahead = (encoding.highest - key.sequence) & 0xFFFF
        following = [encoding.find((key.sequence + step) & 0xFFFF) for step in range(ahead + 1)]
        replay = [packet for packet in following if packet is not None]
        dropped = 0
        for route in list(encoding.routes):
            if route.current is encoding or route.target is not encoding:
                continue
            route.switch(encoding, key, now)
            packets = replay if route.takes_red or encoding.track.kind == "video" else fanout.without_red(replay)
            groups = fanout.runs(packets, self._segments, False)
            dropped += fanout.send_batch(route, groups, encoding.highest, self._sealer)
            self._send_reports(route.peer, now, only=route)
        self._events.append(EncodingChanged(encoding))
        return dropped

    # -- RTCP -------------------------------------------------------------------------------------------------------

    def receive_rtcp(self, peer: EnginePeer, data: bytes | memoryview, now: float, wall: float) -> None:
        """An opened RTCP compound packet."""
        peer.last_arrival = now
        try:
            packets = rtcp.parse(data)
        except MalformedPacket:
            self.dropped["rtcp_malformed"] += 1
            return
        for packet in packets:
            if isinstance(packet, rtcp.Nack):
                self._resend(peer, packet, now)
            elif isinstance(packet, rtcp.SenderReport):
                self._take_sender_report(peer, packet, now, wall)
                self._take_blocks(peer, packet.reports, wall)
            elif isinstance(packet, rtcp.ReceiverReport):
                self._take_blocks(peer, packet.reports, wall)
            elif isinstance(packet, rtcp.PictureLoss):
                self._keyframe_asked(peer, packet.media_ssrc, now)
            elif isinstance(packet, rtcp.FullIntraRequest):
                for ssrc, _ in packet.entries[:16]:
                    self._keyframe_asked(peer, ssrc, now)
            elif isinstance(packet, rtcp.Remb):
                peer.remb = packet.bitrate

    def _take_sender_report(self, peer: EnginePeer, report: rtcp.SenderReport, now: float, wall: float) -> None:
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

    def _take_blocks(self, peer: EnginePeer, blocks: tuple[rtcp.ReportBlock, ...], wall: float) -> None:
        middle = int(wall * 65536) & 0xFFFFFFFF
        for block in blocks:
            route = peer.routes.get(block.ssrc)
            if route is None or block.ssrc != route.ssrc:
                continue
            route.reported = block
            if block.lsr:
                rtt = ((middle - block.lsr - block.dlsr) & 0xFFFFFFFF) / 65536
                if rtt < 10.0:
                    peer.rtt = rtt if peer.rtt is None else peer.rtt + (rtt - peer.rtt) / 4

    def _resend(self, peer: EnginePeer, nack: rtcp.Nack, now: float) -> None:
        route = peer.routes.get(nack.media_ssrc)
        if route is None or nack.media_ssrc != route.ssrc:
            return
        peer.nacks_asked += len(nack.lost)
        for sequence in nack.lost[:NACK_LIMIT]:
            found = route.lost(sequence, now)
            if found is not None:
                fanout.resend(route, found[1], self._sealer)

    def _keyframe_asked(self, peer: EnginePeer, ssrc: int, now: float) -> None:
        route = peer.routes.get(ssrc)
        if route is None:
            return
        peer.keyframes_asked += 1
        encoding = route.target or route.current
        if encoding is not None and route.track.kind == "video":
            self.request_keyframe(encoding, now)

    def _send_keyframe_request(self, encoding: Encoding) -> None:
        peer = encoding.track.peer
        if not encoding.ssrc:
            return
        self.keyframes_sent += 1
        self.send_rtcp(peer, rtcp.encode_picture_loss(peer.rtcp_ssrc, encoding.ssrc))

    def send_rtcp(self, peer: EnginePeer, data: bytes) -> None:
        """Seals and sends one compound packet; silently nothing before keys and address are known."""
        if peer.tx is None or peer.outlet is None:
            return
        sealed = self._sealer.seal_rtcp(peer.tx, data)
        if sealed is None:
            self.dropped["rtcp_seal"] += 1
        elif not peer.outlet.send(sealed, peer.address):
            self.dropped["send_buffer"] += 1

    # -- timers -----------------------------------------------------------------------------------------------------

    def handle_timer(self, now: float, wall: float) -> None:
        """Every `TICK` seconds."""
        twcc = now >= self._next_twcc
        if twcc:
            self._next_twcc = now + TWCC_EVERY
        alive = now >= self._next_alive
        if alive:
            self._next_alive = now + ALIVE_EVERY
        phase, self._report_phase = self._report_phase, now % REPORT_EVERY
        for peer in self._publishing.values():
            self._serve_publisher(peer, now, twcc=twcc, alive=alive)
            if _passed(peer, phase, self._report_phase):
                self._send_receiver_reports(peer, now)
        for peer in self._sending.values():
            if _passed(peer, phase, self._report_phase):
                self._send_reports(peer, now, wall=wall)

    def _serve_publisher(self, peer: EnginePeer, now: float, *, twcc: bool, alive: bool) -> None:
        if twcc and peer.twcc is not None and peer.feedback_ssrc:
            for feedback in peer.twcc.feedback(peer.feedback_ssrc):
                self.send_rtcp(peer, feedback)
        for track in peer.tracks.values():
            if track.kind == "audio":
                if alive:
                    for encoding in track.encodings.values():
                        if encoding.ssrc and not encoding.alive:
                            encoding.alive = True
                            self._events.append(EncodingChanged(encoding))
                continue
            if track.keyframes.due(now):
                wanted = next((r.target or r.current for r in track.routes if r.target or r.current), None)
                if wanted is not None:
                    self._send_keyframe_request(wanted)
            for encoding in track.encodings.values():
                missing = encoding.missing
                if missing is not None and missing.missing and encoding.ssrc:
                    due = missing.due(now, peer.rtt or DEFAULT_RTT)
                    if due:
                        peer.nacks_sent += len(due)
                        self.send_rtcp(peer, rtcp.encode_nack(peer.rtcp_ssrc, encoding.ssrc, due))
                if alive and encoding.ssrc and encoding.check_alive(now):
                    self._events.append(EncodingChanged(encoding))
            if alive:
                self._retry_keyframes(track, now)

    def _retry_keyframes(self, track: Track, now: float) -> None:
        """A route that waits for a keyframe asks again: the request or the keyframe may have been lost."""
        for route in track.routes:
            target = route.target
            if target is not None and route.current is not target and now - route.keyframe_wanted_at > 1.0:
                route.keyframe_wanted_at = now
                self.request_keyframe(target, now)

    def _send_receiver_reports(self, peer: EnginePeer, now: float) -> None:
        blocks = []
        for track in peer.tracks.values():
            for encoding in track.encodings.values():
                block = encoding.report(now) if encoding.ssrc else None
                if block is not None:
                    blocks.append(block)
        for at in range(0, len(blocks), 31):
            report = rtcp.ReceiverReport(peer.rtcp_ssrc, tuple(blocks[at : at + 31]))
            self.send_rtcp(peer, rtcp.encode_receiver_report(report))

    def _send_reports(
        self, peer: EnginePeer, now: float, *, wall: float | None = None, only: Route | None = None
    ) -> None:
        """Sender reports of a subscriber's routes, in as few datagrams as possible."""
        if wall is None:
            wall = now + self._wall_offset
        else:
            self._wall_offset = wall - now
        compound = b""
        for ssrc, route in ({only.ssrc: only} if only is not None else peer.routes).items():
            if ssrc != route.ssrc:
                continue
            report = route.sender_report(wall, route.track.peer.clock_offset or 0.0)
            if report is None:
                continue
            if len(compound) > RTCP_SIZE:
                self.send_rtcp(peer, compound)
                compound = b""
            compound = compound or _empty_report(peer)
            compound += rtcp.encode_sender_report(report) + rtcp.encode_source_description(route.ssrc, route.cname)
        if compound:
            self.send_rtcp(peer, compound)

    _wall_offset = 0.0


COUNTED: Final = (
    "packets_in", "bytes_in", "packets_out", "bytes_out", "nacks_sent", "nacks_asked", "keyframes_asked",
    "retransmitted", "unrouted",
)  # fmt: skip


def _passed(peer: EnginePeer, before: float, after: float) -> bool:
    """Whether the peer's own moment of the report interval lies between two ticks: peers report at different times."""
    moment = (peer.id * 0.6180339887 % 1.0) * REPORT_EVERY
    return before <= moment < after if before <= after else moment >= before or moment < after


def _empty_report(peer: EnginePeer) -> bytes:
    """A compound packet begins with a report (RFC 3550 6.1), under one SSRC so that SRTCP keeps one index."""
    return rtcp.encode_receiver_report(rtcp.ReceiverReport(peer.rtcp_ssrc, ()))
