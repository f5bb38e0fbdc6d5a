"""Bandwidth probing: sends 200 ms at a higher rate, filled with padding, to find unused capacity.

A forwarded stream grows in steps, so the estimate alone cannot grow to the rate of the next layer. Probes run only if
they can lead to a gain: every 3 s, × 1.5 after each probe that met congestion, up to 2 min. They aim for the used rate
plus the larger of 120 % of the next step and 200 kbit/s (LiveKit pkg/sfu). A path that became worse recently is probed
more often, because it may recover soon. At the start, probes use 3 and 6 times the start rate and continue while they
succeed (libwebrtc's ProbeController). The caller provides the padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

PROBE_DURATION: Final = 0.2
PROBE_INTERVAL: Final = 3.0
BACKOFF: Final = 1.5
INTERVAL_LIMIT: Final = 120.0
RECENT_DROP_INTERVAL: Final = 5.0
RECENT_DROP_GROWTH: Final = 1 / 8
"""Upper limit of the probe interval: 5 s plus this fraction of the time since the last rate drop."""
RESULT_DELAY: Final = (0.25, 5.0)
"""The result of a probe is read five round-trip times after its end, within these limits in seconds."""
SUCCESS_RATIO: Final = 0.9
"""A probe succeeds if its result reaches this fraction of its rate."""
START_FACTORS: Final = (3.0, 6.0)
CONTINUE_FACTOR: Final = 2.0
MAX_FACTOR: Final = 3.0
"""Maximum probe rate, as a multiple of the target (before the first failure: at least of the start rate)."""
MIN_PACKETS: Final = 5
MIN_TIME: Final = 0.04
CONGESTED_RATIO: Final = 0.85
"""Fraction of the arrival rate under congestion that is usable; the rest drains the queue."""
STEP_FACTOR: Final = 1.2
MIN_GAIN: Final = 200_000.0


def rate_to_probe(used: float, step: float) -> float:
    """Rate that a probe must confirm before the used rate may grow by `step` bits per second."""
    return used + max(STEP_FACTOR * step, MIN_GAIN)


@dataclass(slots=True)
class ProbeCluster:
    """One running probe: sent from `begin` to `end`, with its acknowledged packets."""

    rate: float
    begin: float
    sent_before: int
    "Bytes sent on the path before the probe."
    count: int = 0
    size: int = 0
    first_send: float = 0.0
    last_send: float = 0.0
    first_size: int = 0
    last_size: int = 0
    first_tick: int = 0
    last_tick: int = 0
    first_arrived: int = 0
    "Bytes that arrived at the first arrival time."
    end: float = 0.0
    congested: bool = False
    "The probe met congestion and ended early."

    def __post_init__(self) -> None:
        self.end = self.begin + PROBE_DURATION

    def padding(self, sent: int, now: float, ahead: float) -> int:
        """Bytes of padding to send now. `sent`: bytes sent on the path so far; `ahead`: seconds until the next call."""
        if not self.begin <= now < self.end:
            return 0
        due = self.rate / 8 * min(now + ahead - self.begin, PROBE_DURATION)
        return max(0, int(due) - (sent - self.sent_before))

    def add(self, times: Sequence[float], sizes: Sequence[int], ticks: Sequence[int | None]) -> None:
        """Adds one feedback. Packets sent before or after the probe are ignored."""
        begin, end = self.begin, self.end
        for send, size, tick in zip(times, sizes, ticks, strict=False):
            if tick is None or not size or not begin <= send < end:
                continue
            if not self.count:
                self.first_send = self.last_send = send
                self.first_tick = self.last_tick = tick
            self.count += 1
            self.size += size
            if send == self.first_send:
                self.first_size += size
            if send > self.last_send:
                self.last_send, self.last_size = send, 0
            if send == self.last_send:
                self.last_size += size
            if tick == self.first_tick:
                self.first_arrived += size
            self.first_tick = min(self.first_tick, tick)
            self.last_tick = max(self.last_tick, tick)

    def result(self) -> float | None:
        """Capacity in bits per second that the probe confirmed. None: too few packets arrived."""
        sent_for = self.last_send - self.first_send
        arrived_for = (self.last_tick - self.first_tick) / 4000
        if self.count < MIN_PACKETS or sent_for < MIN_TIME or arrived_for <= 0:
            return None
        sent = (self.size - self.last_size) * 8 / sent_for
        arrived = (self.size - self.first_arrived) * 8 / arrived_for
        if arrived > 2 * sent:
            return None
        if self.congested:
            return CONGESTED_RATIO * arrived
        if arrived < SUCCESS_RATIO * sent:
            return 0.95 * arrived  # the path is saturated at this rate, so stay slightly below
        return min(sent, arrived)


class Prober:
    """Schedules probes. `now` in seconds, rates in bits per second."""

    __slots__ = ("_dropped_at", "_last_success", "_next", "_starts", "failed", "interval", "probe_cluster", "sent")

    def __init__(self) -> None:
        self.probe_cluster: ProbeCluster | None = None
        """The probe that is running or waiting for its result."""
        self.interval = PROBE_INTERVAL
        self.sent = self.failed = 0
        self._starts = list(START_FACTORS)
        self._next = float("-inf")
        self._dropped_at = float("-inf")
        self._last_success = 0.0
        """Result of the last probe if it succeeded, else 0."""

    def handle_timer(
        self, now: float, *, target: float, desired_rate: float, ceiling: float, sent: int, start: float
    ) -> ProbeCluster | None:
        """Returns a new probe when one is due.

        `desired_rate`: see `rate_to_probe`; 0 if there is nothing to gain. `ceiling`: highest useful rate. `sent`:
        bytes sent on the path so far. `start`: initial rate.
        """
        if self.probe_cluster is not None or desired_rate <= target or now < self._next:
            return None
        rate = desired_rate
        if self._starts:
            rate = self._starts.pop(0) * start
        elif self._last_success and not self.failed:
            rate = CONTINUE_FACTOR * self._last_success  # no probe has failed yet
        rate = min(
            rate,
            max(ceiling, desired_rate),
            max(MAX_FACTOR * (target if self.failed else max(target, start)), target + MIN_GAIN),
        )
        self.probe_cluster = ProbeCluster(rate, now, sent)
        self.sent += 1
        return self.probe_cluster

    def take_result(self, now: float, rtt: float) -> ProbeCluster | None:
        """Returns the probe when its result is complete."""
        probe_cluster = self.probe_cluster
        if probe_cluster is None or now < probe_cluster.end + min(max(5 * rtt, RESULT_DELAY[0]), RESULT_DELAY[1]):
            return None
        self.probe_cluster = None
        result = probe_cluster.result() or 0.0
        if result >= SUCCESS_RATIO * probe_cluster.rate and not probe_cluster.congested:
            self._last_success = result
            self.interval = PROBE_INTERVAL
            self._next = now
        else:
            self._postpone(now)
        return probe_cluster

    def congested(self, now: float) -> None:
        """Ends the probe because delay or loss rose. Its result so far remains valid."""
        probe_cluster = self.probe_cluster
        if probe_cluster is not None:
            probe_cluster.end = min(probe_cluster.end, now)
            probe_cluster.congested = True

    def on_rate_drop(self, now: float) -> None:
        """The capacity dropped significantly."""
        self._dropped_at = now
        self._starts.clear()
        self.interval = PROBE_INTERVAL
        self._next = max(self._next, now + PROBE_INTERVAL)

    def _postpone(self, now: float) -> None:
        self.failed += 1
        self._last_success = 0.0
        self._starts.clear()
        limit = min(INTERVAL_LIMIT, RECENT_DROP_INTERVAL + (now - self._dropped_at) * RECENT_DROP_GROWTH)
        self._next = now + min(self.interval, limit)
        self.interval = min(self.interval * BACKOFF, INTERVAL_LIMIT)
