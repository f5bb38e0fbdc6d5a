"""Cost and added latency of an RTMP stream of 1080p30 at 6 Mbit/s that one viewer watches.

    python -m tests.bench.ingest --seconds 20

The server runs in its own process. This process sends prepared frames at their times and measures until the last packet of
each picture arrives. "Server" is the whole server process, forwarding to the viewer and an idle server's timers included.
"Waiting" is the time that the runnable server waited for a core: on a busy machine the latencies are those of the scheduler.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import aiohttp
import numpy as np

from sfu.outputs.encoder import AudioEncoder, EncodedPacket, VideoEncoder
from sfu.rtmp.client import PublishingSession, State
from sfu.rtmp.connection import AUDIO, VIDEO
from sfu.rtmp.flv import audio_body, video_body
from tests.bench.servers import free_port
from tests.ingest.support import ROOM, token
from tests.support.admin import SECRET
from tests.support.client import Client

BIT_RATE = 6_000_000
PREPARED = 120
"""Prepared pictures, two groups; they repeat."""
GOALS = {"video": 0.05, "video + AAC": 0.10}
MEAN_GOAL, P99_GOAL = 0.060, 0.120
SETTLING = 3.0


class Prepared(NamedTuple):
    video: list[EncodedPacket]
    avcc: bytes
    audio: list[EncodedPacket]
    aac: bytes


def prepare() -> Prepared:
    rng = np.random.default_rng(1)
    noise = rng.integers(16, 235, (1620, 1920), np.uint8)
    video, audio = VideoEncoder(1920, 1080, BIT_RATE, gop=60), AudioEncoder()
    pictures = [one for n in range(PREPARED) for one in video.encode(np.roll(noise, 16 * n, axis=1), 3000 * n)]
    sound = rng.uniform(-0.3, 0.3, (48_000 * 4, 2)).astype(np.float32)
    return Prepared(pictures, video.extradata, audio.encode(sound, 0), audio.extradata)


def schedule(prepared: Prepared, seconds: float, *, sound: bool) -> Iterator[tuple[float, int, bytes, int]]:
    """(time, kind, body, number) in order."""
    found = []
    for number in range(int(seconds * 30)):
        packet = prepared.video[number % len(prepared.video)]
        found.append((number / 30, VIDEO, video_body(packet.data, keyframe=packet.keyframe), number))
    if sound:
        for number in range(int(seconds * 48_000 / 1024)):
            packet = prepared.audio[number % len(prepared.audio)]
            found.append((number * 1024 / 48_000, AUDIO, audio_body(packet.data), number))
    yield from sorted(found, key=lambda one: one[:2])


async def publish(port: int, key: str, prepared: Prepared, seconds: float, sent: list[float], *, sound: bool) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    session = PublishingSession("live", key, "rtmp://127.0.0.1/live", os.urandom(1528))
    while session.state is not State.PUBLISHING:
        writer.write(session.data_to_send())
        session.receive_data(await reader.read(65_536))
        assert session.state is not State.REFUSED, session.refusal
    session.send_media(VIDEO, 0, video_body(prepared.avcc, keyframe=True, header=True))
    if sound:
        session.send_media(AUDIO, 0, audio_body(prepared.aac, header=True))
    began = time.monotonic()
    for at, kind, body, _ in schedule(prepared, seconds, sound=sound):
        await asyncio.sleep(max(0.0, began + at - time.monotonic()))
        session.send_media(kind, round(at * 1000), body)
        if kind == VIDEO:
            sent.append(time.monotonic())
        writer.write(session.data_to_send())
    writer.close()


async def watch(client: Client, arrived: dict[int, float]) -> None:
    """Arrival of the last packet of each picture, by its timestamp."""
    while True:
        for packet in client.media():
            if packet.marker and packet.payload_type not in (110, 111):
                arrived[packet.timestamp] = time.monotonic()
        if client.subscribing.dtls is not None:
            client.subscribing.pump()
        await asyncio.sleep(0.001)


def cpu(pids: list[int]) -> float:
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def waiting(pid: int) -> float:
    """Seconds that a process was runnable and waited for a core, since its start."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[1]) / 1e9


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


