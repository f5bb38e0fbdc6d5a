"""Signalling under load: `python -m tests.bench.sockets`.

A server process (the real rooms, sessions and WebSockets, no media) and a client process, each on a core of its own, with
sockets in rooms of 10. Prints what an idle socket costs in memory and in CPU, then how many messages are delivered a
second when everybody sends data as fast as the rate limit lets it: CPU is the server's, user and system.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import platform
import resource
import secrets
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection as Pipe
from typing import Any

import psutil
from aiohttp import web

from sfu.auth.grants import VideoGrants
from sfu.auth.origins import Origins
from sfu.auth.tokens import Verifier, mint
from sfu.forwarding.decision_log import DecisionLog
from sfu.forwarding.loop_budget import LoopBudget
from sfu.ids import TrackId
from sfu.rooms import Rooms
from sfu.rooms import Settings as RoomSettings
from sfu.rooms.media_stats import QualityLimitation, VideoStats
from sfu.rooms.ports import MediaSource, SubscriptionSettings
from sfu.sdp.answer import AcceptedOffer
from sfu.signaling import AccessControl, Settings, Signaling
from sfu.signaling.messages import TrackSpec
from sfu.signaling.ports import AnsweringSubscriber, PublisherListener, SubscriberListener, SubscriptionListener
from sfu.signaling.server import random_id
from sfu.transport.reports import LinkReport, Negotiated

ROOM_SIZE = 10
SECRET = secrets.token_urlsafe(32)
PAYLOAD = "x" * 100


class NoMedia:
    """A media edge without media."""

    established = False
    sending_video = False
    remote_host = ""

    def open_publisher(
        self, name: str, listener: PublisherListener, decision_log: DecisionLog, budget: LoopBudget
    ) -> "NoMedia":
        return self

    def open_subscriber(
        self, name: str, listener: SubscriberListener, decision_log: DecisionLog, budget: LoopBudget
    ) -> "NoMedia":
        return self

    def open_answering_subscriber(
        self, name: str, listener: SubscriptionListener, decision_log: DecisionLog, budget: LoopBudget
    ) -> AnsweringSubscriber:
        raise NotImplementedError

    def negotiate(self, offer: AcceptedOffer, tracks: list[TrackSpec]) -> Negotiated:
        return Negotiated("v=0\r\n", {})

    def send_data(self, payload: bytes | str, *, reliable: bool) -> None: ...

    def quality_limitation_changed(self, mid: str, limitation: QualityLimitation) -> None: ...

    def subscribe(self, track: TrackId, source: MediaSource, settings: SubscriptionSettings) -> None: ...

    def update(self, track: TrackId, settings: SubscriptionSettings) -> None: ...

    def unsubscribe(self, track: TrackId) -> None: ...

    def accept_answer(self, offer_id: int, sdp: str) -> None: ...

    def restart(self) -> None: ...

    def report(self) -> LinkReport:
        return LinkReport(rtt=None, loss=0, silent_for=0, connected=False)

    def path(self) -> None: ...

    def video_stats(self) -> tuple[VideoStats, ...]:
        return ()

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Sample:
    """Of the server process."""

    rss: int
    cpu: float
    messages: int
    frames: int
    at: float


def pin(core: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[core % len(cores)]})


def run(main: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop

        uvloop.run(main)
    except ImportError:
        asyncio.run(main)


def serve(pipe: Pipe, key: str) -> None:
    pin(0)
    run(_serve(pipe, key))


async def _serve(pipe: Pipe, key: str) -> None:
    verifier = Verifier({"bench": key})
    signaling = Signaling(
        Settings(unjoined_per_address=100_000, max_sockets=100_000),
        Rooms(RoomSettings(max_rooms=10_000), random_id, time.time),
        AccessControl(
            lambda token: verifier.verify(token, time.time()), lambda claims: verifier.revoke(claims, time.time())
        ),
        NoMedia(),
        Origins(),
    )
    app = web.Application()
    app.router.add_routes(signaling.routes())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    timers = asyncio.create_task(signaling.run())
    process = psutil.Process()
    loop = asyncio.get_running_loop()
    pipe.send(runner.addresses[0][1])
    done = loop.create_future()

    def asked() -> None:
        if pipe.recv() == "stop":
            done.set_result(None)
            return
        cpu = process.cpu_times()
        statistics = signaling.statistics()
        pipe.send(
            Sample(
                process.memory_info().rss,
                cpu.user + cpu.system,
                statistics.messages_sent,
                statistics.frames_sent,
                time.perf_counter(),
            )
        )

    loop.add_reader(pipe.fileno(), asked)
    await done
    timers.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await timers
    await runner.cleanup()


def frame(payload: bytes) -> bytes:
    """A client's text frame. The mask is zero, so that making one costs nothing; the server unmasks all the same."""
    length = len(payload)
    head = bytes((0x81, 0x80 | length)) if length < 126 else bytes((0x81, 0xFE)) + length.to_bytes(2, "big")
    return head + bytes(4) + payload


