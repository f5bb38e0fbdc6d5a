"""A network with a virtual clock: links with rate, queue, delay, jitter, reordering and loss, from one seed.

A discrete-event simulation. Minutes of network time take seconds, and a seed always makes the same run. A link is a
drop-tail queue in front of a serial line, then the way: what a datagram's departure costs is computed when it enters, so
one datagram is one event. RFC 8868 and RFC 8867 say what a path under test is made of.
"""

import heapq
import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

FOREVER = float("inf")


class Network:
    """The clock, the events and the chance of one run. Links and nodes are made on top of it."""

    def __init__(self, seed: int = 1, start: float = 0.0) -> None:
        self.now = start
        self.random = random.Random(seed)
        self._events: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, when: float, call: Callable[..., object], *arguments: Any) -> None:
        """Events of one moment happen in the order in which they were asked for."""
        self._count += 1
        heapq.heappush(self._events, (max(when, self.now), self._count, call, arguments))

    def after(self, seconds: float, call: Callable[..., object], *arguments: Any) -> None:
        self.at(self.now + seconds, call, *arguments)

    def every(self, seconds: float, call: Callable[[], None], *, first: float = 0.0, until: float = FOREVER) -> None:
        """Calls now and again, `seconds` apart, from `first` seconds on."""

        def again() -> None:
            if self.now < until:
                call()
                self.after(seconds, again)

        self.after(first, again)

    def run(self, until: float) -> None:
        events = self._events
        while events and events[0][0] <= until:
            self.now, _, call, arguments = heapq.heappop(events)
            call(*arguments)
        self.now = max(self.now, until)


@dataclass(frozen=True, slots=True)
class Burst:
    """Gilbert–Elliott: loss comes in bursts. Chances per datagram of entering and leaving the bad state."""

    enter: float
    leave: float
    lost_bad: float = 1.0
    lost_good: float = 0.0

    @classmethod
    def of(cls, loss: float, length: float) -> "Burst":
        """Mean `loss` (0–1) in bursts of `length` datagrams."""
        leave = 1 / length
        return cls(leave * loss / (1 - loss), leave)


