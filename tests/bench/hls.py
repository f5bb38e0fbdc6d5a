"""Cost of viewers of low-latency HLS: `python -m tests.bench.hls --viewers 300 --seconds 30`.

A real server process (aiohttp, with the middlewares of the product) whose window gets a part of a size as at the
rendition's rate every 0.2 s; the viewers are raw sockets in this process, two for each viewer: one holds the playlist's
blocking reload with an update (`_HLS_skip`), one the hinted part. Tells the server's CPU, and how long after a part's
making its last byte is there. `--edge`: the viewers watch another node, which fetches from the first one over a Unix socket; it
has the server's core, the origin shares that of the viewers.
"""

import argparse
import asyncio
import multiprocessing
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

from sfu.api.application import create_app
from sfu.api.hls import HlsRoutes
from sfu.api.server import listen
from sfu.api.services import Services
from sfu.api.settings import Settings as HttpSettings
from sfu.auth.tokens import Verifier
from sfu.cluster.ports import NodeInfo
from sfu.outputs.hls.live_streams import LiveStreams
from sfu.outputs.segmenter import PART_DURATION, PARTS_PER_SEGMENT, Part
from sfu.outputs.settings import Hls, Rendition
from sfu.rooms import Rooms
from sfu.rooms import Settings as RoomsSettings
from tests.api.support import Node
from tests.bench.servers import CLIENT_CORE, SERVER_CORE
from tests.support.hls_nodes import Homes, hls_node

GOAL = 0.35
LADDER = (Rendition("720p", 1280, 720, 1_500_000),)
STAMP = b"made"


def serve(pipe: Connection, uvloop: bool) -> None:
    os.sched_setaffinity(0, {SERVER_CORE})
    with (
        asyncio.Runner(loop_factory=_factory(uvloop)) as runner,
        TemporaryDirectory(prefix="bench-hls-") as folder,
    ):
        runner.run(_serve(pipe, folder))


def serve_edge(pipe: Connection, uvloop: bool, folder: str) -> None:
    os.sched_setaffinity(0, {SERVER_CORE})
    with asyncio.Runner(loop_factory=_factory(uvloop)) as runner:
        runner.run(_serve_edge(pipe, Path(folder)))


async def _serve_edge(pipe: Connection, folder: Path) -> None:
    origin = NodeInfo(id="origin", instance="origin-1", url=f"unix:{folder / 'origin'}.sock")
    async with hls_node(Homes({"hall": origin}), "edge", folder, public=("*",)) as edge:
        pipe.send(edge.port)
        await _stopped(pipe).wait()


def serve_origin(pipe: Connection, uvloop: bool, folder: str) -> None:
    os.sched_setaffinity(0, {CLIENT_CORE})
    with asyncio.Runner(loop_factory=_factory(uvloop)) as runner:
        runner.run(_serve_origin(pipe, Path(folder)))


async def _serve_origin(pipe: Connection, folder: Path) -> None:
    async with hls_node(Homes(), "origin", folder, public=("*",), dvr=60.0) as origin:
        await _broadcast(pipe, origin.live_streams, origin.port)


async def _serve(pipe: Connection, folder: str) -> None:
    settings = Hls(public=("*",), directory=folder, dvr=60.0)
    live_streams = LiveStreams(settings)
    verifier = Verifier({})
    routes = HlsRoutes(settings, live_streams, verifier, os.urandom(32)).routes()
    http = HttpSettings(port=0)
    rooms = Rooms(RoomsSettings(), lambda prefix: prefix, time.time)
    app = create_app(
        http, Services(rooms=rooms, node=Node(), verifier=verifier), routes=tuple(routes), access_log=False
    )
    runner, site = await listen(app, http, ("127.0.0.1",))
    await _broadcast(pipe, live_streams, site.port)
    await runner.cleanup()


async def _broadcast(pipe: Connection, live_streams: LiveStreams, port: int) -> None:
    live_stream = live_streams.open("hall", "PG_1", LADDER)
    live_stream.begin(time.time())
    live_stream.add_init("720p", b"\0" * 1000)
    size = int((LADDER[0].bit_rate + 128_000) * PART_DURATION / 8)
    pipe.send(port)
    number, next_at = 0, time.monotonic()
    stop = _stopped(pipe)
    while not stop.is_set():
        stamp = STAMP + struct.pack(">d", time.monotonic())
        msn, index = divmod(number, PARTS_PER_SEGMENT)
        live_stream.add_part(Part("720p", msn, index, not index, 0.2, number * 18_000, stamp.ljust(size, b".")))
        number, next_at = number + 1, next_at + PART_DURATION
        await asyncio.sleep(max(0.0, next_at - time.monotonic()))


