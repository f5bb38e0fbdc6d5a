"""Finding out whether more would get through: a fifth of a second of a higher rate, filled up with padding.

A forwarded stream comes in steps, so the estimate cannot grow on its own to where the next layer fits. Probes are sent
only when there is something to gain. Every 3 s, × 1.5 after each that met congestion up to 2 min, 200 ms long, for what
is used plus the larger of 120 % of the next step and 200 kbit/s (LiveKit pkg/sfu); but a path that has just become worse
is asked more often, for it may become better as soon. At the start 3 and 6 times the first
guess, and on while each finds what it looked for (libwebrtc's ProbeController). What the padding is made of is the
caller's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LENGTH: Final = 0.2
INTERVAL: Final = 3.0
BACKOFF: Final = 1.5
INTERVAL_LIMIT: Final = 120.0
SOON: Final = 5.0
PATIENCE: Final = 1 / 8
"""No longer between probes than 5 s and this share of the time since the path was seen to become worse."""
SETTLE: Final = (0.25, 5.0)
"""Five round trips within these seconds lie between the end of a probe and its result."""
FOUND: Final = 0.9
"""A probe that shows this share of what it sent has found what it looked for."""
STARTS: Final = (3.0, 6.0)
FURTHER: Final = 2.0
LARGEST_LEAP: Final = 3.0
CAREFUL_LEAP: Final = 2.0
"""Times the target, before and after anything was too much: more could only show that it is too much."""
ENOUGH_PACKETS: Final = 5
ENOUGH_TIME: Final = 0.04
CAREFUL: Final = 0.85
"""What is left of the rate that arrived while the queue grew, for the queue to drain."""
STEP_SHARE: Final = 1.2
LEAST_GAIN: Final = 200_000.0


def rate_to_probe(used: float, step: float) -> float:
    """What a probe has to show before a step of so many bits per second is dared."""
    return used + max(STEP_SHARE * step, LEAST_GAIN)


@dataclass(slots=True)
class ProbeCluster:
    """One probe under way: what is sent from `begin` to `end`, and how it arrives."""

    rate: float
    begin: float
    sent_before: int
    "Bytes sent on the path when it began."
    count: int = 0
    size: int = 0
    first_send: float = 0.0
    last_send: float = 0.0
    first_size: int = 0
    last_size: int = 0
    first_tick: int = 0
    last_tick: int = 0
    first_arrived: int = 0
    "Bytes of what arrived in the first moment."
    end: float = 0.0
    congested: bool = False
    "It was too much, and so was cut short."

    def __post_init__(self) -> None:
        self.end = self.begin + LENGTH

    def padding(self, sent: int, now: float, ahead: float) -> int:
        """Bytes to fill up with now, when `sent` went out on the path so far; `ahead`: until this is asked again."""
        if not self.begin <= now < self.end:
            return 0
        due = self.rate / 8 * min(now + ahead - self.begin, LENGTH)
        return max(0, int(due) - (sent - self.sent_before))

    def add(self, times: Sequence[float], sizes: Sequence[int], ticks: Sequence[int | None]) -> None:
        """What a feedback tells; packets sent before the probe or after it do not count."""
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
        """Bits per second that the path is known to carry; None: too little arrived to say."""
        sent_for = self.last_send - self.first_send
        arrived_for = (self.last_tick - self.first_tick) / 4000
        if self.count < ENOUGH_PACKETS or sent_for < ENOUGH_TIME or arrived_for <= 0:
            return None
        sent = (self.size - self.last_size) * 8 / sent_for
        arrived = (self.size - self.first_arrived) * 8 / arrived_for
        if arrived > 2 * sent:
            return None
        if self.congested:
            return CAREFUL * arrived
        if arrived < FOUND * sent:
            return 0.95 * arrived  # the path is full at this rate: a little less than that
        return min(sent, arrived)


class Prober:
    """Says when, and for how much. `now` in seconds, rates in bits per second."""

    __slots__ = ("_chain", "_next", "_starts", "_worse", "failed", "interval", "probe_cluster", "sent")

    def __init__(self) -> None:
        self.probe_cluster: ProbeCluster | None = None
        """Under way, or waiting for its result."""
        self.interval = INTERVAL
        self.sent = self.failed = 0
        self._starts = list(STARTS)
        self._next = float("-inf")
        self._worse = float("-inf")
        self._chain = 0.0
        """What the last probe found, when it found all that it looked for."""

    def handle_timer(
        self, now: float, *, target: float, desired_rate: float, ceiling: float, sent: int, start: float
    ) -> ProbeCluster | None:
        """Returns a cluster when one is due.

        `desired_rate`: see `rate_to_probe`, 0 when there is nothing to gain. `ceiling`: the highest useful rate.

        `sent`: bytes sent on the path so far; `start`: the first guess.
        """
        if self.probe_cluster is not None or desired_rate <= target or now < self._next:
            return None
        rate = desired_rate
        if self._starts:
            rate = self._starts.pop(0) * start
        elif self._chain and not self.failed:
            rate = FURTHER * self._chain  # nothing was ever too much yet
        rate = min(
            rate,
            max(ceiling, desired_rate),
            max(LARGEST_LEAP * (target if self.failed else max(target, start)), target + LEAST_GAIN),
        )
        self.probe_cluster = ProbeCluster(rate, now, sent)
        self.sent += 1
        return self.probe_cluster

    def take_result(self, now: float, rtt: float) -> ProbeCluster | None:
        """The cluster, once what arrived of it is known."""
        probe_cluster = self.probe_cluster
        if probe_cluster is None or now < probe_cluster.end + min(max(5 * rtt, SETTLE[0]), SETTLE[1]):
            return None
        self.probe_cluster = None
        result = probe_cluster.result() or 0.0
        if result >= FOUND * probe_cluster.rate and not probe_cluster.congested:
            self._chain = result
            self.interval = INTERVAL
            self._next = now
        else:
            self._postpone(now)
        return probe_cluster

    def congested(self, now: float) -> None:
        """The delay or the loss rose during the probe: it ends, but what it has shown by then counts."""
        probe_cluster = self.probe_cluster
        if probe_cluster is not None:
            probe_cluster.end = min(probe_cluster.end, now)
            probe_cluster.congested = True

    def on_rate_drop(self, now: float) -> None:
        """The path carries much less than it did."""
        self._worse = now
        self._starts.clear()
        self.interval = INTERVAL
        self._next = max(self._next, now + INTERVAL)

    def _postpone(self, now: float) -> None:
        self.failed += 1
        self._chain = 0.0
        self._starts.clear()
        limit = min(INTERVAL_LIMIT, SOON + (now - self._worse) * PATIENCE)
        self._next = now + min(self.interval, limit)
        self.interval = min(self.interval * BACKOFF, INTERVAL_LIMIT)
