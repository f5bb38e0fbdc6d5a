"""Kills nodes and Redis in a cluster of three nodes, and measures the gaps in calls.

    python -m tests.bench.cluster [--kills N] [--rooms N] [--size N] [--publish camera|audio]

Bots with a camera and a microphone are in rooms on all nodes and join through a TCP balancer. A gap is the time without a
packet of a track at a bot that receives it. All processes share this machine: with two cores, the encoders of the bots and the
start of the killed node take part in the gaps.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path

from sfu.cluster.lease import VERIFY_TIME
from tests.cluster.calls import Calls, Kill, calls
from tests.cluster.redis_nodes import RedisNodes, redis_nodes

NODES = ("a", "b", "c")
REACHABLE = "sfu_cluster_directory_reachable"


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def row(what: str, gaps: Sequence[float], others: Sequence[float], rest: str) -> None:
    p50, p95 = quantile(gaps, 0.5), quantile(gaps, 0.95)
    print(
        f"| {what} | {p50:.2f} s | {p95:.2f} s | {max(gaps, default=0.0):.2f} s | {max(others, default=0.0):.2f} s | {rest} |",
        flush=True,
    )


async def kills(
    nodes: RedisNodes, running: Calls, count: int, stop: Callable[[str], Coroutine[None, None, None]]
) -> list[Kill]:
    found = []
    for number in range(count):
        found.append(await running.kill(number, stop))
        await nodes.start(found[-1].node)
        await nodes.all_nodes("sfu_cluster_nodes", len(NODES))
    return found


def report(what: str, found: Sequence[Kill]) -> None:
    moved = [gap for kill in found for gap in kill.moved]
    stayed = [gap for kill in found for gap in kill.stayed]
    faults = [fault for kill in found for fault in kill.faults]
    rooms = sum(kill.rooms for kill in found)
    row(
        f"{what}, {len(found)} times",
        moved,
        stayed,
        f"{rooms} rooms moved, {len(faults)} with a lost or doubled person, chat or lock",
    )
    for fault in faults:
        print(f"  {fault}")


async def outage(
    nodes: RedisNodes,
    running: Calls,
    what: str,
    begin: Callable[[], None],
    end: Callable[[], Awaitable[None]],
    seconds: float,
) -> None:
    await asyncio.sleep(VERIFY_TIME + 2.0)
    await running.flow()
    running.tracks.reset()
    begin()
    began = time.monotonic()
    refused = 0
    while time.monotonic() < began + seconds:
        refused += await refuses(nodes)
        await asyncio.sleep(0.5)
    await end()
    ended = time.monotonic()
    await nodes.until(lambda: places(nodes, f"after-{what}"))
    back = time.monotonic() - ended
    await running.flow()
    gaps = list(running.tracks.gaps.values())
    row(
        f"{what} for {seconds:.0f} s",
        gaps,
        gaps,
        f"{refused} joins of unknown rooms refused with 503; new rooms {back:.1f} s after its return",
    )


async def refuses(nodes: RedisNodes) -> bool:
    status, _, retry_after = await nodes.api("b", "POST", "/rooms", json={"name": "unknown"})
    assert status != 503 or retry_after
    return status == 503


async def places(nodes: RedisNodes, name: str) -> bool:
    status, _, _ = await nodes.api("b", "POST", "/rooms", json={"name": name.replace(" ", "-")})
    return status == 201


async def wiped(nodes: RedisNodes, running: Calls) -> None:
    await running.flow()
    rooms = [room for node in NODES for room in await nodes.served(node)]
    homes = await nodes.homes(*rooms)
    running.tracks.reset()
    began = time.monotonic()
    await nodes.redis.command("FLUSHALL")

    async def announced() -> bool:
        return await nodes.homes(*rooms) == homes

    await nodes.until(announced)
    known = time.monotonic() - began
    await nodes.until(lambda: places(nodes, "after-the-wipe"))
    placed = time.monotonic() - began
    await running.flow()
    gaps = list(running.tracks.gaps.values())
    row("Redis: FLUSHALL", gaps, gaps, f"all homes announced again after {known:.1f} s; new rooms after {placed:.1f} s")


async def run(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with (
            redis_nodes(Path(folder), *NODES) as nodes,
            calls(nodes, options.rooms, options.size, options.publish) as running,
        ):
            await running.flow()
            print(f"{options.rooms * options.size} bots in {options.rooms} rooms; load {os.getloadavg()[0]:.1f}\n")
            print(
                "| what | gap p50 | p95 | longest | longest in other rooms | |\n|---|---|---|---|---|---|", flush=True
            )
            report("a node: kill −9", await kills(nodes, running, options.kills, nodes.kill))
            report("a node: SIGTERM", await kills(nodes, running, options.stops, nodes.stop))
            redis = nodes.redis

            async def go_on() -> None:
                redis.go_on()

            await outage(nodes, running, "Redis: SIGSTOP", redis.stall, go_on, options.seconds)
            await outage(nodes, running, "Redis: kill −9", redis.kill, redis.start, options.seconds)
            await wiped(nodes, running)
            print(f"\nload {os.getloadavg()[0]:.1f}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cluster", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--stops", type=int, default=5)
    parser.add_argument("--rooms", type=int, default=10)
    parser.add_argument("--size", type=int, default=3)
    parser.add_argument("--publish", choices=("camera", "audio"), default="camera")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each outage of Redis")
    asyncio.run(run(parser.parse_args()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
