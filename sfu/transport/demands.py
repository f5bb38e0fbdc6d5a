"""The publishers are told what is watched of their pictures: looked at when a wish changed, never otherwise."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sfu.transport.publisher import PublishedTrack

EVERY: Final = 0.2
"""Seconds in which changes are gathered: a page that lays out its tiles says many things at once."""


class Demands:
    """One per edge."""

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled
        self._touched: set[PublishedTrack] = set()
        self._falling: set[PublishedTrack] = set()
        """Those of which less is wanted than was asked for."""
        self._next = float("-inf")

    def touch(self, source: "PublishedTrack") -> None:
        """Somebody's wish of it changed, or its layers did."""
        if self._enabled and len(source.declared) > 1:
            self._touched.add(source)

    def forget(self, source: "PublishedTrack") -> None:
        self._touched.discard(source)
        self._falling.discard(source)

    def tick(self, now: float) -> None:
        if now < self._next or not (self._touched or self._falling):
            return
        self._next = now + EVERY
        touched, self._touched = self._touched, set()
        for source in touched | {source for source in self._falling if _due(source, now)}:
            wanted = source.demand.update(source.declared, _tiles(source), now)
            if source.demand.falls_at is not None:
                self._falling.add(source)
            else:
                self._falling.discard(source)
            if wanted is not None:
                source.ask(wanted)


def _due(source: "PublishedTrack", now: float) -> bool:
    return source.demand.falls_at is not None and now >= source.demand.falls_at


def _tiles(source: "PublishedTrack") -> Iterator[tuple[int, int]]:
    for name, takers in source.takers.items():
        for taker in takers:
            wish = taker.wish_of(name)
            if wish is not None and not wish.stopped:
                yield wish.width, wish.height
