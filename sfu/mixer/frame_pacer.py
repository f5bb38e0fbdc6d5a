"""When each picture of a source is shown: late enough that jitter loses next to none, and no later.

Showing the newest picture at every tick loses one in eight at 25 ms of jitter, because two come within one tick and none
in the next. Here each is due as much after its capture as all but the slowest hundredth of the last ones took to be
decoded, and one is taken per tick. The tick's phase decides what that costs: half a tick on average. Pure; seconds.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_WINDOW: Final = 256
"""Pictures over which lateness is judged."""
_SLOWEST: Final = 0.01
"""Share of them that may be too late."""
_EVERY: Final = 8
_EARLY: Final = 0.0015
"""A picture due so shortly after a tick is shown in it: otherwise a tick's own jitter would decide."""
_BEHIND: Final = 0.002
"""One that was due so long before a tick, with another one before it still to be shown, means a frame too much delay."""
_CATCH_UP: Final = 3
"""Ticks of that in a row before one is left out; two pictures too many are never kept."""
_DELAY_LIMIT: Final = 0.2
"""Behind the fastest; lateness beyond it is loss."""
_RESTART: Final = 3.0
"""Seconds by which a timestamp must miss its place to be another clock's."""
_STEADY: Final = 6
"""Pictures in a row that come later than `_DELAY_LIMIT`: their capture or their path changed, older ones do not count."""
_HELD: Final = 16
LEAD: Final = 0.015
"""Seconds by which pictures may come before their sound, so that the tick's rounding centres them on it."""


class FramePacer(Generic[T]):
    """One thread pushes, another takes; `take` is called at every tick."""

    __slots__ = (
        "_behind", "_count", "_held", "_lateness", "_shift", "_slow", "dropped", "due_of_sound", "shown", "taken",
    )  # fmt: skip

    def __init__(self) -> None:
        self.shown = 0
        self.dropped = 0
        "Decoded in vain."
        self.due_of_sound: Callable[[float], float | None] | None = None
        "When the sound that was captured at a media time is heard: pictures wait for it, but for `LEAD`."
        self._held: deque[tuple[float, T]] = deque()
        self._lateness: deque[float] = deque(maxlen=_WINDOW)
        self._shift = 0.0
        self._count = 0
        self._slow = 0
        self._behind = 0
        self.taken: float | None = None
        "Media time of the picture that is shown."

    def push(self, media: float, ready: float, picture: T) -> None:
        """`media`: capture time on the sender's clock; `ready`: when it was decoded, on ours."""
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
        """The picture of this tick; None: the one before stays."""
        taken: T | None = None
        found = False
        while self._held:
            due = self._due(self._held[0][0])
            if found:
                # One more than this tick has use for.
                if due > now - _BEHIND:
                    self._behind = 0
                    break
                self._behind += 1
                second = len(self._held) > 1 and self._due(self._held[1][0]) <= now - _BEHIND
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
        """How long ago the picture was due that was taken last: what a locked tick reduces. None: none was taken."""
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
                # Later than its sound none is meant to be: what a hiccup delays must not be the rule for those after it.
                due = max(min(due, sound), min(sound - LEAD, due + _DELAY_LIMIT))
        return due
