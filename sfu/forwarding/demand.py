"""Which layers of one picture anybody could be shown: what nobody watches need not be encoded or sent (dynacast).

The largest layer that fills somebody's tile, and all below it, which a worse path falls back to. The lowest goes on with
nobody watching: whoever comes sees a picture at once. Wanted more, at once; wanted less, after 5 s (LiveKit's dynacast),
for people turn pages to and fro. Pure; `now` in monotonic seconds.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from sfu.forwarding.selector import Size, fills

PATIENCE: Final = 5.0


class LayerDemand:
    """Of one track. Rids are in the order of `declared`, smallest first."""

    __slots__ = ("_asked", "falls_at")

    def __init__(self) -> None:
        self._asked: int | None = None
        """How many layers the publisher was asked for; None: it was never asked, and sends all."""
        self.falls_at: float | None = None
        """When to look again, since fewer are wanted than were asked for."""

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
        if wanted == asked or (self.falls_at is not None and now < self.falls_at):
            return None
        self._asked, self.falls_at = wanted, None
        return tuple(declared)[:wanted]

    def resting(self, declared: Mapping[str, Size]) -> tuple[Size, ...]:
        """Layers that the publisher was asked to leave out, smallest first."""
        return tuple(declared.values())[self._asked :] if self._asked is not None else ()


def _count(declared: Mapping[str, Size], width: int, height: int) -> int:
    for number, size in enumerate(declared.values(), 1):
        if fills(size, width, height):
            return number
    return len(declared)