@dataclass
class Load:
    delivered: int = 0
    joined: int = 0
    clients: list["Client"] = field(default_factory=list)


class Client(asyncio.Protocol):
    """Joins, then counts what comes without parsing it."""

    def __init__(self, load: Load, token: str) -> None:
        self.load = load
        self.token = token
        self.tail = b""
        self.ready = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None
        self.sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop does not derive from asyncio.Transport
        assert self.transport is not None
        self.transport.write(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )

    def data_received(self, data: bytes) -> None:
        if not self.ready.done():
            if b"101 Switching" in data:
                join = {"type": "join", "id": 1, "token": self.token}
                self._write(frame(json.dumps(join).encode()))
            if b'"joined"' in data:
                self.ready.set_result(None)
            return
        # Split messages are counted once: the marker may lie across two reads.
        joined = self.tail + data
        self.load.delivered += joined.count(b'"data_message"')
        self.tail = joined[-13:] if not joined.endswith(b'"data_message"') else b""
        if b'"ping"' in data:
            self._write(frame(b'{"type":"pong"}'))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("the server closed the socket"))

    def send(self) -> None:
        self.sent += 1
        self._write(frame(b'{"type":"data","id":%d,"topic":"bench","payload":"%b"}' % (self.sent, PAYLOAD.encode())))

    def _write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)


def token(number: int) -> str:
    return mint(
        "bench",
        SECRET,
        identity=f"user-{number}",
        video=VideoGrants(room=f"room-{number // ROOM_SIZE}", room_join=True),
        now=time.time(),
        token_id=f"bench-{number}",
    )


async def connect(port: int, count: int, load: Load) -> None:
    loop = asyncio.get_running_loop()
    for start in range(0, count, 50):
        batch = []
        for number in range(start, min(start + 50, count)):
            _, client = await loop.create_connection(partial(Client, load, token(number)), "127.0.0.1", port)
            load.clients.append(client)
            batch.append(client.ready)
        await asyncio.gather(*batch)


async def flood(load: Load, seconds: float, rate: float) -> None:
    """`rate` messages a second in total, a different socket each."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    sent = 0
    # A stride that visits room after room: neighbours in time are not neighbours in a room.
    order = [load.clients[(n * 7919) % len(load.clients)] for n in range(len(load.clients))]
    while (elapsed := loop.time() - begun) < seconds:
        while sent < elapsed * rate:
            order[sent % len(order)].send()
            sent += 1
        await asyncio.sleep(0.002)


async def measure(pipe: Pipe, port: int, count: int, seconds: float, rate: float) -> None:
    def sample() -> Sample:
        pipe.send("sample")
        result = pipe.recv()
        assert isinstance(result, Sample)
        return result

    empty = sample()
    load = Load()
    await connect(port, count, load)
    await asyncio.sleep(1)
    full = sample()
    print(f"{count} sockets in rooms of {ROOM_SIZE}")
    print(f"  server's memory           {full.rss / 1e6:8.1f} MB ({empty.rss / 1e6:.1f} MB without sockets)")
    print(f"  memory per socket         {(full.rss - empty.rss) / count / 1e3:8.1f} kB")
    print(f"  CPU per join              {(full.cpu - empty.cpu) / count * 1e6:8.0f} µs (token, snapshot, telling 9)")
    await asyncio.sleep(seconds)
    idle = sample()
    print(f"  CPU per idle socket       {(idle.cpu - full.cpu) / (idle.at - full.at) / count * 1e6:8.1f} µs a second")
    before = sample()
    load.delivered = 0
    await flood(load, seconds, rate)
    after = sample()
    delivered = load.delivered
    elapsed, cpu = after.at - before.at, after.cpu - before.cpu
    messages, frames = after.messages - before.messages, after.frames - before.frames
    sent = sum(client.sent for client in load.clients)
    print(f"  sent to the server        {sent / elapsed:8.0f} messages a second")
    print(f"  delivered to others       {delivered / elapsed:8.0f} messages a second (replies not counted)")
    print(f"  written by the server     {messages / elapsed:8.0f} messages a second in {frames / elapsed:.0f} frames")
    print(f"  server's CPU              {cpu / elapsed * 100:8.0f} % of one core")
    print(f"  CPU per delivered message {cpu / max(1, delivered) * 1e6:8.2f} µs")
    print(f"  one core would deliver    {delivered / max(cpu, 1e-6):8.0f} messages a second")
    for client in load.clients:
        if client.transport is not None:
            client.transport.abort()
    await asyncio.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=12_000.0, help="messages a second from all clients together")
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    )
    context = multiprocessing.get_context("spawn")
    for count in arguments.sockets:
        here, there = context.Pipe()
        server = context.Process(target=serve, args=(there, SECRET))
        server.start()
        try:
            port = here.recv()
            pin(1)
            run(measure(here, port, count, arguments.seconds, arguments.rate))
        finally:
            here.send("stop")
            server.join(10)
            if server.is_alive():
                server.kill()


if __name__ == "__main__":
    main()
