"""Dynacast for all publishers: tells them which layers have subscribers, whenever a subscription or a layer changed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

from sfu.forwarding.dynacast import Dynacast
from sfu.forwarding.layers import Size
from sfu.ids import TrackId
from sfu.rooms.ports import SubscriptionSettings

EVERY: Final = 0.2
"""Seconds in which changes are collected: a page that arranges its tiles sends many changes at once."""


class Subscriber(Protocol):
    def settings_of(self, track: TrackId) -> SubscriptionSettings | None: ...


class DynacastSource(Protocol):
    """A published track (publisher.py)."""

    @property
    def declared(self) -> Mapping[str, Size]: ...

    @property
    def dynacast(self) -> Dynacast: ...

    @property
    def consumers(self) -> Mapping[TrackId, Sequence[Subscriber]]: ...

    def request_layers(self, rids: tuple[str, ...]) -> None:
        """Asks the publisher to send these layers only."""


class DynacastManager:
    """One per server."""

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled
        self._touched: set[DynacastSource] = set()
        self._due: set[DynacastSource] = set()
        """Tracks to check again at their `dynacast.next_at`."""
        self._next = float("-inf")

    def touch(self, source: DynacastSource) -> None:
        """A subscription of the track or its layers changed."""
        if self._enabled and len(source.declared) > 1:
            self._touched.add(source)

    def forget(self, source: DynacastSource) -> None:
        self._touched.discard(source)
        self._due.discard(source)

    def tick(self, now: float) -> None:
        if now < self._next or not (self._touched or self._due):
            return
        self._next = now + EVERY
        touched, self._touched = self._touched, set()
        for source in touched | {source for source in self._due if _is_due(source, now)}:
            wanted = source.dynacast.update(source.declared, _tiles(source), now)
            if source.dynacast.next_at is not None:
                self._due.add(source)
            else:
                self._due.discard(source)
            if wanted is not None:
                source.request_layers(wanted)


def _is_due(source: DynacastSource, now: float) -> bool:
    at = source.dynacast.next_at
    return at is not None and now >= at


def _tiles(source: DynacastSource) -> Iterator[tuple[int, int]]:
    for name, consumers in source.consumers.items():
        for consumer in consumers:
            settings = consumer.settings_of(name)
            if settings is not None and not settings.stopped:
                yield settings.width, settings.height
