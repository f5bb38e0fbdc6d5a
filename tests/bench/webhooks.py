"""`python -m tests.bench.webhooks`: 1,000 webhooks a second to a fast receiver in another process.

One event per request, in order per room, over kept-alive connections, through the outbox on disk. Reports what arrived, the
CPU time of the sender per webhook, the time that a room takes to report an event, and the lag of the event loop.
"""

import argparse
import asyncio
import gc
import json
import multiprocessing
import tempfile
import time
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

from sfu.app import GARBAGE_THRESHOLDS
from sfu.events.events import Events
from sfu.events.settings import Endpoint, Settings, Webhooks
from sfu.rooms import Rooms
from sfu.rooms import Settings as RoomsSettings

KEYS = {"bench": "a-secret-of-thirty-two-bytes-or-more"}
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
TICK = 0.01


async def receive(pipe: Connection) -> None:
    """A minimal receiver: keeps the sequence of each room, and answers."""
    sequences: dict[str, list[int]] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                event = json.loads(await reader.readexactly(length))
                sequences.setdefault(event["room"]["name"], []).append(event["sequence"])
                writer.write(RESPONSE)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    pipe.send(server.sockets[0].getsockname()[1])
    await asyncio.to_thread(pipe.recv)
    pipe.send(sequences)


def run_receiver(pipe: Connection) -> None:
    asyncio.run(receive(pipe))


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))] * 1000


async def send(url: str, directory: Path, rate: int, seconds: int, room_count: int) -> int:
    webhooks = Webhooks(endpoints=(Endpoint(url=url),), private=True)
    events = Events(Settings(directory=str(directory), webhooks=webhooks), KEYS)
    await events.open()
    assert events.webhooks is not None
    ids = count()
    rooms = Rooms(RoomsSettings(), lambda prefix: f"{prefix}_{next(ids)}", time.time, events.stream.observe_room)
    opened = [rooms.create(f"room-{number}") for number in range(room_count)]
    reports: list[float] = []
    lags: list[float] = []
    cpu, main_cpu, began = time.process_time(), time.thread_time(), time.perf_counter()
    sent = room_count
    total = rate * seconds
    due = began
    while sent < total:
        due += TICK
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        now = time.perf_counter()
        lags.append(max(0.0, now - due))
        for _ in range(min(total - sent, int((now - began) * rate) - sent)):
            room = opened[sent % room_count]
            before = time.perf_counter()
            room.moderation.update(None, locked=not room.locked)
            reports.append(time.perf_counter() - before)
            sent += 1
    while events.stream.published < total or any(state.queued for state in events.webhooks.states()):  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    took = time.perf_counter() - began
    cpu, main_cpu = time.process_time() - cpu, time.thread_time() - main_cpu
    (state,) = events.webhooks.states()
    print(f"{total:,} events in {took:.1f} s: {total / took:,.0f}/s, failed attempts {state.delivery.failed}")
    print(f"CPU per webhook: {cpu / total * 1e6:.0f} µs, on the event loop {main_cpu / total * 1e6:.0f} µs")
    print(f"a room reports an event in {percentile(reports, 0.5):.3f} ms (p99 {percentile(reports, 0.99):.3f} ms)")
    print(
        f"event loop lag p50 {percentile(lags, 0.5):.1f} ms, p99 {percentile(lags, 0.99):.1f} ms, max {max(lags) * 1000:.1f} ms"
    )
    await events.close()
    return total


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rooms", type=int, default=100)
    given = parser.parse_args()
    gc.collect()
    gc.freeze()  # as the server does: full collections would show as lag
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    receiver = multiprocessing.get_context("spawn").Process(target=run_receiver, args=(theirs,))
    receiver.start()
    url = f"http://127.0.0.1:{ours.recv()}/"
    with tempfile.TemporaryDirectory() as directory:
        total = asyncio.run(send(url, Path(directory), given.rate, given.seconds, given.rooms))
    ours.send(None)
    sequences: dict[str, list[int]] = ours.recv()
    receiver.join()
    arrived = sum(len(set(each)) for each in sequences.values())
    in_order = all(each == sorted(each) for each in sequences.values())
    print(f"arrived {arrived:,} of {total:,}, {'in order' if in_order else 'NOT in order'} per room")
    return 0 if arrived == total and in_order else 1


if __name__ == "__main__":
    raise SystemExit(main())
