"""CPU per forwarded packet with one process and with two workers under the same load, and CPU per signalling message that a
landing worker passes on.

    python -m tests.bench.workers [--seconds S] [--rounds N]

All server processes share one core, and the clients have the other one: this shows the cost of a packet, not the highest rate.
"""

import argparse
import asyncio
import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from sfu.transport.dtls import Identity
from tests.bench.load import measure
from tests.bench.reactor import Reactor
from tests.bench.report import Outcome, Shape
from tests.bench.servers import CLIENT_CORE, Aiosfu, Process, awake
from tests.cluster.running import workers

SHAPE = Shape("8 rooms, 1 → 10", 8, 1, 10, 150, 8)
MESSAGES = 2_000
LIMITS = {"signaling.message_rate": 100_000, "signaling.message_burst": 100_000}


@dataclass
class Workers:
    """A parent with its workers, as a Process of `measure`."""

    parent: Process

    def _children(self) -> list[int]:
        return [
            int(pid) for pid in Path(f"/proc/{self.parent.pid}/task/{self.parent.pid}/children").read_text().split()
        ]

    def cpu_by_worker(self) -> Mapping[int, float]:
        return {pid: time.clock_gettime(~pid << 3 | 2) for pid in self._children()}

    def cpu(self) -> float:
        return sum(self.cpu_by_worker().values()) + self.parent.cpu()

    def memory(self) -> int:
        page = os.sysconf("SC_PAGESIZE")
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page for pid in self._children())

    def stop(self) -> None:
        self.parent.stop()


class TwoWorkers(Aiosfu):
    def __init__(self, reactor: Reactor, identity: Identity) -> None:
        super().__init__(reactor, identity, ("--workers", "2"))
        self.process = Workers(self.process)  # type: ignore[assignment]  # has the methods that `measure` calls
        time.sleep(1.0)  # until the second worker listens, too


async def spliced() -> tuple[float, float]:
    """Microseconds of CPU per request and response: when the client has landed on the home, and in addition otherwise."""
    with TemporaryDirectory() as folder:
        async with workers(Path(folder) / "log", **LIMITS) as server:
            ada = await server.join("call", "ada")
            homes = await server.homes()
            home = next(int(name.rpartition("-")[2]) for name, rooms in homes.items() if rooms)
            found = {}
            for name, number in (("direct", home), ("spliced", 3 - home)):
                sender = await server.join_by(number, "call", name)
                pids = [server.pid(1), server.pid(2)]
                before = sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)
                for _ in range(MESSAGES):
                    assert (await sender.request("mute", track="TR_none", muted=True))["type"] == "error"
                found[name] = (sum(time.clock_gettime(~pid << 3 | 2) for pid in pids) - before) / MESSAGES * 1e6
            await ada.close()
    return found["direct"], found["spliced"] - found["direct"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.workers", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    direct, more = asyncio.run(spliced())
    print(f"signalling: {direct:.0f} µs per request at the home, {more:.0f} µs more when another worker passes it on")
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {CLIENT_CORE})
    with awake():
        outcomes: dict[str, list[Outcome]] = {"one process": [], "two workers": []}
        for _ in range(options.rounds):
            for name, start in (("one process", Aiosfu), ("two workers", TwoWorkers)):
                outcomes[name].append(measure(start, SHAPE, options.seconds))
    for name, found in outcomes.items():
        cost = median(outcome.cpu for outcome in found) * 1e6
        loss = median(outcome.loss for outcome in found)
        rate = median(outcome.rate for outcome in found)
        print(f"{name}: {cost:.2f} µs per packet, {rate:.0f} packets/s, loss {loss:.4%}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
