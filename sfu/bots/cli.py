"""`sfu bot`: parses arguments, obtains tokens, runs the bots and prints a status line every few seconds."""

import argparse
import asyncio
import json
import os
import secrets
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

import aiohttp

from sfu.auth.grants import VideoGrants
from sfu.auth.tokens import mint
from sfu.bots import report
from sfu.bots.client import page_url
from sfu.bots.load_test import LoadTest, LoadTestConfig, Tokens
from sfu.errors import ConfigurationError, SfuError
from sfu.resources.event_loop import event_loop_factory

KEY_VARIABLE: Final = "SFU_BOT_KEY"
SECRET_VARIABLE: Final = "SFU_BOT_SECRET"
PUBLISHED: Final = ("camera", "clap", "audio", "none", "file")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default="http://localhost:8080", help="server URL (default: %(default)s)")
    parser.add_argument("--room", default="demo", help="room name (default: %(default)s)")
    parser.add_argument("--count", type=int, default=1, metavar="N", help="number of bots (default: 1)")
    parser.add_argument("--name", default="", help="display name; several bots are numbered")
    parser.add_argument("--token", default="", help="access token for a single bot")
    parser.add_argument("--key", default="", help=f"name of the API key that signs tokens (or set {KEY_VARIABLE})")
    parser.add_argument("--secret", default="", help=f"secret of the API key; safer: set {SECRET_VARIABLE}")
    parser.add_argument(
        "--publish",
        nargs="+",
        default=["camera"],
        metavar="WHAT",
        help="camera (test picture and voice), clap (flash and beep, for lip sync), audio, none, or file PATH",
    )
    parser.add_argument("--size", type=_size, default=(1280, 720), metavar="WxH", help="video size (default: 1280x720)")
    parser.add_argument("--fps", type=float, default=15.0, help="frames per second (default: 15)")
    parser.add_argument("--bitrate", type=int, default=0, help="bit rate of the highest layer in bit/s")
    parser.add_argument("--no-simulcast", action="store_true", help="send a single layer")
    parser.add_argument(
        "--grain",
        type=int,
        default=0,
        metavar="STEPS",
        help="amplitude of noise, which makes the encoder use its bit rate",
    )
    parser.add_argument("--subscribe", choices=("all", "none"), default="all", help="tracks to receive (default: all)")
    parser.add_argument("--decode", action="store_true", help="decode received media and measure its latency")
    parser.add_argument(
        "--duration",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="stop after this time (default: run until interrupted)",
    )
    parser.add_argument("--ramp", type=float, default=10.0, metavar="N", help="joins per second (default: 10)")
    parser.add_argument(
        "--interval",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="time between status lines; 0 disables them (default: 5)",
    )
    parser.add_argument("--json", action="store_true", help="print all statistics as JSON at the end")
    parser.add_argument("--demo-behaviour", action="store_true", help="chat and raise hands from time to time")
    parser.add_argument("--insecure", action="store_true", help="do not verify the server's certificate")
    parser.add_argument("--until-eof", action="store_true", help="stop when standard input is closed")


def run(parsed: argparse.Namespace) -> int:
    """Returns exit status 1 if the server rejected or disconnected a bot. Raises SfuError."""
    config = config_of(parsed)
    with asyncio.Runner(loop_factory=event_loop_factory()) as runner:
        try:
            return runner.run(_run(parsed, config))
        except BaseExceptionGroup as group:
            reason: BaseException = group
            while isinstance(reason, BaseExceptionGroup):
                reason = reason.exceptions[0]
            if isinstance(reason, SfuError):
                raise reason from None
            raise


