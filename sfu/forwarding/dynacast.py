"""Dynacast: which layers of a track its publisher has to send.

Needed are the largest layer that fills a subscriber's tile and all layers below it, as fallback for worse paths. The lowest
layer continues without subscribers, so that a new one sees a picture at once. The publisher resumes layers at once and
pauses them after 5 s (as LiveKit's dynacast), because people switch pages back and forth. Pure; `now` is monotonic seconds.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from sfu.forwarding.layers import Size, fills

PAUSE_DELAY: Final = 5.0
"""Seconds before layers without subscribers are paused."""
REPEAT: Final = 1.0
"""Seconds after an SDP answer when the request is repeated. Some browsers resume all layers of an answer; by then they
have applied it."""


class Dynacast:
    """Layer demand of one track. RIDs are in the order of `declared`, smallest first."""

    __slots__ = ("_asked", "_floor", "_pause_delay", "falls_at", "repeats_at")

    def __init__(self, *, asked: int | None = None, floor: int = 1, pause_delay: float = PAUSE_DELAY) -> None:
        """`floor`: layers that continue without subscribers."""
        self._floor, self._pause_delay = floor, pause_delay
        self._asked = asked
        """How many layers the publisher was asked for; None: never asked, so it sends all."""
        self.falls_at: float | None = None
        """Time to request fewer layers, if the demand does not rise again until then."""
        self.repeats_at: float | None = None
        """Time to repeat the request after a negotiation."""

    def update(
        self, declared: Mapping[str, Size], tiles: Iterable[tuple[int, int]], now: float
    ) -> tuple[str, ...] | None:
        """The RIDs to request from the publisher; None if nothing changed. `tiles`: sizes of visible tiles (0: no limit)."""
        asked = len(declared) if self._asked is None else self._asked
        wanted = max((_count(declared, width, height) for width, height in tiles), default=self._floor)
        if wanted >= asked:
            self.falls_at = None
        elif self.falls_at is None:
            self.falls_at = now + self._pause_delay
        repeats = self.repeats_at is not None and now >= self.repeats_at
        if repeats:
            self.repeats_at = None
        if wanted == asked or (self.falls_at is not None and now < self.falls_at):
            return tuple(declared)[:asked] if repeats and asked < len(declared) else None
        self._asked, self.falls_at = wanted, None
        return tuple(declared)[:wanted]

    def negotiated(self, now: float) -> None:
        """The publisher is about to receive an SDP answer that contains all layers."""
        if self._asked is not None:
            self.repeats_at = now + REPEAT

    @property
    def next_at(self) -> float | None:
        """When to call `update` again at the latest; None: only after a change."""
        return min((at for at in (self.falls_at, self.repeats_at) if at is not None), default=None)

    def paused_layers(self, declared: Mapping[str, Size]) -> dict[str, Size]:
        """Layers that the publisher was asked to pause, by RID, smallest first."""
        return dict(tuple(declared.items())[self._asked :]) if self._asked is not None else {}


def _count(declared: Mapping[str, Size], width: int, height: int) -> int:
    for number, size in enumerate(declared.values(), 1):
        if fills(size, width, height):
            return number
    return len(declared)
