"""A track of another node as rooms of this node see it."""

import time
from collections.abc import Callable, Iterator
from typing import Final

from sfu.forwarding.decision_log import Cause
from sfu.forwarding.dynacast import Dynacast
from sfu.forwarding.engine import Engine
from sfu.forwarding.layers import Size
from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.track import Track
from sfu.ids import TrackId
from sfu.rooms.media_stats import QualityLimitation
from sfu.transport.published_track import PublishedTrack
from sfu.transport.relay_formats import CLOCK_RATES, EXTENSIONS, PAYLOAD_TYPES, RTX_PAYLOAD_TYPES
from sfu.transport.relay_messages import LayerRequest, RelayStream, TrackDescription

PARK_DELAY: Final = 1.0
"""Seconds before a layer without subscribers is parked: resuming it costs a keyframe. The publisher pauses it after
`dynacast.PAUSE_DELAY` more."""
LIMITS: Final[dict[QualityLimitation, Cause]] = {
    "none": Cause.NONE,
    "cpu": Cause.CPU,
    "bandwidth": Cause.UPLINK,
    "other": Cause.PUBLISHER,
}


class RelayedTrack(PublishedTrack):
    """A MediaSource. Its streams come from one node at a time; `bind` continues it from another session or node."""

    def __init__(
        self,
        engine: Engine,
        track: Track,
        description: TrackDescription,
        streams: tuple[RelayStream, ...],
        touched: Callable[["RelayedTrack"], None],
    ) -> None:
        """`touched` is called when the demand for layers may have changed."""
        super().__init__(engine, track, description.stream, screen=description.screen)
        self.id = TrackId(description.track)
        self.dynacast = Dynacast(asked=0, floor=0, pause_delay=PARK_DELAY)
        self.description = description
        self._streams = streams
        self._wanted: tuple[str, ...] = ()
        self._touched = touched
        self._declare(description)

    @classmethod
    def open(
        cls,
        engine: Engine,
        peer: EnginePeer,
        description: TrackDescription,
        streams: tuple[RelayStream, ...],
        touched: Callable[["RelayedTrack"], None],
    ) -> "RelayedTrack":
        codec = description.codec
        payload_type, rtx = PAYLOAD_TYPES[codec], RTX_PAYLOAD_TYPES.get(codec)
        rids = tuple(stream.rid for stream in streams)
        track = engine.add_track(
            peer,
            mid=description.track,
            kind=description.kind,
            codec=codec,
            parameters=description.parameters,
            clock_rate=CLOCK_RATES[description.kind],
            payload_types={payload_type: codec} | ({PAYLOAD_TYPES["red"]: "red"} if description.red else {}),
            rtx={rtx: payload_type} if rtx is not None else {},
            extensions=EXTENSIONS,
            rids=() if rids == ("",) else rids,
            ssrcs=_ssrcs(streams),
            by_ssrc=True,
        )
        return cls(engine, track, description, streams, touched)

    def fits(self, description: TrackDescription) -> bool:
        """Whether a stream with this description can continue the track: subscribers keep codec and m-line."""
        mine = self.description
        return (mine.kind, mine.codec, mine.parameters) == (
            description.kind,
            description.codec,
            description.parameters,
        ) and {layer.rid for layer in description.layers} == set(self.track.encodings)

    def bind(self, peer: EnginePeer, description: TrackDescription, streams: tuple[RelayStream, ...]) -> None:
        """Continues the track with other streams, also of another node."""
        self._engine.rebind_track(self.track, peer, EXTENSIONS, _ssrcs(streams))
        self._streams = streams
        self.describe(description)

    def describe(self, description: TrackDescription) -> None:
        """Takes a changed description."""
        changed = description.limitation != self.description.limitation
        self.description = description
        self._declare(description)
        self.touch()
        if changed:
            self.limitation = description.limitation
            for name, consumers in self.consumers.items():
                for consumer in consumers:
                    consumer.quality_limitation_changed(name, LIMITS[description.limitation], time.monotonic())

    def _declare(self, description: TrackDescription) -> None:
        self.declared = {layer.rid: Size(layer.width, layer.height) for layer in description.layers}

    def request(self) -> LayerRequest:
        """The layers that the subscribers of this node need."""
        return LayerRequest(self.id, self.description.generation, self._streams, self._wanted)

    def update_demand(self, now: float) -> bool:
        """Whether the wanted layers changed. Call it again at `dynacast.next_at`."""
        wanted = self.dynacast.update(self.declared, list(self._tiles()), now)
        if wanted is None or wanted == self._wanted:
            return False
        self._wanted = wanted
        return True

    def _tiles(self) -> Iterator[tuple[int, int]]:
        for name, consumers in self.consumers.items():
            for consumer in consumers:
                settings = consumer.settings_of(name)
                if settings is not None and not settings.stopped:
                    yield settings.width, settings.height

    def touch(self) -> None:
        if not self.track.closed:
            self._touched(self)

    def close(self) -> None:
        """Ends the engine's track and its down tracks."""
        if not self.track.closed:
            self._engine.remove_track(self.track)


def _ssrcs(streams: tuple[RelayStream, ...]) -> tuple[tuple[int, int | None], ...]:
    return tuple((stream.ssrc, stream.rtx_ssrc or None) for stream in streams)
