"""Dispatches batches of canonical packets to the down tracks of a stream, and switches waiting down tracks.

`fan_out` sends a batch. Work that is the same for all down tracks is done once, before it.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from sfu.forwarding import fanout
from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.fault_log import FaultLog
from sfu.forwarding.layer_filter import LayerFilter
from sfu.forwarding.packet import Packet
from sfu.forwarding.packet_log import PacketLog
from sfu.forwarding.redundancy import with_redundancy
from sfu.forwarding.rtcp_reports import RtcpReports
from sfu.forwarding.stream import Stream

log = logging.getLogger(__name__)

FanOut = Callable[[Iterable[DownTrack], list[fanout.GsoBatch], fanout.SrtpEncryptor], int]


class Dispatcher:
    """Belongs to one engine. `dropped` counts datagrams that the kernel did not accept."""

    def __init__(
        self,
        encryptor: fanout.SrtpEncryptor,
        segments: bool,
        dropped: Counter[str],
        reports: RtcpReports,
        packet_log: PacketLog | None,
    ) -> None:
        self._encryptor = encryptor
        self._segments = segments
        self._dropped = dropped
        self._reports = reports
        self._packet_log = packet_log
        self._faults = FaultLog(log, "forwarding failed", dropped)
        self.fan_out: FanOut = fanout.fan_out

    def flush(self, encodings: list[Encoding], now: float) -> None:
        """Forwards the batches of these encodings."""
        for encoding in encodings:
            batch, encoding.batch = encoding.batch, []
            if batch:
                try:
                    if self._packet_log is not None:
                        self._packet_log.forwarded(encoding, batch, now)
                    self.forward(encoding, batch, now)
                except Exception:  # one stream's fault must not affect others
                    self._faults.record(now, len(batch))

    def forward(self, encoding: Encoding, batch: list[Packet], now: float) -> None:
        """Forwards the packets that an encoding received in this turn to all its down tracks."""
        if encoding.layer_filter is None:
            encoding.forwarded = encoding.highest
            self._serve(encoding, batch, now)
        else:
            self._forward_layers(encoding, encoding.layer_filter, batch, now)

    def _forward_layers(self, encoding: Encoding, layer_filter: LayerFilter, batch: list[Packet], now: float) -> None:
        """Forwards a batch of an encoding with filtered streams. Down tracks switch layers between two pictures."""
        waiting = layer_filter.waiting()
        encoding.late = False
        ready: list[Packet] = []
        for packet in batch:
            layer_info = layer_filter.read(packet)
            for down_track in (
                [down_track for down_track in waiting if layer_filter.is_switch_point(layer_info, packet, down_track)]
                if waiting
                else ()
            ):
                self._serve_taken(encoding, layer_filter, ready, now)
                ready = []
                assert down_track.target is not None
                down_track.switch_layers(down_track.target, packet)
                waiting.remove(down_track)
            if not layer_filter.take(packet, layer_info):
                encoding.late = True
            ready.append(packet)
        self._serve_taken(encoding, layer_filter, ready, now)
        layer_filter.tidy()

    def _serve_taken(self, encoding: Encoding, layer_filter: LayerFilter, batch: list[Packet], now: float) -> None:
        """Sends packets that the layer filter has taken already."""
        if not batch:
            return
        encoding.forwarded = layer_filter.highest
        if encoding.down_tracks:
            self._serve(encoding, batch, now)
        encoding.late = False
        for filtered in layer_filter.filtered:
            share, filtered.batch = filtered.batch, []
            filtered.forwarded = filtered.highest
            if share:
                self._serve(filtered, share, now)

    def send(self, down_track: DownTrack, packets: list[Packet], now: float) -> None:
        """Sends packets to one down track."""
        dropped = self._send((down_track,), self._runs(packets), now)
        if dropped:
            self._dropped["send_buffer"] += dropped

    def _serve(self, encoding: Stream, batch: list[Packet], now: float) -> None:
        taking = [down_track for down_track in encoding.down_tracks if down_track.current is encoding]
        waiting = len(encoding.down_tracks) > len(taking)
        dropped = 0
        if encoding.late:
            encoding.late = False
            dropped += self._forward_late(taking, batch, now)
            taking = []
        if encoding.track.kind == "audio":
            if encoding.track.lossy_down_tracks:
                taking, lost = self._forward_redundant(encoding, taking, batch, now)
                dropped += lost
            plain = (
                [down_track for down_track in taking if not down_track.supports_red]
                if any(p.codec_index for p in batch)
                else []
            )
            if plain:
                dropped += self._send(plain, self._runs(fanout.without_red(batch)), now)
                taking = [down_track for down_track in taking if down_track.supports_red]
        if taking:
            dropped += self._send(taking, self._runs(batch, len(taking)), now)
        if waiting:
            dropped += self._switch_waiting(encoding, batch, now)
        if dropped:
            self._dropped["send_buffer"] += dropped

    def _send(self, down_tracks: Sequence[DownTrack], groups: list[fanout.GsoBatch], now: float) -> int:
        """Sends one batch to these down tracks, and reports it to their bandwidth estimators."""
        sizes: list[int] | None = None
        for down_track in down_tracks:
            on_sent = down_track.on_sent
            if on_sent is not None:
                if sizes is None:
                    sizes = [packet.size for _, packets in groups for packet in packets]
                on_sent((down_track.peer.twcc_number, sizes, now))
        return self.fan_out(down_tracks, groups, self._encryptor)

    def _forward_redundant(
        self, encoding: Stream, taking: list[DownTrack], batch: list[Packet], now: float
    ) -> tuple[list[DownTrack], int]:
        """Sends redundant audio to the down tracks that need it. Returns (the other down tracks, packets dropped)."""
        alike: dict[tuple[int, int], list[DownTrack]] = {}
        others = []
        for down_track in taking:
            level = down_track.redundancy.level if down_track.redundancy is not None else 0
            if level:
                alike.setdefault((level, down_track.payload_types[0]), []).append(down_track)
            else:
                others.append(down_track)
        dropped = 0
        for (level, payload_type), down_tracks in alike.items():
            packets = with_redundancy(batch, level, payload_type, encoding.find)
            dropped += self._send(down_tracks, self._runs(packets), now)
        return others, dropped

    def _forward_late(self, taking: list[DownTrack], batch: list[Packet], now: float) -> int:
        """Sends a batch with late packets: each down track skips packets from before its last switch."""
        dropped = 0
        for down_track in taking:
            packets = [packet for packet in batch if not down_track.switch_history.is_before(packet)]
            if not down_track.supports_red:
                packets = fanout.without_red(packets)
            if packets:
                dropped += self._send((down_track,), self._runs(packets), now)
        return dropped

    def _runs(self, batch: list[Packet], receivers: int = 1) -> list[fanout.GsoBatch]:
        return fanout.gso_batches(batch, self._segments, receivers > 1)

    def _switch_waiting(self, encoding: Stream, batch: list[Packet], now: float) -> int:
        """Switches the down tracks that wait for this stream, at the first keyframe of the batch."""
        key = next((packet for packet in batch if packet.keyframe), None)
        if key is None:
            return 0
        # If the first packet of the keyframe came late (lost and retransmitted), the rest of it is in the history.
        ahead = min((encoding.forwarded - key.sequence) & 0xFFFF, encoding.mask)
        following = [encoding.find((key.sequence + step) & 0xFFFF) for step in range(ahead + 1)]
        replay = [packet for packet in following if packet is not None]
        dropped = 0
        for down_track in list(encoding.down_tracks):
            if down_track.target is not encoding or down_track.is_forwarding(encoding.origin):
                continue
            down_track.switch(encoding, key, now)
            packets = (
                replay if down_track.supports_red or encoding.track.kind == "video" else fanout.without_red(replay)
            )
            dropped += self._send((down_track,), self._runs(packets), now)
            self._reports.send_sender_reports(down_track.peer, (down_track,), now)
        return dropped
