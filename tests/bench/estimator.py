"""Cost of bandwidth estimation: `python -m tests.bench.estimator` prints µs per feedback and CPU per subscriber and second.

A subscriber's second is what it is in a call: packets noted in batches as the engine sends them, feedback parsed and
taken in, timers.
"""

import random
import time
from typing import Any

from sfu.bandwidth.estimator import Estimator
from sfu.bandwidth.policy import Policy
from sfu.bandwidth.settings import Settings
from sfu.bandwidth.twcc import Recorder, parse_feedback

SETTINGS = Settings()
Event = tuple[str, tuple[Any, ...]]


def traffic(pps: int, seconds: float, every: float, *, loss: float = 0.0, burst: int = 4) -> list[Event]:
    """Events of one path: ("sent", (number, sizes, now)), ("feedback", (bytes, now)), ("timer", (now,))."""
    chance = random.Random(1)
    recorder = Recorder(1)
    found: list[Event] = []
    number = 0
    feedback_at, timer_at = every, 0.05
    for step in range(int(pps * seconds / burst)):
        now = step * burst / pps
        sizes = [1200] * burst
        found.append(("sent", (number, sizes, now)))
        arrival = now + 0.03 + chance.uniform(0, 0.002)
        for _ in range(burst):
            if chance.random() >= loss:
                recorder.record(number, arrival)
            number = (number + 1) & 0xFFFF
        if now >= feedback_at:
            feedback_at += every
            found += [("feedback", (packet[12:], now + 0.06)) for packet in recorder.feedback(2)]
        while now >= timer_at:
            found.append(("timer", (timer_at,)))
            timer_at += 0.05
    return found


def run(events: list[Event], *, parse: bool = True) -> tuple[float, float, int]:
    """Seconds of CPU for all, and for feedback alone, and how many feedbacks."""
    estimator, policy = Estimator(SETTINGS), Policy(SETTINGS)
    spent, count = 0.0, 0
    parsed = [
        (kind, (parse_feedback(a[0]), a[1])) if kind == "feedback" and not parse else (kind, a) for kind, a in events
    ]
    clock = time.process_time
    begin = clock()
    for kind, arguments in parsed:
        if kind == "sent":
            estimator.sent(*arguments)
        elif kind == "timer":
            estimator.handle_timer(*arguments)
            policy.update(estimator.target, estimator.rtt, estimator.loss, arguments[0])
        else:
            before = time.perf_counter()
            data, now = arguments
            estimator.receive_feedback(parse_feedback(data) if parse else data, now)
            spent += time.perf_counter() - before
            count += 1
    return clock() - begin, spent, count


def main() -> None:
    print(f"{'feedback of':<44} {'µs':>8} {'and parsed':>11}")
    for count, burst, loss in ((5, 1, 0.0), (10, 2, 0.0), (100, 4, 0.0), (100, 10, 0.0), (100, 1, 0.0), (100, 4, 0.02)):
        events = traffic(count * 10, 20, 0.1, loss=loss, burst=burst)
        alone = min(run(events, parse=False)[1] / run(events, parse=False)[2] for _ in range(5))
        whole = min(run(events)[1] / run(events)[2] for _ in range(5))
        name = f"{count} packets, {burst} at once, {loss:.0%} lost"
        print(f"{name:<44} {alone * 1e6:8.1f} {whole * 1e6:11.1f}")
    print(f"\n{'a subscriber, timers and policy included':<44} {'ms CPU/s':>8}")
    for name, pps, every in (("audio only, 50 pps", 50, 0.25), ("500 kbit/s", 100, 0.1), ("2 Mbit/s", 250, 0.1),
                             ("4 Mbit/s", 450, 0.05), ("10 Mbit/s", 1000, 0.05)):  # fmt: skip
        events = traffic(pps, 20, every, burst=2)
        cost = min(run(events)[0] for _ in range(5)) / 20
        print(f"{name:<44} {cost * 1e3:8.2f}")


if __name__ == "__main__":
    main()