class Link:
    """One direction of a line. Counters: `entered`, `delivered`, `lost` (on the way), `overflowed` (queue full).

    `rate` in bits per second, None for endless, or a table of (from when, rate). `queue` is how long a datagram may have
    to wait, in seconds at the rate of that moment; `queue_bytes` limits it in bytes. `jitter` is the deviation of a
    half-Gaussian on top of `delay`, at most three of it, which keeps the order (RFC 8868 4.1); `reorder` is the share of
    datagrams that come `reorder_by` later and let others pass.
    """

    def __init__(
        self,
        network: Network,
        *,
        rate: float | Sequence[tuple[float, float]] | None = None,
        delay: float = 0.0,
        queue: float = 0.3,
        queue_bytes: int | None = None,
        jitter: float = 0.0,
        reorder: float = 0.0,
        reorder_by: float = 0.02,
        loss: float = 0.0,
        burst: Burst | None = None,
        overhead: int = 0,
    ) -> None:
        self.network = network
        self.delay, self.queue, self.queue_bytes, self.jitter = delay, queue, queue_bytes, jitter
        self.reorder, self.reorder_by = reorder, reorder_by
        self.loss, self.burst, self.overhead = loss, burst, overhead
        self._random = random.Random(network.random.random())
        self._bad = False
        self._idle_at = self._last_arrival = float("-inf")
        self._times: list[float] = []
        self._rates: list[float] = []
        if rate is not None:
            for since, value in [(float("-inf"), rate)] if isinstance(rate, float | int) else rate:
                self._times.append(since)
                self._rates.append(float(value))
            self._times[0] = float("-inf")
        self.entered = self.delivered = self.lost = self.overflowed = 0
        self.entered_bytes = self.delivered_bytes = 0
        self.waits: list[tuple[float, float]] = []
        """(when, seconds in the queue and on the wire) of each datagram that got through the queue."""

    def set_rate(self, rate: float) -> None:
        """From now on; what is in the queue already keeps the departure that it had."""
        del self._times[bisect_right(self._times, self.network.now) :], self._rates[len(self._times) :]
        self._times.append(self.network.now)
        self._rates.append(rate)

    def rate(self, when: float) -> float:
        return self._rates[bisect_right(self._times, when) - 1] if self._rates else FOREVER

    def capacity(self, begin: float, end: float) -> float:
        """Bits that the line can carry between two moments."""
        total = 0.0
        for index, rate in enumerate(self._rates):
            since = max(begin, self._times[index])
            until = min(end, self._times[index + 1] if index + 1 < len(self._times) else FOREVER)
            total += max(0.0, until - since) * rate
        return total

    def send(self, datagram: Any, size: int, sink: Callable[[Any], None]) -> bool:
        """`sink` gets the datagram when it arrives, if it does. False: the queue was full."""
        network, now = self.network, self.network.now
        size += self.overhead
        self.entered += 1
        self.entered_bytes += size
        departure = now
        if self._rates:
            begin = max(now, self._idle_at)
            full = begin - now > self.queue
            if self.queue_bytes is not None and begin > now:
                full = full or self.capacity(now, begin) / 8 + size > self.queue_bytes
            if full:
                self.overflowed += 1
                return False
            departure = self._idle_at = self._departure(begin, size * 8)
            self.waits.append((now, departure - now))
        if self._is_lost():
            self.lost += 1
            return True
        arrival = departure + self.delay
        if self.jitter:
            arrival += min(abs(self._random.gauss(0, self.jitter)), 3 * self.jitter)
        if self.reorder and self._random.random() < self.reorder:
            arrival += self.reorder_by
        else:
            arrival = self._last_arrival = max(arrival, self._last_arrival)
        network.at(arrival, self._deliver, datagram, size, sink)
        return True

    def _deliver(self, datagram: Any, size: int, sink: Callable[[Any], None]) -> None:
        self.delivered += 1
        self.delivered_bytes += size
        sink(datagram)

    def _departure(self, begin: float, bits: float) -> float:
        index = bisect_right(self._times, begin) - 1
        while True:
            rate = self._rates[index]
            until = self._times[index + 1] if index + 1 < len(self._times) else FOREVER
            if rate > 0 and begin + bits / rate <= until:
                return begin + bits / rate
            if until == FOREVER:
                return FOREVER
            bits -= (until - begin) * rate
            begin = until
            index += 1

    def _is_lost(self) -> bool:
        burst = self.burst
        if burst is not None:
            self._bad = self._random.random() >= burst.leave if self._bad else self._random.random() < burst.enter
            chance = burst.lost_bad if self._bad else burst.lost_good
            if chance and (chance >= 1 or self._random.random() < chance):
                return True
        return bool(self.loss) and self._random.random() < self.loss

    def waited(self, begin: float, end: float, share: float = 0.95) -> float:
        """Quantile of the time in the queue, of datagrams that entered between two moments."""
        return quantile([wait for when, wait in self.waits if begin <= when < end], share)


class Node:
    """An end of paths: what is sent to it is kept in `inbox`, or goes to `receive`."""

    def __init__(self, receive: Callable[[bytes], None] | None = None) -> None:
        self.inbox: list[bytes] = []
        self.receive = receive or self.inbox.append


class Path:
    """Links in a row from one node to another: an outlet for datagrams."""

    def __init__(self, links: Sequence[Link], to: Node) -> None:
        self.links, self.to = tuple(links), to

    def send(self, datagram: bytes) -> None:
        self._forward(0, len(datagram), datagram)

    def _forward(self, index: int, size: int, datagram: bytes) -> None:
        if index == len(self.links):
            self.to.receive(datagram)
        else:
            self.links[index].send(datagram, size, lambda arrived: self._forward(index + 1, size, arrived))


def quantile(values: Sequence[float], share: float) -> float:
    """0 when there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def jain(values: Sequence[float]) -> float:
    """Jain's index of fairness: 1 when all have the same, 1/n when one has all."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0
