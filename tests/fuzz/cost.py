"""Looks for the inputs that cost most CPU time: python -m tests.fuzz.cost SECONDS [NAME…]. `make fuzz-cost` runs it.

A mutation search: of each parser it keeps the most expensive inputs that it knows and changes them. What is found lies in
build/fuzz-cost/; an input above the goal is a fault: bound the work, and move the input to tests/fuzz/costly/NAME/.
"""

import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.costs import COSTS, Cost, clock, expected
from tests.support.cost import operations

CORPUS, COSTLY = Path(__file__).with_name("corpus"), Path(__file__).with_name("costly")
BUILD = Path("build/fuzz-cost")
POOL = 24
"""Inputs of a parser that are changed further."""
CONFIRMED = 15
"""Runs of which the quickest counts: a machine under load makes an input slow, and never quick."""
INTERESTING = (0, 1, 2, 3, 0x0F, 0x1F, 0x3F, 0x40, 0x55, 0x7F, 0x80, 0xAA, 0xBF, 0xC0, 0xFE, 0xFF)


@dataclass(frozen=True, slots=True)
class Found:
    name: str
    data: bytes
    microseconds: float
    operations: int
    tried: int

    @property
    def goal(self) -> float:
        return COSTS[self.name].goal

    @property
    def row(self) -> str:
        size = len(self.data)
        each = self.microseconds / max(1, size)
        verdict = "ok" if self.microseconds <= self.goal else f"ABOVE {self.goal:.0f}"
        return f"| {self.name} | {size} | {self.microseconds:.0f} | {each:.2f} | {self.operations} | {self.tried} | {verdict} |"


HEAD = "| parser | bytes | CPU µs | µs per byte | instructions | inputs tried | |\n|---|---|---|---|---|---|---|"


def corpus(name: str) -> Iterator[bytes]:
    for folder in (CORPUS / name, COSTLY / name, BUILD / name):
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                yield path.read_bytes()


def measured(cost: Cost, data: bytes, runs: int = 1) -> float:
    """Microseconds of CPU of this thread: the least of some runs."""
    least = float("inf")
    marks = [0.0, 0.0]
    clock().begin = lambda: marks.__setitem__(0, time.thread_time())
    clock().end = lambda: marks.__setitem__(1, time.thread_time())
    for _ in range(runs):
        call = cost.make()
        marks[:] = (0.0, 0.0)
        with expected():
            began = time.thread_time()
            try:
                call(data)
            finally:
                took = time.thread_time() - began
        if marks[0]:
            took = marks[1] - marks[0]
        least = min(least, took)
    return least * 1e6


def changed(random_: random.Random, data: bytes, other: bytes, longest: int) -> bytes:
    """One or several mutations; repetition is the one that makes parsers slow."""
    out = bytearray(data or b"\0")
    for _ in range(random_.choice((1, 1, 2, 4))):
        kind = random_.randrange(7)
        at = random_.randrange(len(out) + 1)
        if kind == 0:
            for _ in range(random_.choice((1, 1, 3, 16))):
                out[random_.randrange(len(out))] = random_.choice(INTERESTING)
        elif kind == 1:
            out[random_.randrange(len(out))] ^= 1 << random_.randrange(8)
        elif kind == 2:  # a part again and again
            part = out[at : at + random_.choice((1, 2, 4, 8, 12, 20, 40, 100, 400))]
            out[at:at] = part * random_.choice((1, 2, 8, 64, 512))
        elif kind == 3:
            begin = random_.randrange(len(other) + 1)
            out[at:at] = other[begin : begin + random_.choice((4, 16, 64, 1024))]
        elif kind == 4:
            del out[at : at + random_.choice((1, 2, 4, 16, 64))]
        elif kind == 5:
            value = random_.choice((0, 1, 4, len(out), longest, 0xFF, 0xFFFF, 0x1FFF))
            out[at : at + 2] = (value & 0xFFFF).to_bytes(2, "big")
        else:
            out += out[: longest - len(out)] if len(out) < longest else b""
        out = out[:longest] or bytearray(1)
    return bytes(out)


def search(name: str, seconds: float, seed: int = 1) -> Found:
    """The most expensive input that `seconds` of changes find."""
    cost, random_ = COSTS[name], random.Random(seed)
    known = [data[: cost.longest] for each in (name, *cost.seeds) for data in corpus(each)]
    known += [b"\0" * cost.longest, b"\xff" * cost.longest, b"\x80" * cost.longest]
    pool = sorted(((measured(cost, data, 2), data) for data in dict.fromkeys(known)), reverse=True)[:POOL]
    deadline, tried = time.monotonic() + seconds, len(known)
    while time.monotonic() < deadline:
        _, data = pool[min(random_.randrange(len(pool)), random_.randrange(len(pool)))]
        candidate = changed(random_, data, random_.choice(pool)[1], cost.longest)
        tried += 1
        took = measured(cost, candidate)
        if took > pool[-1][0] and all(candidate != data for _, data in pool):
            took = measured(cost, candidate, 3)
            if took > pool[-1][0] or len(pool) < POOL:
                pool = sorted([*pool, (took, candidate)], reverse=True)[:POOL]
    confirmed = sorted(((measured(cost, data, CONFIRMED), data) for _, data in pool[:4]), reverse=True)
    took, data = confirmed[0]
    call = cost.make()
    count = operations(lambda: call(data), raises=Exception)
    folder = BUILD / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "worst.bin").write_bytes(data)
    return Found(name, data, took, count, tried)


def main() -> int:
    seconds, *names = sys.argv[1:] or ["60"]
    names = names or list(COSTS)
    print(HEAD, flush=True)
    above = []
    for name in names:
        found = search(name, float(seconds) / len(names))
        print(found.row, flush=True)
        if found.microseconds > found.goal:
            above.append(name)
    if above:
        print(f"\nAbove the goal: {', '.join(above)}; the inputs are in {BUILD}/.")
    return bool(above)


if __name__ == "__main__":
    sys.exit(main())
