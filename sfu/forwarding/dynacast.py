"""Which layers of one picture anybody could be shown: what nobody watches need not be encoded or sent (dynacast).

The largest layer that fills somebody's tile, and all below it, which a worse path falls back to. The lowest goes on with
nobody watching: whoever comes sees a picture at once. Wanted more, at once; wanted less, after 5 s (LiveKit's dynacast),
for people turn pages to and fro. Pure; `now` in monotonic seconds.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from sfu.forwarding.selector import Size, fills

PATIENCE: Final = 5.0
REPEAT: Final = 1.0
"""Seconds after an answer when the layers are asked for again: browsers that take an answer as a wish for all of its layers
have applied it by then."""


class Dynacast:
    """Of one track. Rids are in the order of `declared`, smallest first."""

    __slots__ = ("_asked", "falls_at", "repeats_at")

    def __init__(self) -> None:
        self._asked: int | None = None
        """How many layers the publisher was asked for; None: it was never asked, and sends all."""
        self.falls_at: float | None = None
        """When to look again, since fewer are wanted than were asked for."""
        self.repeats_at: float | None = None
        """When to ask again for the same layers, after a negotiation."""

    def update(
        self, declared: Mapping[str, Size], tiles: Iterable[tuple[int, int]], now: float
    ) -> tuple[str, ...] | None:
        """`tiles`: pixels of each tile that somebody looks at (0, 0: no limit). What to ask for; None: nothing new."""
        asked = len(declared) if self._asked is None else self._asked
        wanted = max((_count(declared, width, height) for width, height in tiles), default=1)
        if wanted >= asked:
            self.falls_at = None
        elif self.falls_at is None:
            self.falls_at = now + PATIENCE
        repeats = self.repeats_at is not None and now >= self.repeats_at
        if repeats:
            self.repeats_at = None
        if wanted == asked or (self.falls_at is not None and now < self.falls_at):
            return tuple(declared)[:asked] if repeats and asked < len(declared) else None
        self._asked, self.falls_at = wanted, None
        return tuple(declared)[:wanted]

    def negotiated(self, now: float) -> None:
        """The publisher is about to get an answer that names all layers."""
        if self._asked is not None:
            self.repeats_at = now + REPEAT

    @property
    def next_at(self) -> float | None:
        """When to call `update` again, whatever happens until then."""
        return min((at for at in (self.falls_at, self.repeats_at) if at is not None), default=None)

    def paused_layers(self, declared: Mapping[str, Size]) -> dict[str, Size]:
        """Layers that the publisher was asked to leave out, by rid, smallest first."""
        return dict(tuple(declared.items())[self._asked :]) if self._asked is not None else {}


def _count(declared: Mapping[str, Size], width: int, height: int) -> int:
    for number, size in enumerate(declared.values(), 1):
        if fills(size, width, height):
            return number
    return len(declared)
