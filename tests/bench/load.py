"""Synthetic load on our server and, beside it, on Janus: the same clients, shapes, packets and machine, in one run.

    python -m tests.bench.load [--quick] [--rounds N] [--seconds S] [--shape NAME] [--only aiosfu]

Clients join for real (signalling, ICE, DTLS), then raw sockets carry SRTP. The server has a core of its own, the clients
have another. CPU is what the server's process used, user and system; latency runs from the making of a packet to the
kernel's time of its arrival at the subscriber.
"""

import argparse
import contextlib
import gc
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from statistics import median
from typing import Any, TypeVar

from sfu.transport.dtls import Identity
from tests.bench import janus
from tests.bench.media import Checked, Encoding
from tests.bench.peer import LoadPeer
from tests.bench.reactor import Reactor
from tests.bench.report import CONDITIONS, SHAPES, Joins, Outcome, Shape, markdown
from tests.bench.servers import CLIENT_CORE, Aiosfu, Member, Server, awake

WARM_UP = 1.0
DRAIN = 0.25
SAMPLED = 4
"""Subscribers whose packets are decrypted and checked."""
AUDIO_INTERVAL = 0.02
GOOD_PROFILE = b"SRTP_AEAD_AES_128_GCM"
"""Codecs that clients offer: the fastest for all servers here."""


Start = Callable[[Reactor, Identity], Server[Any]]


@contextlib.contextmanager
def running(start: Start) -> Iterator[tuple[Reactor, Server[Any]]]:
    reactor, identity = Reactor(), Identity()
    identity.context.set_tlsext_use_srtp(GOOD_PROFILE)
    server = start(reactor, identity)
    try:
        # excludes work that a server does once (late imports, first allocations)
        first = server.member("warm-up", "first", publish=True, subscribe=False)
        second = server.member("warm-up", "second", publish=True, subscribe=True)
        server.settle({"warm-up": [first, second]})
        for member in (first, second):
            member.leave()
        reactor.run_for(DRAIN)
        yield reactor, server
    finally:
        server.stop()
        reactor.close()
        gc.collect()


R = TypeVar("R", Outcome, Joins)


class Sender:
    """Sends the frames of one encoding at a steady pace while `on`."""

    on = True

    def __init__(self, reactor: Reactor, peer: LoadPeer, encoding: Encoding, packets: int, interval: float) -> None:
        self._reactor, self._peer, self._encoding = reactor, peer, encoding
        self._packets, self._interval = packets, interval
        self._next = time.monotonic() + random.random() * interval
        reactor.call_at(self._next, self._send)

    def _send(self) -> None:
        self._next += self._interval
        self._reactor.call_at(self._next, self._send)
        if Sender.on:
            self._peer.send_frame(self._encoding, self._packets, self._interval)


class Pump:
    """Keeps `window` packets on their way to each of the sinks: the server is always busy, and nothing is lost."""

    PAUSE = 100e-6
    STALLED = 0.02
    """Seconds without an arrival after which what is missing counts as lost."""

    def __init__(
        self, reactor: Reactor, peer: LoadPeer, encoding: Encoding, shape: Shape, sinks: list[LoadPeer]
    ) -> None:
        self._reactor, self._peer, self._encoding, self._shape, self._sinks = reactor, peer, encoding, shape, sinks
        self._arrived = self._owed = 0
        self._moved = time.monotonic()
        reactor.call_at(self._moved, self._pump)

    def _pump(self) -> None:
        now = time.monotonic()
        self._reactor.call_at(now + self.PAUSE, self._pump)
        arrived = sum(sink.received for sink in self._sinks)
        if arrived != self._arrived:
            self._owed = max(0, self._owed - max(0, arrived - self._arrived))
            self._arrived, self._moved = arrived, now
        elif now - self._moved > self.STALLED:
            self._owed = 0
        if Sender.on:
            each = self._shape.burst * len(self._sinks)
            while self._owed + each <= self._shape.window * len(self._sinks):
                self._peer.send_frame(self._encoding, self._shape.burst, 0.01)
                self._owed += each


