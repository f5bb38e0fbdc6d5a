"""The data plane behind a narrow interface: commands in, events and counters out.

Commands:

- peers: `open_peer`, `open_plain_peer`, `open_node_peer`, `set_srtp_sessions`, `set_peer_address`, `set_downlink`, `close_peer`
- tracks: `add_track`, `rebind_track`, `set_owner`, `set_name`, `remove_track`, `mute`, `request_keyframe`
- down tracks: `add_down_track`, `remove_down_track`, `set_target`, `set_layer`, `clear_target`, `set_sent_callback`,
  `update_loss`, `send_padding`

Events come from `take_events`: an encoding was bound, came alive, fell silent or changed its size. Counters: `totals`,
`dropped`, `plis_sent`, `firs_received`, `media_received`. The engine does not call back into rooms or signalling.

The driver (sfu.transport.udp) passes decrypted packets to `receive`, or lets its C part take them in `receive_batch`, and
calls `flush` after each batch. It passes RTCP to `receive_rtcp`, and calls `handle_timer` every `rtcp_handler.TICK` seconds.
`now` is monotonic seconds, `wall` seconds since 1900 (NTP). Sans-IO: encryption and sending are behind `SrtpEncryptor` and
`DatagramSink`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from sfu.forwarding import fanout
from sfu.forwarding.decision_log import DecisionLog
from sfu.forwarding.dispatcher import Dispatcher, FanOut
from sfu.forwarding.down_track import DownTrack, OriginStream, RtpStream, SentCallback
from sfu.forwarding.downlink import Downlink
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.encoding_events import EncodingChanged, EncodingEvents
from sfu.forwarding.gop_replay import GopReplay
from sfu.forwarding.header_layout import header_layout
from sfu.forwarding.inbound import BatchReader
from sfu.forwarding.inbound import receive as receive_rtp
from sfu.forwarding.layer_filter import filtered
from sfu.forwarding.layers import ALL_LAYERS
from sfu.forwarding.loop_budget import LoopBudget
from sfu.forwarding.media_track import TrackOwner
from sfu.forwarding.packet_log import PacketLog
from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.peer_transport import PLAIN, Address, DatagramSink, SrtpContext
from sfu.forwarding.rtcp_handler import IngressLimits, RtcpHandler
from sfu.forwarding.track import Track
from sfu.ids import PeerId


class Engine:
    """All peers, tracks and down tracks of one process."""

    def __init__(
        self,
        encryptor: fanout.SrtpEncryptor,
        *,
        segments: bool,
        ingress: IngressLimits | None = None,
        clock: Callable[[], float] = lambda: 0.0,
        packet_log: PacketLog | None = None,
    ) -> None:
        """`clock`: monotonic seconds, to charge work to the peer that causes it; by default work costs nothing.

        `packet_log`: set if the operator wants one.
        """
        self.media_received = False
        """Whether a packet came since the last `handle_timer`."""
        self.pending_encodings: list[Encoding] = []
        """Encodings with a batch to forward, each once, in order of arrival. The C part appends to it as well."""
        self._encoding_events = EncodingEvents()
        self.peers: dict[PeerId, EnginePeer] = {}
        self.dropped: Counter[str] = Counter()
        """Packets dropped, by reason."""
        self._closed_totals: Counter[str] = Counter()
        """Counters of closed peers."""
        self.log = packet_log
        self._rtcp_handler = RtcpHandler(encryptor, self.dropped, self._note, ingress or IngressLimits(), clock)
        self._dispatcher = Dispatcher(encryptor, segments, self.dropped, self._rtcp_handler.reports, packet_log)
        self._gop_replay = GopReplay(self._dispatcher.send)

    # -- commands ---------------------------------------------------------------------------------------------------

    def set_fan_out(self, fan_out: FanOut) -> None:
        """Replaces the function that sends a batch, by the C part's."""
        self._dispatcher.fan_out = fan_out

    def open_peer(
        self,
        peer_id: PeerId,
        rtcp_ssrc: int,
        *,
        decision_log: DecisionLog | None = None,
        budget: LoopBudget | None = None,
    ) -> EnginePeer:
        """`decision_log` and `budget` belong to the peer's participant; without a budget the peer has its own."""
        peer = self.peers[peer_id] = EnginePeer(peer_id, rtcp_ssrc)
        peer.decision_log = decision_log
        peer.budget = budget or peer.budget
        return peer

    def open_plain_peer(self, peer_id: PeerId, rtcp_ssrc: int, datagram_sink: DatagramSink) -> EnginePeer:
        """A consumer or source in another process on this machine: RTP and RTCP without SRTP in both directions.

        Tracks and down tracks work as for any peer; there are no keys, no address and no authentication tag.

        Outbound: `datagram_sink` gets RTP, one datagram per `send` or several of `size` bytes (the last one may be shorter)
        per `send_segments`, in buffers that are reused when the call returns; and compound RTCP, distinguished by its
        second byte (RFC 5761 4), with sender reports once a second and at each switch. `address` is unused. A datagram
        counts as dropped if the sink returns False. RTP may have padding (RFC 3550 5.1).

        Inbound: the driver passes packets to `receive` and `receive_rtcp` unchanged, then calls `flush`. Only the socket
        authenticates them, so that only our own processes may have access to it.
        """
        peer = self.open_peer(peer_id, rtcp_ssrc)
        peer.tx, peer.auth_tag_size, peer.datagram_sink = PLAIN, 0, datagram_sink
        return peer

    def open_node_peer(self, peer_id: PeerId, rtcp_ssrc: int) -> EnginePeer:
        """Another node of the cluster, a source and a consumer of the tracks of many participants.

        The limits per client do not apply to it. Packets of SSRCs that no track declares are dropped before decryption.
        """
        peer = self.peers[peer_id] = EnginePeer(peer_id, rtcp_ssrc, trusted=True)
        return peer

    def set_srtp_sessions(
        self,
        peer: EnginePeer,
        rx: SrtpContext,
        tx: SrtpContext,
        auth_tag_size: int,
        forget: Callable[[int], object] | None = None,
    ) -> None:
        """`forget` drops the state of an SSRC from `rx`."""
        peer.set_inbound_session(rx, forget)
        peer.tx, peer.auth_tag_size = tx, auth_tag_size

    def set_peer_address(self, peer: EnginePeer, datagram_sink: DatagramSink, address: Address) -> None:
        """The only way to change a peer's address. The caller has authenticated it (RFC 8445 consent)."""
        peer.datagram_sink, peer.address = datagram_sink, address

    def set_downlink(self, peer: EnginePeer, downlink: Downlink | None) -> None:
        """`downlink` gets the peer's feedback and reports from now on."""
        peer.downlink = downlink

    def close_peer(self, peer: EnginePeer) -> None:
        """Removes its down tracks, then its tracks with their down tracks, then the peer. Idempotent."""
        if peer.closed:
            return
        peer.closed = True
        for down_track in list(peer.media_down_tracks()):
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
        """A sending m-line of the peer. `payload_types` and `rtx` as negotiated, `ssrcs` (media, repair) as declared.

        `by_ssrc`: packets have no RID; `rids` are the names of the streams in `ssrcs`, in the same order.
        """
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
        peer.add_track(track, extensions, ssrcs if by_ssrc or not rids else ())
        self._rtcp_handler.reschedule(peer)
        return track

    def rebind_track(
        self, track: Track, peer: EnginePeer, extensions: Mapping[str, int], ssrcs: tuple[tuple[int, int | None], ...]
    ) -> None:
        """The track comes from `peer` from now on, with other SSRCs (media, repair), one pair for each encoding.

        Its down tracks go on: they switch to the new streams at the next keyframe. The codec does not change.
        """
        old = self.peers.get(track.peer.id)
        if old is not None:
            old.remove_track(track)
            self._rtcp_handler.reschedule(old)
        track.move(peer)
        peer.add_track(track, extensions, ssrcs)
        self._rtcp_handler.reschedule(peer)

    def set_owner(self, track: Track, owner: TrackOwner) -> None:
        """`owner` is in the track's events from now on."""
        track.owner = owner

    def set_name(self, track: Track, name: str) -> None:
        """The name of the track in decision logs."""
        track.name = name

    def remove_track(self, track: Track) -> None:
        for down_track in list(track.down_tracks):
            self.remove_down_track(down_track)
        if self.log is not None:
            self.log.forget(track)
        peer = self.peers.get(track.peer.id)
        if peer is not None:
            peer.remove_track(track)
            self._rtcp_handler.reschedule(peer)
        track.close()

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
        extensions: Mapping[str, int] | None = None,
        allow_mixed: bool = True,
        nack_without_rtx: bool = False,
        continues: DownTrack | None = None,
    ) -> DownTrack:
        """`track` towards `peer`. Sends nothing before `set_target`. `first_sequence` is below 2¹⁵ (RFC 3711 3.3.1).

        `extensions`: header extensions that the subscriber negotiated (URI → id) if it chose the ids; None: ours, with a
        mid of two characters. `allow_mixed`: it takes one-byte and two-byte headers in one stream (RFC 8285 6).
        `nack_without_rtx`: it negotiated NACK and no RTX, so that lost packets are resent as they were. `continues`: an ended
        down track whose SSRCs and numbers this one continues.
        """
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
            layout=header_layout(mid, extensions, allow_mixed=allow_mixed, canonical=not nack_without_rtx),
            keeps_datagrams=nack_without_rtx,
        )
        if continues is not None:
            down_track.continue_from(continues)
        track.down_tracks.append(down_track)
        peer.add_down_track(down_track)
        self._rtcp_handler.reschedule(peer)
        return down_track

    def remove_down_track(self, down_track: DownTrack) -> None:
        down_track.clear_target()
        down_track.track.remove_down_track(down_track)
        peer = self.peers.get(down_track.peer.id)
        if peer is not None:
            peer.remove_down_track(down_track)
            self._rtcp_handler.reschedule(peer)

    def set_target(self, down_track: DownTrack, stream: RtpStream, now: float) -> None:
        """Sends `stream` from its next keyframe on (audio: from its next packet). A new down track may get a GOP replay."""
        if not down_track.set_target(stream, now) or down_track.track.kind != "video":
            return
        if isinstance(stream, Encoding) and self._gop_replay.begin(down_track, stream, now):
            self._rtcp_handler.reports.send_sender_reports(down_track.peer, (down_track,), now)
        else:
            self.request_keyframe(stream.origin, now)

    def set_layer(
        self,
        down_track: DownTrack,
        track: Track,
        rid: str,
        now: float,
        *,
        spatial: int = ALL_LAYERS,
        temporal: int = ALL_LAYERS,
        urgent: bool = False,
    ) -> None:
        """Sends layers of an encoding of `track`, see `set_target`.

        `urgent`: the path is flooded, so another encoding stops at once. Else the keyframe would come behind a queue.
        """
        encoding = track.encodings[rid]
        if urgent and not down_track.is_forwarding(encoding):
            down_track.pause()
        self.set_target(down_track, filtered(encoding, spatial, temporal), now)

    def clear_target(self, down_track: DownTrack) -> None:
        """Stops sending. The next `set_target` continues the subscriber's stream."""
        down_track.clear_target()

    def set_sent_callback(self, down_track: DownTrack, on_sent: SentCallback) -> None:
        """`on_sent` gets the transport-wide numbers and sizes of all packets sent from now on."""
        down_track.on_sent = on_sent if self.log is None else self.log.logging_sent(down_track.peer, on_sent)

    def update_loss(self, down_track: DownTrack, loss: float, now: float) -> None:
        """Takes the fraction of packets that the path loses: audio becomes redundant."""
        down_track.update_loss(loss, now)

    def request_keyframe(self, encoding: OriginStream, now: float) -> None:
        """Requests are merged and throttled per track."""
        self._rtcp_handler.request_keyframe(encoding, now)

    def send_padding(self, peer: EnginePeer, size: int, now: float) -> None:
        """Sends about `size` bytes of redundant packets, for bandwidth probes."""
        self._rtcp_handler.retransmitter.send_padding(peer, size, now)

    def mute(self, track: Track, muted: bool, now: float) -> None:
        """Stops forwarding a track, or resumes it from a keyframe on."""
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
                    self._note(encoding)  # for subscribers that joined while it was muted

    def take_events(self) -> list[EncodingChanged]:
        """The events since the last call, at most one per encoding, with its state now."""
        return self._encoding_events.take()

    # -- packets ----------------------------------------------------------------------------------------------------

    def receive(self, peer: EnginePeer, view: memoryview, n: int, now: float) -> None:
        """Takes a decrypted RTP packet: the first `n` bytes of `view`, which may be reused afterwards."""
        peer.packets_in += 1
        peer.bytes_in += n
        peer.last_arrival = now
        self.media_received = True
        encoding = receive_rtp(peer, view, n, now)
        if encoding is not None and len(encoding.batch) == 1:
            self.pending_encodings.append(encoding)

    def receive_batch(self, read: BatchReader, now: float) -> tuple[int, int]:
        """Takes packets that the C part decrypts. Returns the numbers of datagrams read and of forged packets."""
        received, opened, forged = read(self.pending_encodings, now)
        if opened:
            self.media_received = True
        return received, forged

    def count_refused(self, peer: EnginePeer, n: int) -> None:
        """Counts a packet of `n` bytes that the driver drops because the peer exceeds its limits."""
        peer.packets_in += 1
        peer.bytes_in += n

    def throttle(self, peer: EnginePeer) -> None:
        """Makes the driver drop the peer's media (`EnginePeer.flooding`) until the next check of its rate."""
        peer.flooding = True

    def flush(self, now: float) -> None:
        """Forwards the packets taken by `receive`. Call it once after each batch of datagrams."""
        pending_encodings = self.pending_encodings
        if not pending_encodings:
            return
        self.pending_encodings = []
        self._dispatcher.flush(pending_encodings, now)

    # -- RTCP and time ----------------------------------------------------------------------------------------------

    def receive_rtcp(self, peer: EnginePeer, data: bytes | memoryview, now: float, wall: float) -> None:
        """Takes a decrypted RTCP compound packet."""
        if self.log is not None:
            self.log.rtcp(peer, data, now)
        self._rtcp_handler.receive_rtcp(peer, data, now, wall)

    def handle_timer(self, now: float, wall: float) -> bool:
        """Call it every `TICK` seconds while it returns True (a peer publishes), else every `IDLE_TICK` seconds."""
        self.media_received = False
        self._gop_replay.handle_timer(now)
        return self._rtcp_handler.handle_timer(now, wall)

    def tracks(self) -> Iterator[Track]:
        """All published tracks."""
        return (track for peer in self.peers.values() for track in peer.tracks.values())

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
        """Keyframe requests received as FIR. They also count in `keyframe_requests_received`."""
        return self._rtcp_handler.firs_received

    def _note(self, encoding: Encoding) -> None:
        if self.log is not None:
            self.log.listen(encoding)
        self._encoding_events.add(encoding)