def _stopped(pipe: Connection) -> asyncio.Event:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), stop.set)
    return stop


def _factory(uvloop: bool) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if not uvloop:
        return None
    import uvloop as other

    factory: Callable[[], asyncio.AbstractEventLoop] = other.new_event_loop
    return factory


class Viewer:
    """One player: follows the live edge part by part."""

    def __init__(self, port: int, delays: list[float]) -> None:
        self.port, self.delays = port, delays
        self.requests = self.failures = 0

    async def watch(self) -> None:
        playlists = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        media = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        text = (await self._get(*playlists, "720p.m3u8")).decode()
        msn, index = self._hint(text)
        try:
            while True:
                reload = f"720p.m3u8?_HLS_msn={msn}&_HLS_part={index}&_HLS_skip=YES"
                text_bytes, data = await asyncio.gather(
                    self._get(*playlists, reload), self._get(*media, f"720p/{msn}.{index}.m4s")
                )
                self.delays.append(time.monotonic() - struct.unpack_from(">d", data, len(STAMP))[0])
                msn, index = self._hint(text_bytes.decode())
        finally:
            playlists[1].close()
            media[1].close()

    async def _get(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> bytes:
        writer.write(
            f"GET /hls/hall/PG_1/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\n"
            f"Origin: http://127.0.0.1\r\nAccept-Language: en\r\nSec-Fetch-Mode: cors\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(int(head.partition(b"Content-Length: ")[2].partition(b"\r")[0]))
        self.requests += 1
        if not head.startswith(b"HTTP/1.1 200"):
            self.failures += 1
        return body

    @staticmethod
    def _hint(text: str) -> tuple[int, int]:
        name = text.partition('PRELOAD-HINT:TYPE=PART,URI="720p/')[2].partition(".m4s")[0]
        msn, _, index = name.partition(".")
        return int(msn), int(index)


async def load(pid: int, port: int, viewers: int, seconds: float) -> bool:
    delays: list[float] = []
    crowd = [Viewer(port, delays) for _ in range(viewers)]
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(one.watch()) for one in crowd]
        await asyncio.sleep(2)
        delays.clear()
        before, cpu, started = sum(one.requests for one in crowd), _cpu(pid), time.monotonic()
        await asyncio.sleep(seconds)
        took, used = time.monotonic() - started, _cpu(pid) - cpu
        answered = sum(one.requests for one in crowd) - before
        for task in running:
            task.cancel()
    delays.sort()
    failures = sum(one.failures for one in crowd)
    core = used / took
    print(
        f"{viewers} viewers: {core:.3f} core (goal ≤ {GOAL}), {answered / took:.0f} answers/s, "
        f"{used / max(answered, 1) * 1e6:.1f} µs each, {failures} failures; made → last byte "
        f"p50 {delays[len(delays) // 2] * 1e3:.1f} ms, p99 {delays[len(delays) * 99 // 100] * 1e3:.1f} ms"
    )
    return core <= GOAL and not failures


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--edge", action="store_true", help="measure an edge instead of the origin")
    parser.add_argument("--asyncio", action="store_true", help="without uvloop")
    given = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CORE} if (os.cpu_count() or 1) > 1 else {0})
    with ExitStack() as running:
        if given.edge:
            folder = running.enter_context(TemporaryDirectory(prefix="bench-hls-"))
            running.enter_context(_process(serve_origin, not given.asyncio, folder))
            pid, port = running.enter_context(_process(serve_edge, not given.asyncio, folder))
        else:
            pid, port = running.enter_context(_process(serve, not given.asyncio))
        return not asyncio.run(load(pid, port, given.viewers, given.seconds))


@contextmanager
def _process(target: Callable[..., None], *arguments: object) -> Iterator[tuple[int, int]]:
    """Process id and port of a server."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=target, args=(theirs, *arguments))
    process.start()
    assert process.pid is not None
    try:
        yield process.pid, ours.recv()
    finally:
        ours.send("stop")
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()


if __name__ == "__main__":
    raise SystemExit(main())
