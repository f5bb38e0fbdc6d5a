"""A published track as rooms see it, whatever publishes it: a browser, or a process behind a plain transport."""

import time
from collections.abc import Callable
from typing import Literal

from sfu.forwarding.dynacast import Dynacast
from sfu.forwarding.engine import Engine
from sfu.forwarding.layers import Size
from sfu.forwarding.track import Track
from sfu.ids import TrackId
from sfu.rooms.media_stats import QualityLimitation
from sfu.rooms.ports import MediaConsumer
from sfu.transport.dynacast_manager import DynacastManager


class PublishedTrack:
    """A MediaSource: the engine's track and what its publisher declares about it."""

    def __init__(
        self,
        engine: Engine,
        track: Track,
        stream: str,
        *,
        screen: bool = False,
        dynacast_manager: DynacastManager | None = None,
        notify_publisher: Callable[[tuple[str, ...]], None] | None = None,
    ) -> None:
        """`dynacast_manager` calls `notify_publisher` with the watched layers; None: the publisher cannot pause layers."""
        self.kind: Literal["audio", "video"] = track.kind
        self.codec = track.codec
        self.track = track
        self.stream = stream
        """Tracks of one stream are played in sync: camera with microphone, screen with its sound."""
        self.screen = screen
        """Takes precedence over cameras when the bandwidth is short."""
        self.declared: dict[str, Size] = {}
        """Layer sizes by rid, lowest first."""
        self.limitation: QualityLimitation = "none"
        """Why the publisher's browser limits the quality (its `qualityLimitationReason`)."""
        self.name: TrackId | None = None
        """Its name for subscribers, known with the first one."""
        self.consumers: dict[TrackId, list[MediaConsumer]] = {}
        """Subscribers of this track, by their id for it."""
        self.dynacast = Dynacast()
        self._notify_publisher = notify_publisher
        self._dynacast_manager = dynacast_manager
        self._engine = engine
        engine.set_owner(track, self)

    def reselect(self, now: float) -> int:
        """Selects layers again for all consumers after an encoding changed. Returns their number."""
        count = 0
        for name, consumers in list(self.consumers.items()):
            for consumer in list(consumers):
                consumer.reselect(name, now)
                count += 1
        return count

    def max_height(self, sent: int) -> int:
        """Height of the largest layer. `sent`: height of the largest active layer; dynacast pauses unused ones."""
        return max([sent, *(size.height for size in self.dynacast.paused_layers(self.declared).values())])

    def paused(self) -> tuple[str, ...]:
        """Layers that the publisher paused on request."""
        silent = self.track.silent_rids()
        return tuple(rid for rid in self.dynacast.paused_layers(self.declared) if rid in silent)

    def add_consumer(self, name: TrackId, consumer: MediaConsumer) -> None:
        self.name = name
        self._engine.set_name(self.track, str(name))
        self.consumers.setdefault(name, []).append(consumer)
        self.touch()

    def remove_consumer(self, name: TrackId, consumer: MediaConsumer) -> None:
        consumers = self.consumers.get(name, [])
        if consumer in consumers:
            consumers.remove(consumer)
        if not consumers:
            self.consumers.pop(name, None)
        self.touch()

    def touch(self) -> None:
        """Subscription settings or active layers changed."""
        if self._dynacast_manager is not None and not self.track.closed:
            self._dynacast_manager.touch(self)

    def request_layers(self, rids: tuple[str, ...]) -> None:
        """Asks the publisher to send these layers only, if it can pause layers."""
        if self._notify_publisher is not None:
            self._notify_publisher(rids)

    def set_muted(self, muted: bool) -> None:
        self._engine.mute(self.track, muted, time.monotonic())

    def take_level(self) -> int | None:
        return self.track.take_level()
