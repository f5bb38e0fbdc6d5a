"""sfu.bots.bot: bots join a complete server in this process over real sockets and receive each other's media."""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from sfu.app import Server
from sfu.bots.bot import Bot
from sfu.bots.cli import add_arguments, tokens_of
from sfu.bots.demo import run_demo
from sfu.bots.load_test import PITCHES, LoadTest, LoadTestConfig
from sfu.bots.subscriber import ReceivedTrack
from sfu.config import load
from sfu.signaling import messages as m

KEY, SECRET = "key", "a secret of the tests that is long enough"


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    base = load(
        flags=[
            ("http.host", "127.0.0.1"),
            ("http.port", "0"),
            ("rtc.udp_port", "0"),
            ("rtc.bind", '["127.0.0.1"]'),
            ("rtc.include_loopback", "true"),
        ]
    )
    server = Server(replace(base, auth=replace(base.auth, keys={KEY: SECRET})))
    await server.open()
    timers = [asyncio.create_task(server.signaling.run()), asyncio.create_task(server.node.run())]
    yield server
    for timer in timers:
        timer.cancel()
    await server.close()


Gather = Callable[..., Awaitable[LoadTest]]


@pytest.fixture
async def gather(server: Server) -> AsyncIterator[Gather]:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    tasks: list[asyncio.Task[None]] = []

    async with aiohttp.ClientSession() as http:

        async def make(*, publish: str = "camera", **fields: Any) -> LoadTest:
            words = ["--room", "r", "--key", KEY, "--secret", SECRET, "--publish", publish]
            config = LoadTestConfig(url=server.url, publish=publish, size=(320, 180), ramp=100.0, **fields)
            load_test = LoadTest(config, tokens_of(parser.parse_args(words), http), http)
            tasks.append(asyncio.create_task(load_test.run()))
            return load_test

        yield make
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert not server.webrtc_server.connections


async def until(done: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "condition not met in time"
        await asyncio.sleep(0.02)


def received(bot: Bot, kind: str) -> list[ReceivedTrack]:
    if bot.subscriber is None:
        return []
    return [each for each in bot.subscriber.receptions.values() if each.stream.kind == kind]


async def test_two_bots_meet(gather: Gather) -> None:
    load_test = await gather(count=2, decode=True)
    ada, grace = load_test.bots
    await until(lambda: all(bot.stats().latency is not None for bot in load_test.bots))
    for bot in load_test.bots:
        [picture] = received(bot, "video")
        assert picture.latency is not None
        assert 0 <= picture.latency < 5
        assert picture.size in ((160, 90), (320, 180))
    # Turns last six seconds, so each bot hears the other within twelve.
    for bot, other in ((ada, grace), (grace, ada)):
        pitch = PITCHES[load_test.bots.index(other)]
        await until(lambda bot=bot: [each for each in received(bot, "audio") if each.pitch])  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        heard = received(bot, "audio")[0].pitch
        assert any(abs(heard - pitch * note / 4) < 60 for note in (2, 3, 4, 5, 6))
    stats = load_test.stats()
    assert all(each.joined and each.frames and each.decoded and each.first_frame is not None for each in stats)
    assert not load_test.failures


async def test_the_requested_layer_is_sent(gather: Gather) -> None:
    await gather(count=1, subscribe=False)
    [watcher] = (await gather(count=1, decode=True, publish="none")).bots
    await until(lambda: received(watcher, "video") and received(watcher, "video")[0].decoded)
    [picture] = received(watcher, "video")
    for width, height in ((160, 90), (320, 180), (160, 90)):
        update = m.SubscriptionUpdate(track=picture.track, width=width, height=height)
        await watcher.client.request(m.Subscribe(id=0, tracks=[update]))
        await until(lambda size=(width, height): picture.size == size)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
    assert picture.stream.counts.skips == 0


async def test_a_dropped_socket_does_not_stop_the_media(gather: Gather) -> None:
    load_test = await gather(count=2)
    ada = load_test.bots[0]
    await until(lambda: all(bot.stats().frames > 5 for bot in load_test.bots))
    me, publisher, subscriber = ada.participant, ada.publisher, ada.subscriber
    await ada.client.drop()
    await until(lambda: ada.client.reconnects == 1)
    before = ada.stats().frames
    await until(lambda: ada.stats().frames > before + 5)
    await ada.client.request(m.UpdateMetadata(id=0, attributes={"hand": "1"}))
    assert (ada.participant, ada.publisher, ada.subscriber) == (me, publisher, subscriber)


async def test_a_lost_connection_is_replaced(gather: Gather) -> None:
    load_test = await gather(count=2)
    ada, grace = load_test.bots
    await until(lambda: all(bot.stats().frames > 5 for bot in load_test.bots))
    publisher, subscriber = ada.publisher, ada.subscriber
    assert publisher is not None
    assert subscriber is not None
    publisher.connection._fail("a test")
    subscriber.connection._fail("a test")
    await until(lambda: ada.publisher not in (None, publisher) and ada.subscriber not in (None, subscriber))
    before = [bot.stats().frames for bot in load_test.bots]
    await until(lambda: all(bot.stats().frames > was + 5 for bot, was in zip((ada, grace), before, strict=True)))


async def test_many_bots_share_four_microphones(gather: Gather) -> None:
    load_test = await gather(count=6, publish="audio")
    assert (len(load_test.cameras), len(load_test.microphones)) == (0, 4)
    await until(lambda: all(len(received(bot, "audio")) == 5 for bot in load_test.bots))
    await until(lambda: all(each.stream.counts.packets for bot in load_test.bots for each in received(bot, "audio")))


async def test_a_removed_bot_does_not_rejoin(server: Server, gather: Gather) -> None:
    load_test = await gather(count=1)
    await until(lambda: load_test.stats()[0].joined)
    server.rooms.delete("r")
    await until(lambda: load_test.failures)


async def test_demo_bots_join_and_leave(server: Server) -> None:
    task = asyncio.create_task(run_demo(server.url, room="demo", count=2, key=(KEY, SECRET)))

    def tracks() -> int:
        return sum(
            len(member.publications) for room in server.rooms.list() if room.name == "demo" for member in room.members
        )

    await until(lambda: tracks() == 4, 40)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await until(
        lambda: tracks() == 0
    )  # the bots leave explicitly: otherwise their sessions would end only after the resume window of 30 s
