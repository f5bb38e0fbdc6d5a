"""A second host behind a bad line, on one machine: network namespaces, and a process that is the line between them.

The line is made of the same links as the virtual network's, run by the real clock, so that what a scenario says of a path
can be asked of real programs on a real one. Needs root (namespaces and TUN devices).
"""

import asyncio
import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tests.support.network import Burst, Link, Network

NEAR, FAR = "10.77.0.1", "10.77.0.2"
"""The addresses on both ends of the line."""
PUBLIC = "203.0.113.1"
"""Another address of the near end, for clients that treat private addresses differently."""
CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001
COUNTERS = ("entered", "delivered", "lost", "overflowed")
OVERHEAD = 18
"""Ethernet's, with its checksum."""
libc = ctypes.CDLL(None, use_errno=True)


def possible() -> str:
    """Why there can be no namespaces here, empty if there can."""
    if os.geteuid() != 0:
        return "namespaces need root"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "there is no /dev/net/tun"
    return "" if shutil.which("ip") else "there is no ip command (iproute2)"


@contextmanager
def own_namespace() -> Iterator[None]:
    """Sockets and processes that this thread opens within the block have a network namespace with a loopback interface only."""
    with open("/proc/self/ns/net", "rb") as before:
        _check(libc.unshare(CLONE_NEWNET))
        try:
            os.system("ip link set lo up")
            yield
        finally:
            _check(libc.setns(before.fileno(), CLONE_NEWNET))


class Line:
    """The way between here and a host that is called `name`."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    async def set(self, direction: str, **values: Any) -> None:
        """`direction`: "out" (towards the far host) or "back". Values: rate (bits per second), queue, delay, jitter
        (seconds), loss (0–1), burst (datagrams, with loss)."""
        await self._say({"direction": direction, **values})

    async def allow_tcp(self, *ports: int) -> None:
        """A firewall in the line: drops all packets but TCP, and with `ports` all but TCP to and from these."""
        await self._say({"tcp": list(ports)})

    async def counters(self) -> dict[str, dict[str, int]]:
        """Of both directions: entered, delivered, lost, overflowed."""
        found: dict[str, dict[str, int]] = await self._say({})
        return found

    @contextmanager
    def there(self) -> Iterator[None]:
        """Sockets that this thread opens within the block belong to the far host."""
        with open("/proc/thread-self/ns/net", "rb") as near, open(f"/var/run/netns/{self.name}", "rb") as far:
            _check(libc.setns(far.fileno(), CLONE_NEWNET))
            try:
                yield
            finally:
                _check(libc.setns(near.fileno(), CLONE_NEWNET))

    async def _say(self, order: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return json.loads(await asyncio.wait_for(self._process.stdout.readline(), 5))

    def program(self, folder: Path, path: str) -> Path:
        """A program that runs `path` on the far host."""
        script = folder / f"far-{Path(path).name}"
        script.write_text(f'#!/bin/sh\nexec ip netns exec {self.name} {path} "$@"\n')
        script.chmod(0o755)
        return script


@asynccontextmanager
async def far_host() -> AsyncIterator[Line]:
    """A host at FAR, reached from this namespace (NEAR) over a line that is perfect at first."""
    name = f"far{os.getpid()}"
    await _ip("netns", "add", name)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.impaired", name),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), 10)
        try:
            await _ip("addr", "add", f"{NEAR}/24", "dev", "near")
            await _ip("link", "set", "near", "up")
            for words in (("addr", "add", f"{FAR}/24", "dev", "far"), ("link", "set", "far", "up"),
                          ("link", "set", "lo", "up"), ("route", "add", "default", "via", NEAR)):  # fmt: skip
                await _ip("-n", name, *words)
            await _ip("addr", "add", f"{PUBLIC}/32", "dev", "lo")
            yield Line(name, process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    finally:
        await _ip("netns", "del", name)


async def _ip(*words: str) -> None:
    process = await asyncio.create_subprocess_exec("ip", *words, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 0, f"ip {' '.join(words)}: {said.decode()}"


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


# -- the process that is the line -----------------------------------------------------------------------------------


def _device(name: str) -> int:
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN_NO_PI))
    return tun


def _order(links: dict[str, Link], order: dict[str, Any]) -> None:
    link = links[order.pop("direction")]
    loss, length = order.pop("loss", None), order.pop("burst", None)
    if loss is not None:
        link.loss, link.burst = (0.0, Burst.of(loss, length)) if length and loss else (loss, None)
    if "rate" in order:
        link.set_rate(order.pop("rate") or 1e12)
    for key in ("queue", "delay", "jitter", "reorder"):
        if key in order:
            setattr(link, key, order.pop(key))
    if order:
        raise ValueError(f"unknown: {', '.join(order)}")


def _carry(far_namespace: str) -> None:
    near = _device("near")
    with open(f"/var/run/netns/{far_namespace}", "rb") as namespace:
        _check(libc.setns(namespace.fileno(), CLONE_NEWNET))
    far = _device("far")
    network = Network(1, start=time.monotonic())
    links = {name: Link(network, rate=1e12, overhead=OVERHEAD) for name in ("out", "back")}
    ways = {near: (links["out"], far), far: (links["back"], near)}
    poll = select.epoll()
    for descriptor in (near, far, 0):
        poll.register(descriptor, select.EPOLLIN)
    print("ready", flush=True)
    allowed: list[int] | None = None
    while True:
        # the kernel rounds up to a millisecond: looked at again sooner while something is due
        due = network._events[0][0] - time.monotonic() if network._events else 1.0
        for descriptor, _ in poll.poll(max(0.0, due)):
            network.run(time.monotonic())
            if descriptor == 0:
                line = sys.stdin.readline()
                if not line:
                    return
                order = json.loads(line)
                allowed = order.pop("tcp", allowed)
                if order:
                    _order(links, order)
                found = {name: {key: getattr(link, key) for key in COUNTERS} for name, link in links.items()}
                print(json.dumps(found), flush=True)
                continue
            link, out = ways[descriptor]
            with contextlib.suppress(BlockingIOError):
                for _ in range(64):
                    packet = os.read(descriptor, 65535)
                    if allowed is not None and not _passes(packet, allowed):
                        continue
                    link.send(packet, len(packet), lambda arrived, out=out: _write(out, arrived))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            link.waits.clear()
        network.run(time.monotonic())


def _passes(packet: bytes, ports: list[int]) -> bool:
    if packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP:
        return False
    return not ports or any(port in ports for port in struct.unpack_from("!HH", packet, (packet[0] & 15) * 4))


def _write(device: int, packet: bytes) -> None:
    with contextlib.suppress(OSError):  # the device is not up yet, or its queue is full
        os.write(device, packet)


if __name__ == "__main__":
    _carry(sys.argv[1])
