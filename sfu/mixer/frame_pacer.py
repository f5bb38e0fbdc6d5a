"""Video jitter buffer of one source: delays pictures just enough that jitter drops almost none of them.

Showing the newest picture at every tick drops one in eight at 25 ms of jitter, because two arrive within one tick and
none in the next. Here the delay from capture to due time is the 99th percentile of the recent lateness, and each tick
takes one picture. Depending on the phase of the tick, this adds half a tick on average. Pure; times in seconds.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_WINDOW: Final = 256
"""Recent pictures from whose lateness the delay is computed."""
_SLOWEST: Final = 0.01
"""Fraction of them that may be too late."""
_EVERY: Final = 8
"""Pictures between two updates of the delay."""
_EARLY: Final = 0.0015
"""A picture due this shortly after a tick is shown in it; otherwise the jitter of the tick would decide."""
BEHIND: Final = 0.002
"""A picture due this long before a tick while an older one is still waiting means one frame of excess delay."""
_CATCH_UP: Final = 3
"""Ticks in a row with such an excess frame before it is dropped. A second excess frame is dropped at once."""
_DELAY_LIMIT: Final = 0.2
"""Maximum delay relative to the fastest picture. Later pictures count as lost."""
_RESTART: Final = 3.0
"""A timestamp that deviates by more seconds than this belongs to a new clock."""
_STEADY: Final = 6
"""After this many pictures in a row beyond `_DELAY_LIMIT`, the capture or the path has changed: forget older ones."""
_HELD: Final = 16
"""Pictures buffered at most."""
LEAD: Final = 0.015
"""Seconds that a picture may precede its sound. Centres the rounding error of the tick on the sound."""


class FramePacer(Generic[T]):
    """One thread calls `push`; another calls `take` at every tick."""

    __slots__ = (
        "_behind", "_count", "_held", "_lateness", "_shift", "_slow", "dropped", "due_of_sound", "shown", "taken",
    )  # fmt: skip

    def __init__(self) -> None:
        self.shown = 0
        self.dropped = 0
        "Pictures decoded but not shown."
        self.due_of_sound: Callable[[float], float | None] | None = None
        "Maps a media time to the playout time of its sound. Pictures wait until `LEAD` before it."
        self._held: deque[tuple[float, T]] = deque()
        self._lateness: deque[float] = deque(maxlen=_WINDOW)
        self._shift = 0.0
        self._count = 0
        self._slow = 0
        self._behind = 0
        self.taken: float | None = None
        "Media time of the current picture."

    def push(self, media: float, ready: float, picture: T) -> None:
        """`media`: capture time on the sender's clock; `ready`: monotonic time at which it was decoded."""
        lateness = ready - media
        if self._lateness and abs(lateness - self._shift) > _RESTART:
            self._lateness.clear()
            self._held.clear()
        self._lateness.append(lateness)
        fastest = min(self._lateness)
        self._slow = self._slow + 1 if lateness > fastest + _DELAY_LIMIT else 0
        if self._slow >= _STEADY:
            recent = list(self._lateness)[-_STEADY:]
            self._lateness.clear()
            self._lateness.extend(recent)
            self._slow = 0
        self._count += 1
        if len(self._lateness) < _WINDOW // 8 or self._count % _EVERY == 0:
            order = sorted(self._lateness)
            slow = order[len(order) - 1 - int(len(order) * _SLOWEST)]
            self._shift = min(slow, order[0] + _DELAY_LIMIT)
        while len(self._held) >= _HELD:
            self._held.popleft()
            self.dropped += 1
        self._held.append((media, picture))

    def take(self, now: float) -> T | None:
        """The picture for this tick; None: keep the previous one."""
        taken: T | None = None
        found = False
        while self._held:
            due = self._due(self._held[0][0])
            if found:
                # A second picture is due in this tick.
                if due > now - BEHIND:
                    self._behind = 0
                    break
                self._behind += 1
                second = len(self._held) > 1 and self._due(self._held[1][0]) <= now - BEHIND
                if self._behind < _CATCH_UP and not second:
                    break
                self._behind = 0
                self.dropped += 1
            elif due > now + _EARLY:
                break
            self.taken, taken = self._held.popleft()
            found = True
        if found:
            self.shown += 1
            if not self._held:
                self._behind = 0
        return taken

    def waited(self, now: float) -> float | None:
        """Seconds since the current picture was due; None: there is none. `FrameClock` minimizes it when locked."""
        return None if self.taken is None else now - self._due(self.taken)

    @property
    def delay(self) -> float:
        """Seconds behind the fastest picture."""
        return self._shift - min(self._lateness, default=self._shift)

    def _due(self, media: float) -> float:
        due = media + self._shift
        if self.due_of_sound is not None:
            sound = self.due_of_sound(media)
            if sound is not None:
                # Pictures must not lag behind their sound: one delayed picture must not delay all that follow.
                due = max(min(due, sound), min(sound - LEAD, due + _DELAY_LIMIT))
        return due
