"""Bounds of CPU time that hold on a slower or busier machine too.

A bound is in seconds of the machine for which it was written. A fixed workload, run before and after the code under test,
says how much slower the machine is at that moment. A test that misses a bound is repeated: other load disturbs one attempt,
but expensive code is expensive in each.

    for attempt in attempts():
        cost = ...
        attempt.spent(cost, 0.002)
"""

import json
import socket
import statistics
import time
from collections.abc import Iterator

TRIES = 3
REFERENCE = 0.0012
"""CPU seconds that the workload takes on the machine for which the bounds were written."""
MESSAGE = {"type": "participant", "tracks": [{"id": f"TR_{number}", "width": number} for number in range(20)]}


def workload() -> float:
    """CPU seconds of a fixed mix of the server's work: bytecode, JSON, allocations and system calls."""
    began = time.thread_time()
    one, other = socket.socketpair()
    with one, other:
        for number in range(20):
            text = json.dumps(MESSAGE).encode()
            json.loads(text)
            one.send(text)
            other.recv(65_536)
            dict.fromkeys(range(500), number)
            bytes(byte ^ 90 for byte in text[:700])
    return time.thread_time() - began


class Attempt:
    """Compares what one run of the code costs with its bounds."""

    def __init__(self) -> None:
        self.judged = 0
        self.missed = ""
        self._reference = [workload() for _ in range(5)]

    def spent(self, seconds: float, most: float, what: object = "") -> None:
        """`seconds` were spent where `most` are allowed. `what` goes into the message of a failure."""
        self._reference += [workload() for _ in range(5)]
        slower = max(1.0, statistics.median(self._reference) / REFERENCE)
        self.judged += 1
        if seconds >= most * slower:
            self.missed += (
                f"{seconds * 1e3:.2f} ms >= {most * 1e3:.2f} ms on a machine {slower:.2f} times slower {what}\n"
            )


def attempts() -> Iterator[Attempt]:
    """Yields up to three attempts, until one stays within all its bounds. The last miss fails the test."""
    missed = ""
    for _ in range(TRIES):
        attempt = Attempt()
        yield attempt
        assert attempt.judged, "nothing was judged"
        if not attempt.missed:
            return
        missed += attempt.missed
    raise AssertionError(missed)