async def measure(prepared: Prepared, seconds: float, *, sound: bool) -> tuple[float, float, float, list[float]]:
    """Core of the server, core of the transcoder, share of time that the server waits for a core, latencies."""
    http_port, rtmp_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="bench-ingest-") as directory:
        settings = {
            "http.host": "127.0.0.1", "http.port": http_port, "rtc.udp_port": 0, "rtc.bind": '["127.0.0.1"]',
            "rtc.include_loopback": "true", "auth.keys": f'{{key: "{SECRET}"}}', "ingest.rtmp_port": rtmp_port,
            "ingest.keys_file": f"{directory}/keys.json", "log.level": "warning",
            "bandwidth.enabled": "false",  # this viewer sends no feedback
        }  # fmt: skip
        flags = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "sfu", "serve", *flags)
        try:
            async with aiohttp.ClientSession() as http:
                url = f"http://127.0.0.1:{http_port}"
                key = await _key(http, url)
                client = Client(http, url, token("viewer", room_join=True, room_create=True))
                await client.join()
                sent: list[float] = []
                arrived: dict[int, float] = {}
                watching = asyncio.create_task(watch(client, arrived))
                publishing = asyncio.create_task(
                    publish(rtmp_port, key, prepared, seconds + SETTLING + 1, sent, sound=sound)
                )
                await asyncio.sleep(SETTLING)
                pids = children(process.pid)
                before, before_children, began = cpu([process.pid]), cpu(pids), time.monotonic()
                before_waiting = waiting(process.pid)
                await asyncio.sleep(seconds)
                elapsed = time.monotonic() - began
                server, transcoder = cpu([process.pid]) - before, cpu(pids) - before_children
                waited = waiting(process.pid) - before_waiting
                await publishing
                watching.cancel()
                await client.close()
        finally:
            process.terminate()
            await process.wait()
    return server / elapsed, transcoder / elapsed, waited / elapsed, latencies(sent, arrived)


async def _key(http: aiohttp.ClientSession, url: str) -> str:
    headers = {"Authorization": f"Bearer {token('operator', room_admin=True)}"}
    for _ in range(200):
        try:
            async with http.post(
                f"{url}/api/v1/rooms/{ROOM}/ingest", headers=headers, json={"identity": "encoder"}
            ) as answer:
                created: Any = await answer.json()
                return str(created["key"])
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.1)
    raise TimeoutError("the server did not start")


def latencies(sent: list[float], arrived: dict[int, float]) -> list[float]:
    """Matches pictures by their timestamps. The fastest of all pictures takes less than a frame interval."""
    first = next(iter(arrived))
    numbers = [round(((timestamp - first) & 0xFFFFFFFF) / 3000) for timestamp in arrived]
    times = list(arrived.values())
    for start in range(len(sent) - numbers[-1] - 1, -1, -1):
        found = [at - sent[start + number] for number, at in zip(numbers, times, strict=True)]
        if min(found) >= 0:
            return found
    raise ValueError("pictures arrived before they were sent")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15)
    given = parser.parse_args()
    prepared = prepare()
    rate = 8 * 30 * sum(len(one.data) for one in prepared.video) / len(prepared.video) / 1e6
    print(f"1080p30 at {rate:.1f} Mbit/s\n")
    print("| stream | server, core | transcoder, core | sum | goal | waiting | latency mean | p99 | goal |")
    print("|" + "---|" * 9)
    failed = False
    for name, goal in GOALS.items():
        server, transcoder, waited, found = asyncio.run(measure(prepared, given.seconds, sound=name != "video"))
        mean, p99 = statistics.mean(found), sorted(found)[int(len(found) * 0.99)]
        failed |= server + transcoder > goal or mean > MEAN_GOAL or p99 > P99_GOAL
        print(
            f"| {name} | {server:.3f} | {transcoder:.3f} | {server + transcoder:.3f} | {goal} | {waited:.3f} "
            f"| {1000 * mean:.1f} ms | {1000 * p99:.1f} ms | 60 / 120 ms |",
            flush=True,
        )
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
