"""The publishers are told what is watched of their pictures: looked at when a wish changed, never otherwise."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sfu.transport.publisher import PublishedTrack

EVERY: Final = 0.2
"""Seconds in which changes are gathered: a page that lays out its tiles says many things at once."""


class DynacastManager:
    """One per edge."""

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled
        self._touched: set[PublishedTrack] = set()
        self._due: set[PublishedTrack] = set()
        """Those whose demand has to be looked at again at a certain time."""
        self._next = float("-inf")

    def touch(self, source: "PublishedTrack") -> None:
        """Somebody's wish of it changed, or its layers did."""
        if self._enabled and len(source.declared) > 1:
            self._touched.add(source)

    def forget(self, source: "PublishedTrack") -> None:
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
                source.notify_publisher(wanted)


def _is_due(source: "PublishedTrack", now: float) -> bool:
    at = source.dynacast.next_at
    return at is not None and now >= at


def _tiles(source: "PublishedTrack") -> Iterator[tuple[int, int]]:
    for name, consumers in source.consumers.items():
        for consumer in consumers:
            settings = consumer.settings_of(name)
            if settings is not None and not settings.stopped:
                yield settings.width, settings.height