def measure(start: Start, shape: Shape, seconds: float) -> Outcome:
    with running(start) as (reactor, server):
        empty = server.process.memory()
        rooms: dict[str, list[Member]] = {}
        for number in range(shape.rooms):
            name = f"room-{number}"
            members = rooms[name] = []
            for each in range(shape.publishers):
                sampled = not shape.viewers and each == 0 and number < SAMPLED
                members.append(
                    server.member(name, f"p{each}", publish=True, subscribe=not shape.viewers, sampled=sampled)
                )
            step = max(1, shape.viewers // SAMPLED)
            for each in range(shape.viewers):
                sampled = each % step == step - 1
                members.append(server.member(name, f"v{each}", publish=False, subscribe=True, sampled=sampled))
        server.settle(rooms)
        everybody = [member for members in rooms.values() for member in members]
        publishers = [member for member in everybody if member.publisher is not None]
        sinks = [member.subscriber for member in everybody if member.subscriber is not None]
        Sender.on = True
        for member in publishers:
            peer = member.publisher
            assert peer is not None
            for encoding in member.video:
                if shape.window:
                    Pump(reactor, peer, encoding, shape, sinks)
                    continue
                Sender(reactor, peer, encoding, shape.burst, shape.burst / shape.video_rate)
            if shape.audio and member.audio is not None:
                Sender(reactor, peer, member.audio, 1, AUDIO_INTERVAL)
        reactor.run_for(WARM_UP)
        reactor.run_until(lambda: all(sink.received for sink in sinks), 10, "the first packet of every subscriber")
        Sender.on = False
        reactor.run_for(DRAIN / 2)
        for sink in sinks:
            sink.reset()
        sent = _sent(publishers)
        reactor.lateness = []
        gc.collect()
        gc.disable()
        Sender.on = True
        cpu, began = server.process.cpu(), time.monotonic()
        reactor.run_for(seconds)
        cpu, took = server.process.cpu() - cpu, time.monotonic() - began
        Sender.on = False
        gc.enable()
        reactor.run_for(DRAIN)
        fan_out = shape.viewers or shape.publishers - 1
        expected = (_sent(publishers) - sent) * fan_out
        received = sum(sink.received for sink in sinks)
        memory = (server.process.memory() - empty) / len(everybody)
        return _outcome(sinks, cpu, took, expected, received, sorted(reactor.lateness), memory)


def _sent(publishers: list[Member]) -> int:
    encodings = (encoding for member in publishers for encoding in [*member.video, member.audio])
    return sum(encoding.sent for encoding in encodings if encoding is not None)


def _outcome(
    sinks: list[LoadPeer], cpu: float, took: float, expected: int, received: int, lateness: list[float], memory: float
) -> Outcome:
    streams: list[Checked] = [stream for sink in sinks for stream in sink.checked.values()]
    latencies = sorted(latency for stream in streams for latency in stream.latencies)
    if not latencies:
        raise RuntimeError("nothing arrived at the sampled subscribers")
    return Outcome(
        cpu / max(received, 1),
        latencies[len(latencies) // 2] / 1e9,
        latencies[len(latencies) * 99 // 100] / 1e9,
        1 - received / expected,
        received / took,
        cpu / took,
        sum(stream.broken + stream.reordered for stream in streams),
        lateness[len(lateness) * 99 // 100] if lateness else 0.0,
        memory,
        sinks[0].profile,
    )


def measure_joins(start: Start, joins: int, seconds: float) -> Joins:
    """Each client joins its own room, in which another participant publishes audio and video already."""
    with running(start) as (reactor, server):
        empty = server.process.memory()
        seeds = [server.member(f"room-{n}", "seed", publish=True, subscribe=False) for n in range(joins)]
        reactor.run_for(DRAIN)
        everybody = list(seeds)
        cpu = server.process.cpu()
        for number, seed in enumerate(seeds):
            name = f"room-{number}"
            member = server.member(name, "joiner", publish=True, subscribe=True)
            everybody.append(member)
            server.settle({name: [seed, member]})
        cpu = server.process.cpu() - cpu
        connections = sum((m.publisher is not None) + (m.subscriber is not None) for m in everybody)
        memory = (server.process.memory() - empty) / connections
        reactor.run_for(1.0)
        idle, began = server.process.cpu(), time.monotonic()
        reactor.run_for(seconds)
        idle, took = server.process.cpu() - idle, time.monotonic() - began
        return Joins(cpu / joins, idle / took / connections, memory, connections)


def contestants(only: str, quick: bool) -> dict[str, Start]:
    """Servers that can run here, ours first; reports the others on stderr."""
    found: dict[str, Start] = {"aiosfu": Aiosfu}
    if only == "aiosfu":
        return found
    version = janus.installed()
    if version is None:
        print("Janus is not installed (Debian: apt-get install janus): it is left out.", file=sys.stderr)
        return found
    for name in (janus.OPENSSL,) if quick else janus.SETTINGS:
        found[name] = partial(janus.Janus, name=name)
    return {name: start for name, start in found.items() if not only or only in name}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.load", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="about a minute: one round, the first four shapes, Janus at its best only"
    )
    parser.add_argument("--rounds", type=int, default=0, help="2, with --quick 1; medians are printed")
    parser.add_argument("--seconds", type=float, default=0, help="of each measured stretch: 4, with --quick 2")
    parser.add_argument("--shape", default="", help="only shapes whose name contains this; `joins` for joins")
    parser.add_argument("--only", default="", help="only servers whose name contains this")
    options = parser.parse_args(arguments)
    rounds = options.rounds or (1 if options.quick else 2)
    seconds = options.seconds or (2.0 if options.quick else 4.0)
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {CLIENT_CORE})
    with awake():
        return compare(options, rounds, seconds)


def compare(options: argparse.Namespace, rounds: int, seconds: float) -> int:
    starts = contestants(options.only, options.quick)
    outcomes: dict[str, dict[str, list[Outcome]]] = {}
    costs: dict[str, list[Joins]] = {}
    known = SHAPES if options.quick and not options.shape else SHAPES + CONDITIONS
    shapes = [shape for shape in known if options.shape in shape.name]
    for number in range(rounds):
        for shape in shapes:
            for name, start in starts.items():
                print(f"round {number + 1}: {shape.name}, {name}", file=sys.stderr)
                with _tolerated(name):
                    outcome = measure(start, shape, seconds)
                    print(f"  {outcome.cpu * 1e6:.2f} µs per packet, {outcome.loss:.2%} lost", file=sys.stderr)
                    outcomes.setdefault(shape.name, {}).setdefault(name, []).append(outcome)
        if options.shape in ("", "joins"):
            for name, start in starts.items():
                print(f"round {number + 1}: joins and idle connections, {name}", file=sys.stderr)
                with _tolerated(name):
                    cost = measure_joins(start, 30 if options.quick else 70, 4 * seconds)
                    print(f"  {cost.join * 1e3:.2f} ms a join, {cost.idle * 1e6:.0f} µs/s idle", file=sys.stderr)
                    costs.setdefault(name, []).append(cost)
    print(markdown(shapes, {s: {n: _median(o) for n, o in by.items()} for s, by in outcomes.items()},
                   {n: _median(o) for n, o in costs.items()}, rounds, seconds))  # fmt: skip
    return 0


@contextlib.contextmanager
def _tolerated(name: str) -> Iterator[None]:
    """Ours has to work; another server may fail without ending the run."""
    try:
        yield
    except (RuntimeError, TimeoutError, ConnectionError) as error:
        if name == "aiosfu":
            raise
        print(f"  {name} is left out here: {error}", file=sys.stderr)


def _median(found: list[R]) -> R:
    """Field by field; words from the last."""
    values = {
        each.name: median(getattr(one, each.name) for one in found)
        for each in fields(found[-1])
        if isinstance(getattr(found[-1], each.name), (int, float))
    }
    return replace(found[-1], **values)


if __name__ == "__main__":
    sys.exit(main())
