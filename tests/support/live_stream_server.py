"""A server whose one room has a live stream of test pictures: `python -m tests.support.live_stream_server`.

It prints its port. Development mode, so that pages get tokens; the test controls it through `/control/…`: POST `begin`
(`?renditions=360p,180p`), `restart` (like a crash of the mixer), `caption?text=`, `end`, `expire`.
"""

import argparse
import asyncio
import os
import random
import threading
import time
from tempfile import TemporaryDirectory

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from sfu.api import assets
from sfu.api.application import create_app
from sfu.api.development import LOOPBACK, Development
from sfu.api.hls import HlsRoutes
from sfu.api.server import listen
from sfu.api.services import Services
from sfu.api.settings import Settings as HttpSettings
from sfu.auth.tokens import Verifier
from sfu.outputs.hls.live_stream import LiveStream
from sfu.outputs.hls.live_streams import LiveStreams
from sfu.outputs.segmenter import Part
from sfu.outputs.settings import Hls, Rendition
from sfu.rooms import Rooms
from sfu.rooms import Settings as RoomsSettings
from tests.api.support import Node
from tests.support.synthetic_stream import FPS, SIZES, SMALL, SyntheticStream

ROOM = "live"


class Producer:
    """Stands for the mixer's process: a thread that makes pictures in time and hands parts to the loop."""

    def __init__(self, live_stream: LiveStream, names: list[str], loop: asyncio.AbstractEventLoop) -> None:
        self.live_stream, self._loop = live_stream, loop
        self._stream = SyntheticStream({name: {**SIZES, **SMALL}[name] for name in names})
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._first = True

    def start(self) -> None:
        self.live_stream.begin(time.time())
        for name, init in self._stream.inits().items():
            self.live_stream.add_init(name, init)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        started, number = time.monotonic(), 0
        while not self._stop.wait(max(0.0, started + number / FPS - time.monotonic())):
            parts = self._stream.tick(int(time.time() * 1000))
            if parts:
                self._loop.call_soon_threadsafe(self._deliver, parts)
            number += 1

    def _deliver(self, parts: list[Part]) -> None:
        if self.live_stream.ended_at is None:
            for part in parts:
                self.live_stream.add_part(part)


class LiveStreamServer:
    def __init__(self, folder: str, public: bool, dvr: float) -> None:
        self.settings = Hls(directory=folder, dvr=dvr, memory=20.0, public=(ROOM,) if public else ())
        self.live_streams = LiveStreams(self.settings)
        self.producer: Producer | None = None
        self.names: list[str] = []
        self.count = 0

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/control/{action}", self._do)]

    async def _do(self, request: web.Request) -> web.Response:
        action, loop = request.match_info["action"], asyncio.get_running_loop()
        if action == "begin":
            self.names = request.query.get("renditions", "180p").split(",")
            sizes = {**SIZES, **SMALL}
            ladder = [Rendition(name, *sizes[name]) for name in self.names]
            self.count += 1
            live_stream = self.live_streams.open(ROOM, f"PG_{os.getpid()}_{self.count}", ladder)
            self.producer = Producer(live_stream, self.names, loop)
            self.producer.start()
        elif self.producer is not None:
            live_stream = self.producer.live_stream
            if action == "restart":
                self.producer.stop()
                await asyncio.sleep(float(request.query.get("pause", "0.5")))
                self.producer = Producer(live_stream, self.names, loop)
                self.producer.start()
            elif action == "caption":
                live_stream.add_captions("en", "English")
                live_stream.caption("en", request.query["text"], time.time(), time.time() + 5)
            elif action == "end":
                self.producer.stop()
                live_stream.end(time.time())
            elif action == "expire":
                self.live_streams.expire(time.time() + 1e6)
        return web.Response(text="ok")


def delayed(least: float, most: float) -> Middleware:
    """A network that takes its time with every answer, in seconds."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        if request.path.startswith("/hls/"):
            await asyncio.sleep(random.uniform(least, most))
        return answer

    return middleware


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, nargs=2, default=(0.0, 0.0), help="milliseconds, least and most")
    parser.add_argument("--private", action="store_true")
    parser.add_argument("--dvr", type=float, default=60.0)
    parser.add_argument("--base-path", default="")
    given = parser.parse_args()
    with TemporaryDirectory(prefix="live-stream-") as folder:
        stream_server = LiveStreamServer(folder, not given.private, given.dvr)
        development, http = Development(), HttpSettings(port=0, base_path=given.base_path)
        verifier = Verifier(development.keys)
        rooms = Rooms(RoomsSettings(), lambda prefix: prefix, time.time)
        hls = HlsRoutes(
            stream_server.settings, stream_server.live_streams, verifier, os.urandom(32), base_path=given.base_path
        )
        app = create_app(
            http,
            Services(rooms=rooms, node=Node(), verifier=verifier),
            development=development,
            page_root=assets.web_root(),
            routes=[*hls.routes(), *stream_server.routes()],
            access_log=False,
        )
        if given.delay[1]:
            app.middlewares.append(delayed(given.delay[0] / 1000, given.delay[1] / 1000))
        runner, site = await listen(app, http, LOOPBACK)
        print(site.port, flush=True)
        try:
            # The parent process holds the other end, and this process ends with it.
            await asyncio.get_running_loop().run_in_executor(None, os.read, 0, 1)
        finally:
            if stream_server.producer is not None:
                stream_server.producer.stop()
            await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
