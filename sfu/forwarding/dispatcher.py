"""Batches of canonical packets to the routes that take them: who gets which of them, and who changes over where.

What a batch is sent by is `fan_out`. Everything that is the same for all routes is done once, before it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from sfu.forwarding import fanout
from sfu.forwarding.down_track import Route
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.layer_filter import Thinning
from sfu.forwarding.packet import Packet
from sfu.forwarding.redundancy import with_redundancy
from sfu.forwarding.reports import Reports
from sfu.forwarding.stream import Stream

FanOut = Callable[[Iterable[Route], list[fanout.Run], fanout.Sealer], int]


class Forwarder:
    """Belongs to one Engine. `dropped` counts what the kernel did not take."""

    def __init__(self, sealer: fanout.Sealer, segments: bool, dropped: Counter[str], reports: Reports) -> None:
        self._sealer = sealer
        self._segments = segments
        self._dropped = dropped
        self._reports = reports
        self.fan_out: FanOut = fanout.fan_out

    def forward(self, encoding: Encoding, batch: list[Packet], now: float) -> None:
        """What an encoding got in this turn, to everybody who takes it or some of its layers."""
        if encoding.thinning is None:
            encoding.forwarded = encoding.highest
            self._serve(encoding, batch, now)
        else:
            self._forward_layers(encoding, encoding.thinning, batch, now)

    def _forward_layers(self, encoding: Encoding, thinning: Thinning, batch: list[Packet], now: float) -> None:
        """A batch of an encoding of which somebody gets some layers only; between two pictures routes change over."""
        waiting = thinning.waiting()
        encoding.late = False
        ready: list[Packet] = []
        for packet in batch:
            mark = thinning.read(packet)
            for route in [route for route in waiting if thinning.opens(mark, packet, route)] if waiting else ():
                self._serve_taken(encoding, thinning, ready, now)
                ready = []
                assert route.target is not None
                route.change_over(route.target, packet)
                waiting.remove(route)
            if not thinning.take(packet, mark):
                encoding.late = True
            ready.append(packet)
        self._serve_taken(encoding, thinning, ready, now)
        thinning.tidy()

    def _serve_taken(self, encoding: Encoding, thinning: Thinning, batch: list[Packet], now: float) -> None:
        """What the thinned streams have taken already: to everybody."""
        if not batch:
            return
        encoding.forwarded = thinning.highest
        if encoding.routes:
            self._serve(encoding, batch, now)
        encoding.late = False
        for thinned in thinning.thinned:
            share, thinned.batch = thinned.batch, []
            thinned.forwarded = thinned.highest
            if share:
                self._serve(thinned, share, now)

    def send(self, route: Route, packets: list[Packet], now: float) -> None:
        """These to one route."""
        dropped = self._send((route,), self._runs(packets), now)
        if dropped:
            self._dropped["send_buffer"] += dropped

    def _serve(self, encoding: Stream, batch: list[Packet], now: float) -> None:
        taking = [route for route in encoding.routes if route.current is encoding]
        waiting = len(encoding.routes) > len(taking)
        dropped = 0
        if encoding.late:
            encoding.late = False
            dropped += self._forward_late(taking, batch, now)
            taking = []
        if encoding.track.kind == "audio":
            if encoding.track.lossy:
                taking, lost = self._forward_twice(encoding, taking, batch, now)
                dropped += lost
            plain = [route for route in taking if not route.takes_red] if any(p.codec_index for p in batch) else []
            if plain:
                dropped += self._send(plain, self._runs(fanout.without_red(batch)), now)
                taking = [route for route in taking if route.takes_red]
        if taking:
            dropped += self._send(taking, self._runs(batch, len(taking)), now)
        if waiting:
            dropped += self._switch_waiting(encoding, batch, now)
        if dropped:
            self._dropped["send_buffer"] += dropped

    def _send(self, routes: Sequence[Route], groups: list[fanout.Run], now: float) -> int:
        """One batch to these routes; their paths' histories are noted here, whatever the batch is sent by."""
        sizes: list[int] | None = None
        for route in routes:
            note = route.note
            if note is not None:
                if sizes is None:
                    sizes = [packet.size for _, packets in groups for packet in packets]
                note((route.peer.twcc_number, sizes, now))
        return self.fan_out(routes, groups, self._sealer)

    def _forward_twice(
        self, encoding: Stream, taking: list[Route], batch: list[Packet], now: float
    ) -> tuple[list[Route], int]:
        """Sound with older sound in each packet, to those whose paths lose packets: (the others, packets dropped)."""
        alike: dict[tuple[int, int], list[Route]] = {}
        others = []
        for route in taking:
            level = route.redundancy.level if route.redundancy is not None else 0
            if level:
                alike.setdefault((level, route.payload_types[0]), []).append(route)
            else:
                others.append(route)
        dropped = 0
        for (level, payload_type), routes in alike.items():
            packets = with_redundancy(batch, level, payload_type, encoding.find)
            dropped += self._send(routes, self._runs(packets), now)
        return others, dropped

    def _forward_late(self, taking: list[Route], batch: list[Packet], now: float) -> int:
        """A batch with packets that came out of order: each route leaves out what is from before its switch."""
        dropped = 0
        for route in taking:
            packets = [packet for packet in batch if not route.before_switch(packet)]
            if not route.takes_red:
                packets = fanout.without_red(packets)
            if packets:
                dropped += self._send((route,), self._runs(packets), now)
        return dropped

    def _runs(self, batch: list[Packet], receivers: int = 1) -> list[fanout.Run]:
        return fanout.runs(batch, self._segments, receivers > 1)

    def _switch_waiting(self, encoding: Stream, batch: list[Packet], now: float) -> int:
        """Routes that wait for this encoding take it from the first keyframe of the batch on."""
        key = next((packet for packet in batch if packet.keyframe), None)
        if key is None:
            return 0
        # a keyframe whose first packet came late (it was lost and repaired): what followed it is in the history
        ahead = min((encoding.forwarded - key.sequence) & 0xFFFF, encoding.mask)
        following = [encoding.find((key.sequence + step) & 0xFFFF) for step in range(ahead + 1)]
        replay = [packet for packet in following if packet is not None]
        dropped = 0
        for route in list(encoding.routes):
            if route.target is not encoding or route.has(encoding.origin):
                continue
            route.switch(encoding, key, now)
            packets = replay if route.takes_red or encoding.track.kind == "video" else fanout.without_red(replay)
            dropped += self._send((route,), self._runs(packets), now)
            self._reports.send_sender_reports(route.peer, now, only=route)
        return dropped
