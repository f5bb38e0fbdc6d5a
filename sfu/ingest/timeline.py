"""Maps the timestamps of an encoder to one media time for sound and picture, and media time to our clock. Pure.

RTMP timestamps are milliseconds modulo 2³², common to sound and picture. They may jump when an encoder restarts a source,
and begin again with each connection. Media time never jumps back: a jump becomes the time that passed at arrival, and both
streams get the same offset, so that lips stay in sync. Encoder clocks drift against ours: the mapping from media time to
our clock, which the sender reports of both streams state, follows slowly. `now` is monotonic seconds.
"""

from collections import deque
from typing import Final, Literal

JUMP: Final = 1.0
"""Seconds that timestamps may advance faster than the packets arrive. More is a jump. A burst after a stalled connection
advances slower than it arrives."""
BACK: Final = 0.5
"""Seconds that timestamps of one stream may go back before they count as a jump."""
OVERLAP: Final = 5.0
"""Seconds after a jump in which messages with old timestamps may still arrive, of the other stream."""
SETTLING: Final = 3.0
"""Seconds after the first message in which the mapping to our clock follows at once: encoders begin with a burst."""
MAX_SLEW: Final = 0.002
"""Seconds per second by which the mapping to our clock changes afterwards. Clocks of computers drift by 0.0001."""
WINDOW: Final = 10
"""Seconds over which the fastest message determines the mapping."""
_WRAP: Final = 1 << 32

StreamName = Literal["audio", "video"]


class Timeline:
    """The timeline of one stream key: survives reconnects of its encoder."""

    def __init__(self) -> None:
        self.jumps = 0
        "Number of jumps of the timestamps."
        self.anchor: float | None = None
        "Monotonic time of media time 0, as the sender reports state it."
        self._offset: float | None = None
        self._previous: tuple[float, float] | None = None  # (offset, until when it is valid)
        self._unwrapped = 0
        self._last: dict[StreamName, tuple[float, float]] = {}  # (media time, arrival)
        self._buckets: deque[tuple[int, float]] = deque()  # (second, least arrival − media time)
        self._began = self._first = self._slewed_at = 0.0

    def restart(self) -> None:
        """Another connection follows: its timestamps have no relation to the earlier ones."""
        self._offset = self._previous = None

    def place(self, stream: StreamName, timestamp: int, now: float) -> float:
        """Media time in seconds of a message. `timestamp`: milliseconds modulo 2³²."""
        self._unwrapped += (timestamp - self._unwrapped + _WRAP // 2) % _WRAP - _WRAP // 2
        at = self._unwrapped / 1000
        media = None if self._offset is None else at + self._offset
        if media is None or not self._plausible(stream, media, now):
            media = self._after_jump(stream, at, now)
        last = self._last.get(stream)
        if last is not None and media <= last[0]:
            media = last[0] + 0.0005
        self._last[stream] = media, now
        self._observe(media, now)
        return media

    def ahead(self, now: float) -> float:
        """Seconds by which media time is ahead of our clock, when an encoder sends faster than real time."""
        if self.anchor is None:
            return 0.0
        newest = max((media for media, _ in self._last.values()), default=0.0)
        # While the mapping follows the encoder at once, it cannot tell how fast the encoder is.
        anchor = self._first if now - self._began < SETTLING else self.anchor
        return newest - (now - anchor)

    def media_time(self, now: float) -> float:
        """Media time at `now`, by the mapping to our clock."""
        return now - self.anchor if self.anchor is not None else 0.0

    def _plausible(self, stream: StreamName, media: float, now: float) -> bool:
        last = self._last.get(stream) or max(self._last.values(), default=None)
        if last is None:
            return True
        step, elapsed = media - last[0], now - last[1]
        return -BACK <= step <= max(elapsed, 0.0) + JUMP

    def _after_jump(self, stream: StreamName, at: float, now: float) -> float:
        if self._previous is not None and now < self._previous[1]:
            media = at + self._previous[0]
            if self._plausible(stream, media, now):
                return media
        media, arrival = max(self._last.values(), default=(0.0, now))
        media += max(0.0, now - arrival)
        if self._offset is not None:
            self.jumps += 1
            self._previous = self._offset, now + OVERLAP
        self._offset = media - at
        return media

    def _observe(self, media: float, now: float) -> None:
        transit, second = now - media, int(now)
        if self._buckets and self._buckets[-1][0] >= second:
            self._buckets[-1] = self._buckets[-1][0], min(self._buckets[-1][1], transit)
        else:
            self._buckets.append((second, transit))
            while self._buckets[0][0] <= second - WINDOW:
                self._buckets.popleft()
        level = min([least for _, least in self._buckets])
        if self.anchor is None:
            self._began, self._first, self.anchor = now, level, level
        elif now - self._began < SETTLING:
            self.anchor = level
        else:
            slew = MAX_SLEW * (now - self._slewed_at)
            self.anchor += max(-slew, min(slew, level - self.anchor))
        self._slewed_at = now
