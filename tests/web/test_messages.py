"""Reliable messages between two browsers of which one sits behind a line that loses one datagram in ten, each way: all of them
arrive, once and in order. `BROWSER_MESSAGES` in each direction, 2,000 by default; `make soak` sends ten thousand.
"""

import asyncio
import os
import socket
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

from tests.support import impaired
from tests.support.ports import free_port
from tests.web.conftest import CHROMIUM, chromium_path, launch
from tests.web.guest import Guest, gathering
from tests.web.server import KEYS, serve, token

pytestmark = pytest.mark.skipif(bool(impaired.possible()), reason=impaired.possible() or "possible")

MESSAGES = int(os.environ.get("BROWSER_MESSAGES", "2000"))
RATE = 500
"""Messages a second, each way."""
LOSS = 0.1
ROUND_TRIP = 0.04
CAMERA = "320x180x15"
HEAR = """() => {
    watched.heard = { count: 0, wrong: [] };
    sfu.room.on('packet', ({ topic, payload, reliable }) => {
        if (topic !== 'count') return;
        const { heard } = watched;
        const whole = payload.word === 'né 👏'.repeat(payload.n % 40);
        if (!reliable || !whole || payload.n !== heard.count) heard.wrong.push(payload.n);
        heard.count += 1;
    });
}"""
SPEAK = """async ([count, rate]) => {
    const began = performance.now();
    for (let n = 0; n < count; n += 1) {
        while (n > (performance.now() - began) * rate / 1000) await new Promise((done) => setTimeout(done, 5));
        sfu.room.cast('count', { n, word: 'né 👏'.repeat(n % 40) }, { reliable: true });
    }
    watched.spoke = sfu.room.publisher.channels.reliable.readyState;
}"""
OPEN = "() => sfu.room.publisher.channels.reliable.readyState === 'open'"


async def test_each_arrives_once_and_in_order(tmp_path: Path) -> None:
    port = free_port()
    origin = f"http://{impaired.NEAR}:{port}"
    settings = {
        "http.host": "0.0.0.0", "rtc.announce": impaired.NEAR, "rtc.udp_port": free_port(socket.SOCK_DGRAM),
        "signaling.data_channel_rate": 4 * RATE,
    }  # fmt: skip
    trusted = f"--unsafely-treat-insecure-origin-as-secure={origin}"
    with impaired.own_namespace():
        async with (
            async_playwright() as playwright,
            impaired.far_host() as line,
            serve(tmp_path / "log", settings, KEYS, port=port) as server,
        ):
            near = await launch(playwright)
            far = await playwright.chromium.launch(
                executable_path=str(line.program(tmp_path, chromium_path())), args=[*CHROMIUM, trusted]
            )
            async with gathering(near, server.url, "messages") as meeting:
                guests: list[Guest] = []
                for name, browser, url in (("Ada", near, server.url), ("Bob", far, origin)):
                    guest = await meeting.invite(name, browser=browser)
                    guests.append(guest)
                    mine = await token(meeting.room, name.lower())
                    await guest.enter(meeting.address(url, token=mine, camera=CAMERA))
                for guest in guests:
                    await guest.until("its data channel", OPEN)
                    await guest.run(HEAR)
                for direction in ("out", "back"):
                    await line.set(direction, delay=ROUND_TRIP / 2, loss=LOSS)
                loop = asyncio.get_running_loop()
                began = loop.time()
                await asyncio.gather(*(guest.run(SPEAK, [MESSAGES, RATE]) for guest in guests))
                for guest in guests:
                    done = "(count) => watched.heard.count >= count"
                    await guest.until("all messages", done, MESSAGES, within=30 + MESSAGES / RATE)
                took = loop.time() - began
                counters = await line.counters()
                await asyncio.sleep(0.5)
                for guest in guests:
                    assert await guest.run("() => watched.heard") == {"count": MESSAGES, "wrong": []}
                    assert await guest.run("() => watched.spoke") == "open"
                print(f"{MESSAGES} each way in {took:.1f} s", counters)
                for direction in ("out", "back"):
                    assert counters[direction]["lost"] > 0.05 * counters[direction]["entered"] > 0
                    await line.set(direction, loss=0.0)
            await far.close()
            await near.close()
            assert server.errors() == []