def config_of(parsed: argparse.Namespace) -> LoadTestConfig:
    """Raises ConfigurationError for invalid or contradictory arguments."""
    what, *rest = parsed.publish
    if what not in PUBLISHED or len(rest) != (what == "file"):
        raise ConfigurationError("--publish must be camera, clap, audio, none, or file followed by a path.")
    if parsed.count < 1 or not 1 <= parsed.fps <= 60 or parsed.ramp <= 0:
        raise ConfigurationError("--count and --ramp must be above 0, and --fps from 1 to 60.")
    width, height = parsed.size
    if not (64 <= width <= 4096 and 36 <= height <= 4096) or width % 2 or height % 2:
        raise ConfigurationError("--size must be even and between 64x36 and 4096x4096.")
    if parsed.token and parsed.count > 1:
        raise ConfigurationError("--token is for a single bot. Use --key and --secret for several bots.")
    return LoadTestConfig(
        url=parsed.url,
        count=parsed.count,
        name=parsed.name,
        publish=what,
        path=Path(rest[0]) if rest else None,
        size=parsed.size,
        fps=parsed.fps,
        bitrate=parsed.bitrate,
        layers=1 if parsed.no_simulcast else 3,
        grain=parsed.grain,
        subscribe=parsed.subscribe == "all",
        decode=parsed.decode,
        demo_behaviour=parsed.demo_behaviour,
        ramp=parsed.ramp,
    )


async def _run(parsed: argparse.Namespace, config: LoadTestConfig) -> int:
    connector = aiohttp.TCPConnector(limit=0, ssl=not parsed.insecure)
    async with aiohttp.ClientSession(connector=connector) as http:
        load_test = LoadTest(config, tokens_of(parsed, http), http)
        loop = asyncio.get_running_loop()
        load_test_task = loop.create_task(load_test.run())
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, load_test_task.cancel)
        if parsed.until_eof:
            loop.add_reader(sys.stdin.fileno(), _end_at_eof, load_test_task)
        if parsed.duration > 0:
            loop.call_later(parsed.duration, load_test_task.cancel)
        begun = time.monotonic()
        await _watch(load_test, load_test_task, parsed.interval)
        if not load_test_task.cancelled():
            load_test_task.result()
        if parsed.json:
            print(
                json.dumps(report.document(load_test.stats(), time.monotonic() - begun, load_test.failures), indent=2)
            )
    for failure in load_test.failures:
        print(f"sfu bot: {failure}", file=sys.stderr)
    return 1 if load_test.failures else 0


async def _watch(load_test: LoadTest, load_test_task: asyncio.Task[None], interval: float) -> None:
    """Prints status lines until all bots have ended."""
    before, at = report.totals(load_test.stats()), time.monotonic()
    while True:
        done, _ = await asyncio.wait([load_test_task], timeout=interval or None)
        if done:
            return
        now = report.totals(load_test.stats())
        print(report.line(now, before, time.monotonic() - at), file=sys.stderr, flush=True)
        before, at = now, time.monotonic()


def tokens_of(parsed: argparse.Namespace, http: aiohttp.ClientSession) -> Tokens:
    """Returns the source of tokens: the given token, an API key that signs them, or a server in development mode."""
    key = parsed.key or os.environ.get(KEY_VARIABLE, "")
    secret = parsed.secret or os.environ.get(SECRET_VARIABLE, "")
    if bool(key) != bool(secret):
        raise ConfigurationError("--key and --secret must be given together.")
    subscribes, publishes = parsed.subscribe == "all", parsed.publish[0] != "none"

    async def given(identity: str, name: str) -> str:
        return str(parsed.token)

    async def made(identity: str, name: str) -> str:
        # The key holder may create rooms even if `rooms.create_on_join` is off.
        grants = VideoGrants(
            room=parsed.room, room_join=True, room_create=True, can_publish=publishes, can_subscribe=subscribes
        )
        now, number = time.time(), secrets.token_hex(16)
        return mint(key, secret, identity=identity, name=name, video=grants, now=now, token_id=number)

    async def asked(identity: str, name: str) -> str:
        body = {"room": parsed.room, "identity": identity, "name": name, "admin": False}
        async with http.post(page_url(parsed.url) + "/api/dev/token", json=body) as response:
            if response.status == 404:
                raise ConfigurationError("The server is not in development mode. Use --token, or --key and --secret.")
            answer: dict[str, Any] = await response.json(content_type=None)
            if response.status != 200:
                raise SfuError(f"The server did not issue a token: {answer.get('message', response.reason)}")
            return str(answer["token"])

    if parsed.token:
        return given
    return made if key else asked


def _end_at_eof(load_test_task: asyncio.Task[None]) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        load_test_task.cancel()


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"{text} is not a size such as 1280x720")
    return int(width), int(height)
