"""Repairs steps in the RTP timestamps of one stream, so that media time advances evenly with arrivals.

A sender that stops capturing for a while (a muted track, a sleeping laptop) may continue with the next timestamp. Its
media clock stood still, and every later packet seems late by the duration of the pause. Other senders jump forward or
back. The frames after such a step are held for `HOLD` seconds. If all of them keep the offset, the step belongs to the
sender's clock, and their timestamps are shifted by it. If the offset shrinks, the network delayed them, and they pass
unchanged. Consumers see a pause without packets, as with DTX.

Sender reports are shifted likewise. A report may still describe the clock before the step, because the server
extrapolates the sender's last report. Of the recent shifts, the one that preserves the mapping to wall-clock time
applies.

Pure: arrivals and `now` are monotonic seconds. RFC 3550 5.1 (timestamps), 6.4.1 (sender reports).
"""

from collections import deque
from typing import Final

from sfu.rtp.frames import CodedFrame
from sfu.rtp.sender_clock import NTP_UNITS, unwrap

STEP: Final = 0.08
"""Sudden offset in seconds that triggers an examination. The playout delay absorbs smaller offsets."""
HOLD: Final = 0.06
"""Seconds to hold the frames after a step. Packets that the network delayed arrive in a burst."""
HOLD_LIMIT: Final = 0.12
"""Seconds after which the held frames decide, regardless of their number."""
_FRAMES: Final = 3
"""Number of frames that may decide before `HOLD_LIMIT`."""
_HELD_LIMIT: Final = 64
_KEPT: Final = 0.7
"""Fraction of the step that every held frame must show."""
_SETTLING: Final = 2.0
"""Seconds after the first frame during which a faster transit is no step: the path is still being set up."""
_WINDOW: Final = 10
"""Seconds over which the fastest packet is tracked, in buckets of one second."""
_STALE_REPORTS: Final = 15.0
"""Seconds after a step during which reports may describe the old clock. Browsers report audio every 5 s."""
_SHIFTS_KEPT: Final = 8


class TimestampRepair:
    """Timestamp repair for one received stream. Input and output timestamps are unwrapped."""

    def __init__(self, rate: int) -> None:
        """`rate`: RTP clock rate in Hz."""
        self.steps = 0
        "Number of repaired steps."
        self._rate = rate
        self._shift = 0
        self._old: deque[tuple[int, float]] = deque(maxlen=_SHIFTS_KEPT)  # (shift, when it was replaced)
        self._buckets: deque[tuple[int, float]] = deque()
        self._level = 0.0  # transit of the fastest recent frame, shifted
        self._last = 0.0  # transit of the last frame
        self._newest: int | None = None  # unshifted timestamp of the last frame
        self._first_arrival = 0.0
        self._held: list[CodedFrame] = []
        self._wall: float | None = None  # sender's wall clock − shifted media time, from its last report

    def receive(self, frame: CodedFrame) -> list[CodedFrame]:
        """Returns the frames that are ready, in order of arrival."""
        transit = self._transit(frame)
        if self._newest is None:
            self._first_arrival, self._level, self._last = frame.arrival, transit, transit
        self._newest = frame.timestamp
        if self._held:
            self._held.append(frame)
            return self._decide(frame.arrival)
        if self._is_step(transit, frame.arrival):
            self._held.append(frame)
            return []
        return [self._release(frame)]

    def handle_timer(self, now: float) -> list[CodedFrame]:
        """Call about ten times a second: decides when no more frames arrive."""
        return self._decide(now) if self._held else []

    def report(self, ntp: int, rtp_timestamp: int, now: float) -> int:
        """Returns the 32-bit RTP timestamp of a sender report on the repaired clock. `ntp`: 64 bits."""
        if self._newest is None:
            return rtp_timestamp
        unwrapped = unwrap(rtp_timestamp, self._newest)
        shifts = [self._shift, *(shift for shift, until in self._old if now - until < _STALE_REPORTS)]
        seconds = ntp / NTP_UNITS
        walls = [seconds - (unwrapped + shift) / self._rate for shift in shifts]
        known = self._wall
        chosen = 0 if known is None else min(range(len(walls)), key=lambda index: abs(walls[index] - known))
        self._wall = walls[chosen]
        return (rtp_timestamp + shifts[chosen]) & 0xFFFF_FFFF

    def _transit(self, frame: CodedFrame) -> float:
        return frame.arrival - (frame.timestamp + self._shift) / self._rate

    def _is_step(self, transit: float, arrival: float) -> bool:
        off, change = transit - self._level, transit - self._last
        if off < 0:
            return off <= -STEP and change <= -STEP and arrival - self._first_arrival > _SETTLING
        return off >= STEP and change >= STEP

    def _decide(self, now: float) -> list[CodedFrame]:
        offs = [self._transit(frame) - self._level for frame in self._held]
        first = offs[0]
        if min(off / first for off in offs) >= _KEPT:
            waited = now - self._held[0].arrival
            if waited < HOLD_LIMIT and (waited < HOLD or len(offs) < _FRAMES) and len(offs) < _HELD_LIMIT:
                return []
            self._old.append((self._shift, now))
            self._shift += round(min(offs) * self._rate)  # the frame with the smallest offset, in either direction
            self.steps += 1
        held, self._held = self._held, []
        return [self._release(frame) for frame in held]

    def _release(self, frame: CodedFrame) -> CodedFrame:
        transit = self._transit(frame)
        self._last = transit
        second, buckets = int(frame.arrival), self._buckets
        if buckets and buckets[-1][0] >= second:
            buckets[-1] = (buckets[-1][0], min(buckets[-1][1], transit))
        else:
            buckets.append((second, transit))
            while buckets[0][0] <= second - _WINDOW:
                buckets.popleft()
        self._level = min([lowest for _, lowest in buckets])
        return frame._replace(timestamp=frame.timestamp + self._shift) if self._shift else frame
