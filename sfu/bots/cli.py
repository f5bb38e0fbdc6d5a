"""`sfu bot`: arguments to a crew of bots, tokens for them, a line every few seconds."""

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

KEY_VARIABLE: Final = "SFU_BOT_KEY"
SECRET_VARIABLE: Final = "SFU_BOT_SECRET"
PUBLISHED: Final = ("camera", "clap", "audio", "none", "file")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default="http://localhost:8080", help="the server (default: %(default)s)")
    parser.add_argument("--room", default="demo", help="default: %(default)s")
    parser.add_argument("--count", type=int, default=1, metavar="N", help="how many bots")
    parser.add_argument("--name", default="", help="the name that others see; several bots are numbered")
    parser.add_argument("--token", default="", help="an access token, for a single bot")
    parser.add_argument("--key", default="", help=f"name of the server's key to make tokens with (or {KEY_VARIABLE})")
    parser.add_argument("--secret", default="", help=f"the key's secret; safer in {SECRET_VARIABLE}")
    parser.add_argument(
        "--publish",
        nargs="+",
        default=["camera"],
        metavar="WHAT",
        help="camera (test picture and tone), clap (flash and beep, for lip sync), audio, none, or file PATH",
    )
    parser.add_argument("--size", type=_size, default=(1280, 720), metavar="WxH", help="default: 1280x720")
    parser.add_argument("--fps", type=float, default=15.0, help="pictures per second (default: 15)")
    parser.add_argument("--bitrate", type=int, default=0, help="of the highest layer, bits per second")
    parser.add_argument("--no-simulcast", action="store_true", help="one layer only")
    parser.add_argument("--grain", type=int, default=0, metavar="STEPS", help="noise that makes the bit rate be used")
    parser.add_argument("--subscribe", choices=("all", "none"), default="all")
    parser.add_argument("--decode", action="store_true", help="decode what is received, and measure its latency")
    parser.add_argument("--duration", type=float, default=0.0, metavar="SECONDS", help="default: until interrupted")
    parser.add_argument("--ramp", type=float, default=10.0, metavar="N", help="bots that join in a second")
    parser.add_argument("--interval", type=float, default=5.0, metavar="SECONDS", help="between lines; 0: none")
    parser.add_argument("--json", action="store_true", help="print all numbers as JSON in the end")
    parser.add_argument("--lively", action="store_true", help="chat and raise hands now and then")
    parser.add_argument("--insecure", action="store_true", help="accept any certificate of the server")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends")


def run(parsed: argparse.Namespace) -> int:
    """Exit status 1 when a bot was refused or sent away. Raises SfuError."""
    plan = plan_of(parsed)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            return runner.run(_run(parsed, plan))
        except BaseExceptionGroup as group:
            reason: BaseException = group
            while isinstance(reason, BaseExceptionGroup):
                reason = reason.exceptions[0]
            if isinstance(reason, SfuError):
                raise reason from None
            raise


def plan_of(parsed: argparse.Namespace) -> LoadTestConfig:
    """Raises ConfigurationError for what does not fit together."""
    what, *rest = parsed.publish
    if what not in PUBLISHED or len(rest) != (what == "file"):
        raise ConfigurationError("--publish is camera, clap, audio, none, or file and a path.")
    if parsed.count < 1 or not 1 <= parsed.fps <= 60 or parsed.ramp <= 0:
        raise ConfigurationError("--count and --ramp are above 0, --fps is 1 to 60.")
    width, height = parsed.size
    if not (64 <= width <= 4096 and 36 <= height <= 4096) or width % 2 or height % 2:
        raise ConfigurationError("--size is between 64x36 and 4096x4096, in even numbers.")
    if parsed.token and parsed.count > 1:
        raise ConfigurationError("--token is one participant's: use --key and --secret for several bots.")
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


async def _run(parsed: argparse.Namespace, plan: LoadTestConfig) -> int:
    connector = aiohttp.TCPConnector(limit=0, ssl=not parsed.insecure)
    async with aiohttp.ClientSession(connector=connector) as http:
        load_test = LoadTest(plan, tokens_of(parsed, http), http)
        loop = asyncio.get_running_loop()
        life = loop.create_task(load_test.run())
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, life.cancel)
        if parsed.until_eof:
            loop.add_reader(sys.stdin.fileno(), _end_at_eof, life)
        if parsed.duration > 0:
            loop.call_later(parsed.duration, life.cancel)
        begun = time.monotonic()
        await _watch(load_test, life, parsed.interval)
        if not life.cancelled():
            life.result()
        if parsed.json:
            print(
                json.dumps(report.document(load_test.stats(), time.monotonic() - begun, load_test.failures), indent=2)
            )
    for failure in load_test.failures:
        print(f"sfu bot: {failure}", file=sys.stderr)
    return 1 if load_test.failures else 0


async def _watch(load_test: LoadTest, life: asyncio.Task[None], interval: float) -> None:
    """Prints until the crew has ended."""
    before, at = report.totals(load_test.stats()), time.monotonic()
    while True:
        done, _ = await asyncio.wait([life], timeout=interval or None)
        if done:
            return
        now = report.totals(load_test.stats())
        print(report.line(now, before, time.monotonic() - at), file=sys.stderr, flush=True)
        before, at = now, time.monotonic()


def tokens_of(parsed: argparse.Namespace, http: aiohttp.ClientSession) -> Tokens:
    """Where tokens come from: the one given, a key to make them with, or a server in development mode."""
    key = parsed.key or os.environ.get(KEY_VARIABLE, "")
    secret = parsed.secret or os.environ.get(SECRET_VARIABLE, "")
    if bool(key) != bool(secret):
        raise ConfigurationError("--key and --secret belong together.")
    subscribes, publishes = parsed.subscribe == "all", parsed.publish[0] != "none"

    async def given(identity: str, name: str) -> str:
        return str(parsed.token)

    async def made(identity: str, name: str) -> str:
        # Whoever has the key may open rooms, also where `rooms.create_on_join` is off.
        grants = VideoGrants(
            room=parsed.room, room_join=True, room_create=True, can_publish=publishes, can_subscribe=subscribes
        )
        now, number = time.time(), secrets.token_hex(16)
        return mint(key, secret, identity=identity, name=name, video=grants, now=now, token_id=number)

    async def asked(identity: str, name: str) -> str:
        body = {"room": parsed.room, "identity": identity, "name": name, "admin": False}
        async with http.post(page_url(parsed.url) + "/api/dev/token", json=body) as response:
            if response.status == 404:
                raise ConfigurationError("The server is not in development mode: give --token, or --key and --secret.")
            answer: dict[str, Any] = await response.json(content_type=None)
            if response.status != 200:
                raise SfuError(f"The server gave no token: {answer.get('message', response.reason)}")
            return str(answer["token"])

    if parsed.token:
        return given
    return made if key else asked


def _end_at_eof(life: asyncio.Task[None]) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        life.cancel()


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"{text} is not like 1280x720")
    return int(width), int(height)


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
