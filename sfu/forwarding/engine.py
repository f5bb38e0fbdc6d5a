"""The data plane behind its narrow face.

Commands go in: open, key, move and close a peer; add and remove tracks and routes; aim, park and resume routes; mute;
resend; send RTCP. Events come out of `take_events`: an encoding was bound, came alive or fell silent, a keyframe gave it
its size. Counters are read where they are kept. Nothing here calls back into rooms or signalling.

The driver (sfu.transport.udp) hands in datagrams with `receive` in batches and calls `flush` after each batch, and
`handle_timer` every `control.TICK` seconds. `now` is monotonic seconds; `wall` seconds since 1900 (NTP). Sans-IO otherwise:
sealing and sending are behind `SrtpEncryptor` and `DatagramSink`.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from sfu.forwarding import fanout
from sfu.forwarding.dispatcher import Dispatcher, FanOut
from sfu.forwarding.down_track import DownTrack, OriginStream, RtpStream
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.gop_replay import GopReplay
from sfu.forwarding.inbound import receive as receive_rtp
from sfu.forwarding.packet_log import PacketLog
from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.peer_transport import PLAIN, Address, DatagramSink, SrtpContext
from sfu.forwarding.rtcp_handler import FAULTS_EVERY, IngressLimits, RtcpHandler
from sfu.forwarding.track import Track
from sfu.ids import PeerId

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EncodingChanged:
    """`encoding` of a track was bound, fell silent, came alive, or changed its size: choose layers again."""

    encoding: Encoding


class Engine:
    """All peers, tracks and routes of one process (or of one thread of it)."""

    def __init__(
        self,
        encryptor: fanout.SrtpEncryptor,
        *,
        segments: bool,
        ingress: IngressLimits | None = None,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`clock`: monotonic seconds, read around work to charge it to its peer; by default work costs nothing."""
        self._encryptor = encryptor
        self.media_received = False
        """Set by every packet; whoever sleeps while nothing comes clears it."""
        self._fault_at = float("-inf")
        self.pending_encodings: list[Encoding] = []
        """Those with a batch to forward, each once, in order of arrival. A native driver fills batches and this itself."""
        self._events: list[EncodingChanged] = []
        self.peers: dict[PeerId, EnginePeer] = {}
        self.dropped: Counter[str] = Counter()
        """Packets dropped, by reason."""
        self._closed_totals: Counter[str] = Counter()
        """Counters of closed peers."""
        self.log: PacketLog | None = None
        """Where the operator wants a record of what passes."""
        self._rtcp_handler = RtcpHandler(encryptor, self.dropped, self._note, ingress or IngressLimits(), clock)
        self._dispatcher = Dispatcher(encryptor, segments, self.dropped, self._rtcp_handler.reports)
        self._gop_replay = GopReplay(self._dispatcher.send)

    @property
    def fan_out(self) -> FanOut:
        """What a batch is sent by; a native one may take its place."""
        return self._dispatcher.fan_out

    @fan_out.setter
    def fan_out(self, fan_out: FanOut) -> None:
        self._dispatcher.fan_out = fan_out

    # -- commands ---------------------------------------------------------------------------------------------------

    def open_peer(self, peer_id: PeerId, rtcp_ssrc: int) -> EnginePeer:
        peer = self.peers[peer_id] = EnginePeer(peer_id, rtcp_ssrc)
        return peer

    def open_plain_peer(self, peer_id: PeerId, rtcp_ssrc: int, datagram_sink: DatagramSink) -> EnginePeer:
        """A consumer (or a source) in a process of this machine: RTP and RTCP without SRTP, both ways.

        Tracks and routes are added, aimed, muted and removed as for any peer; there are no keys, no address and no tag.
        What goes to it comes to `datagram_sink` (`address` means nothing): RTP patched as for anybody, one datagram per `send`,
        or several of `size` bytes (the last perhaps shorter) in one `send_segments`, in buffers that are used again when
        the call returns; and compound RTCP, told apart by its second byte (RFC 5761 4), with sender reports once a second
        and at each switch. False from it counts as dropped. RTP may carry padding (RFC 3550 5.1).
        What comes from it goes to `receive` and `receive_rtcp` as it is, then `flush`; nobody has authenticated it but the
        socket, so nobody but our own processes may reach that. It never gets an address in the UDP port's table.
        """
        peer = self.open_peer(peer_id, rtcp_ssrc)
        peer.tx, peer.auth_tag_size, peer.datagram_sink = PLAIN, 0, datagram_sink
        return peer

    def set_srtp_sessions(
        self,
        peer: EnginePeer,
        rx: SrtpContext,
        tx: SrtpContext,
        auth_tag_size: int,
        forget: Callable[[int], object] | None = None,
    ) -> None:
        """`forget`: drops what `rx` knows of an SSRC."""
        peer.set_inbound_session(rx, forget)
        peer.tx, peer.auth_tag_size = tx, auth_tag_size

    def set_peer_address(self, peer: EnginePeer, datagram_sink: DatagramSink, address: Address) -> None:
        """The only way a peer's address changes; the caller has authenticated it (RFC 8445 consent)."""
        peer.datagram_sink, peer.address = datagram_sink, address

    def close_peer(self, peer: EnginePeer) -> None:
        """Closes its routes, then its tracks (and their routes elsewhere), then forgets it."""
        if peer.closed:
            return
        peer.closed = True
        for down_track in {id(down_track): down_track for down_track in peer.down_tracks.values()}.values():
            self.remove_down_track(down_track)
        for track in list(peer.tracks.values()):
            self.remove_track(track)
        self._closed_totals.update(peer.totals())
        self.peers.pop(peer.id, None)
        peer.drop_sessions()

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
        by_ssrc: bool = False,
    ) -> Track:
        """A sending m-line of the peer. `payload_types` and `rtx` as negotiated; `ssrcs` (media, repair) as declared.

        `by_ssrc`: packets carry no rid; `rids` are the names of the streams in `ssrcs`, in their order.
        """
        peer.set_header_extensions(extensions)
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
        if ssrcs and (by_ssrc or not rids):
            peer.stream_table.bind_declared_ssrcs(track, ssrcs)
        peer.stream_table.drop_unbound()
        self._rtcp_handler.reschedule(peer)
        return track

    def remove_track(self, track: Track) -> None:
        for down_track in list(track.down_tracks):
            self.remove_down_track(down_track)
        track.closed = True
        if self.log is not None:
            self.log.forget(track)
        peer = self.peers.get(track.peer.id)
        if peer is not None and peer.tracks.get(track.mid) is track:
            del peer.tracks[track.mid]
        for encoding in track.encodings.values():
            if peer is not None:
                for ssrc in (encoding.ssrc, encoding.rtx_ssrc):
                    peer.stream_table.unbind(ssrc)
            encoding.history = [None] * len(encoding.history)
            encoding.batch.clear()
            encoding.layer_filter = None
        # Each knows the other: taken apart here, no collection of cycles has to find them.
        track.owner, track.encodings = None, {}
        if peer is not None:
            self._rtcp_handler.reschedule(peer)

    def add_down_track(
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
    ) -> DownTrack:
        """`track` towards `peer`. Nothing flows until `set_target`. `first_sequence` below 2¹⁵ (RFC 3711 3.3.1)."""
        down_track = DownTrack(
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
        track.down_tracks.append(down_track)
        peer.down_tracks[ssrc] = down_track
        if rtx_ssrc:
            peer.down_tracks[rtx_ssrc] = down_track
        self._rtcp_handler.reschedule(peer)
        return down_track

    def remove_down_track(self, down_track: DownTrack) -> None:
        down_track.clear_target()
        down_track.track.remove_down_track(down_track)
        peer = self.peers.get(down_track.peer.id)
        if peer is None:
            return
        if peer.down_tracks.pop(down_track.ssrc, None) is not None:
            peer.counters.removed_packets += down_track.packets
            peer.counters.removed_bytes += down_track.octets
        peer.down_tracks.pop(down_track.rtx_ssrc, None)
        self._rtcp_handler.reschedule(peer)

    def set_target(self, down_track: DownTrack, stream: RtpStream, now: float) -> None:
        """`stream` (an encoding, or `filtered`) for this route from its next keyframe on (audio: from its next packet); a
        newcomer may get the last keyframe."""
        if not down_track.set_target(stream, now) or down_track.track.kind != "video":
            return
        if isinstance(stream, Encoding) and self._gop_replay.begin(down_track, stream, now):
            self._rtcp_handler.reports.send_sender_reports(down_track.peer, (down_track,), now)
        else:
            self.request_keyframe(stream.origin, now)

    def request_keyframe(self, encoding: OriginStream, now: float) -> None:
        """Merged and throttled per track."""
        self._rtcp_handler.request_keyframe(encoding, now)

    def send_padding(self, peer: EnginePeer, size: int, now: float) -> None:
        """About so many bytes more towards a peer, that nobody misses and whose arrival it tells: for probes."""
        self._rtcp_handler.send_padding(peer, size, now)

    def mute(self, track: Track, muted: bool, now: float) -> None:
        """Stops a track at the server, or lets it pass again (from a keyframe on)."""
        if track.muted == muted:
            return
        track.muted = muted
        for down_track in track.down_tracks:
            target = down_track.target or down_track.current
            if muted:
                down_track.pause()
            elif target is not None and down_track.current is None:
                down_track.target = None
                self.set_target(down_track, target, now)
        if not muted:
            for encoding in track.encodings.values():
                if encoding.ssrc:
                    self._note(encoding)  # for those who came while it was muted

    def take_events(self) -> list[EncodingChanged]:
        """What happened since the last call, each encoding once."""
        events, self._events = self._events, []
        return list(dict.fromkeys(events))

    # -- packets ----------------------------------------------------------------------------------------------------

    def receive(self, peer: EnginePeer, view: memoryview, n: int, now: float) -> None:
        """An opened RTP packet: `n` bytes of `view`, which may be reused when this returns."""
        peer.packets_in += 1
        peer.bytes_in += n
        peer.last_arrival = now
        self.media_received = True
        encoding = receive_rtp(peer, view, n, now)
        if encoding is not None and len(encoding.batch) == 1:
            self.pending_encodings.append(encoding)

    def flush(self, now: float) -> None:
        """Sends what `receive` gathered. Call once after each batch of datagrams."""
        pending_encodings = self.pending_encodings
        if not pending_encodings:
            return
        self.pending_encodings = []
        for encoding in pending_encodings:
            batch, encoding.batch = encoding.batch, []
            if batch:
                try:
                    if self.log is not None:
                        self.log.forwarded(encoding, batch, now)
                    self._dispatcher.forward(encoding, batch, now)
                except Exception:  # one stream's fault is not the others'
                    self.dropped["fault"] += len(batch)
                    if now - self._fault_at > FAULTS_EVERY:
                        self._fault_at = now
                        log.exception("forwarding failed")

    # -- RTCP and time ----------------------------------------------------------------------------------------------

    def receive_rtcp(self, peer: EnginePeer, data: bytes | memoryview, now: float, wall: float) -> None:
        """An opened RTCP compound packet."""
        if self.log is not None:
            self.log.rtcp(peer, data, now)
        self._rtcp_handler.receive_rtcp(peer, data, now, wall)

    def handle_timer(self, now: float, wall: float) -> bool:
        """Every `control.TICK` seconds while it says that somebody publishes, every `control.IDLE_TICK` otherwise."""
        self._gop_replay.handle_timer(now)
        return self._rtcp_handler.handle_timer(now, wall)

    def totals(self) -> Counter[str]:
        """Sums of `EnginePeer.totals` over all peers, closed ones included: they never fall."""
        totals = Counter(self._closed_totals)
        for peer in self.peers.values():
            totals.update(peer.totals())
        return totals

    @property
    def plis_sent(self) -> int:
        """Keyframe requests sent to publishers."""
        return self._rtcp_handler.plis_sent

    @property
    def firs_received(self) -> int:
        """Keyframe requests of subscribers that came as FIR (they count as asked as well)."""
        return self._rtcp_handler.firs_received

    def _note(self, encoding: Encoding) -> None:
        if self.log is not None:
            self.log.listen(encoding)
        self._events.append(EncodingChanged(encoding))
