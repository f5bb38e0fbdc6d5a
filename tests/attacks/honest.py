"""Two honest people in a process of their own: `python -m tests.attacks.honest URL TOKEN TOKEN`.

One speaks 200 packets a second and shows a picture, the other listens; each packet carries when it was sent, the kernel says
when it arrived, so that what the figures show is the server's. For each line on standard input it prints the figures of
the packets sent since the line before, as JSON; it ends with standard input.
"""

import asyncio
import contextlib
import json
import socket
import struct
import subprocess
import sys
import time

import aiohttp

from tests.support.client import Client
from tests.support.wire import rtp, vp8

EVERY = 0.005
PICTURE_EVERY = 20
CHECK_EVERY = 400
LATE = 0.25
"""Seconds that the last packets of a window get to arrive, at most."""
SO_TIMESTAMPNS = 35


class Ears:
    """Takes over the listener's socket."""

    def __init__(self, client: Client) -> None:
        self._peer = client.subscribing
        self.latency: dict[int, float] = {}
        self.pictures = 0
        self._peer.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        asyncio.get_running_loop().add_reader(self._peer.sock.fileno(), self._readable)

    def _readable(self) -> None:
        while True:
            try:
                data, ancillary, _, _ = self._peer.sock.recvmsg(2048, 64)
            except BlockingIOError:
                return
            if not 127 < data[0] < 192 or 191 < data[1] < 224:
                continue
            assert self._peer.rx is not None
            payload = self._peer.rx.session.unprotect(data)
            if data[1] & 0x7F != 111:
                self.pictures += 1
                continue
            number, sent = struct.unpack("!QQ", payload[-16:])
            seconds, nanoseconds = struct.unpack("@qq", ancillary[0][2])
            self.latency[number] = (seconds * 1_000_000_000 + nanoseconds - sent) / 1e9


REFLECTOR = """
import socket, sys
mirror = socket.fromfd(0, socket.AF_INET, socket.SOCK_DGRAM)
while True:
    mirror.sendto(*mirror.recvfrom(64))
"""


class Mirror:
    """Delays of packets on the way to another process and back, by their number."""

    def __init__(self) -> None:
        self.latency: dict[int, float] = {}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
            far.bind(("127.0.0.1", 0))
            self._far = far.getsockname()
            self._process = subprocess.Popen([sys.executable, "-S", "-c", REFLECTOR], stdin=far.fileno())
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.setblocking(False)
        self._sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._sock.bind(("127.0.0.1", 0))
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._readable)

    def send(self, number: int) -> None:
        with contextlib.suppress(OSError):  # the network is gone
            self._sock.sendto(struct.pack("!QQ", number, time.time_ns()), self._far)

    def _readable(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, ancillary, _, _ = self._sock.recvmsg(64, 64)
                number, sent = struct.unpack("!QQ", data)
                seconds, nanoseconds = struct.unpack("@qq", ancillary[0][2])
                self.latency[number] = (seconds * 1_000_000_000 + nanoseconds - sent) / 1e9

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._sock.fileno())
        self._sock.close()
        self._process.kill()
        self._process.wait()


def taken(latency: dict[int, float], begin: int, end: int) -> list[float]:
    """The delays of these packets, sorted."""
    return sorted(latency.pop(number) for number in range(begin, end) if number in latency)


async def main(url: str, *tokens: str) -> None:
    async with aiohttp.ClientSession() as http:
        speaker, listener = (Client(http, url, token) for token in tokens)
        await speaker.join()
        await speaker.publish()
        await listener.join()
        await listener.until(lambda: listener.subscribing.tx)
        ears, mirror = Ears(listener), Mirror()
        state = [0]

        async def speak() -> None:
            loop, started = asyncio.get_running_loop(), time.monotonic()
            while True:
                number = state[0] = state[0] + 1
                payload = struct.pack("!QQ", number, time.time_ns())
                timestamp, sequence = 240 * number & 0xFFFFFFFF, number & 0xFFFF
                extensions = {4: b"0", 1: b"\x14"}
                speaker.publishing.send(
                    rtp(
                        payload, ssrc=1, sequence=sequence, timestamp=timestamp, payload_type=111, extensions=extensions
                    )
                )
                mirror.send(number)
                if number % PICTURE_EVERY == 1:
                    at = number // PICTURE_EVERY & 0xFFFF
                    timestamp = 9000 * at & 0xFFFFFFFF
                    picture = rtp(vp8(key=True), ssrc=2, sequence=at, timestamp=timestamp, extensions={4: b"1"})
                    speaker.publishing.send(picture)
                if number % CHECK_EVERY == 0:
                    speaker.publishing.check()
                    listener.subscribing.check()
                if number % 100 == 0:
                    speaker.publishing.pump()
                    speaker.publishing.received.clear()
                await asyncio.sleep(max(0.0, started + number * EVERY - time.monotonic()))
                if loop.time() - started > 600:
                    return

        async def arrivals(begin: int, end: int) -> None:
            """Waits until all these packets have arrived, or for `LATE` seconds."""
            deadline = time.monotonic() + LATE
            missing = {(kind, number) for kind in (0, 1) for number in range(begin, end)}
            while missing and time.monotonic() < deadline:
                await asyncio.sleep(EVERY)
                missing = {(kind, number) for kind, number in missing if number not in (ears, mirror)[kind].latency}

        talking = asyncio.create_task(speak())
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while not ears.latency:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        begin = state[0] + 1
        print("ready", flush=True)
        while await lines.readline():
            end = state[0] + 1
            await arrivals(begin, end)
            seen, machine = taken(ears.latency, begin, end), taken(mirror.latency, begin, end)
            print(
                json.dumps(
                    {
                        "sent": end - begin,
                        "received": len(seen),
                        "p99": seen[int(len(seen) * 0.99)] if seen else 9.0,
                        "longest": seen[-1] if seen else 9.0,
                        "machine_p99": machine[int(len(machine) * 0.99)] if machine else 0.0,
                        "machine_longest": machine[-1] if machine else 0.0,
                    }
                ),
                flush=True,
            )
            begin = end
        talking.cancel()
        mirror.close()
        asyncio.get_running_loop().remove_reader(listener.subscribing.sock.fileno())
        await speaker.close()
        await listener.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
