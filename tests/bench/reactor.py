"""One epoll loop for all synthetic clients: sockets, and timers that are met to some microseconds.

Not asyncio: a load of tens of thousands of packets a second has to cost the client less than the server, and a burst that
leaves late would be counted as the server's latency.
"""

import heapq
import select
import time
from collections.abc import Callable
from itertools import count

SPIN = 0.0015
"""Seconds before a timer in which the loop polls instead of sleeping: epoll's own timeout counts milliseconds."""


class Reactor:
    """`run_until` turns the loop; everything happens inside of it, on one thread."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self.lateness: list[float] | None = None
        """Seconds by which timers ran late, recorded while this is a list."""

    def add_reader(self, fd: int, readable: Callable[[], None]) -> None:
        self._readers[fd] = readable
        self._epoll.register(fd, select.EPOLLIN)

    def remove_reader(self, fd: int) -> None:
        if self._readers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def call_at(self, when: float, callback: Callable[[], None]) -> None:
        """`when` in monotonic seconds."""
        heapq.heappush(self._timers, (when, next(self._order), callback))

    def run_until(self, done: Callable[[], bool], timeout: float, what: str) -> None:
        """Raises TimeoutError that names `what` was waited for."""
        deadline = time.monotonic() + timeout
        while not done():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: nothing after {timeout:g} s")
            self._turn(deadline)

    def run_for(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._turn(deadline)

    def _turn(self, deadline: float) -> None:
        timers = self._timers
        due = min(timers[0][0], deadline) if timers else deadline
        wait = max(0.0, due - time.monotonic() - SPIN)
        readers = self._readers
        for fd, _ in self._epoll.poll(wait):
            readable = readers.get(fd)
            if readable is not None:
                readable()
        now = time.monotonic()
        while timers and timers[0][0] <= now:
            when, _, callback = heapq.heappop(timers)
            if self.lateness is not None:
                self.lateness.append(now - when)
            callback()

    def close(self) -> None:
        self._epoll.close()
        self._readers.clear()
        self._timers.clear()
