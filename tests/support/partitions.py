"""Hosts on this machine that can be cut off from each other: a network namespace each, around a router in another one.

Needs root. The test itself runs on the router, so its clients reach all hosts whatever is cut.
"""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.impaired import CLONE_NEWNET, _check, _ip, libc

NETWORK = "10.78"


def possible() -> str:
    """Why there can be no namespaces here, empty if there can."""
    if os.geteuid() != 0:
        return "namespaces need root"
    return "" if shutil.which("ip") else "there is no ip command (iproute2)"


@dataclass
class Hosts:
    router: str
    "Name of the namespace."
    addresses: dict[str, str] = field(default_factory=dict)
    "By name of the host."
    _cuts: list[tuple[str, str]] = field(default_factory=list)

    def command(self, host: str) -> tuple[str, ...]:
        """The words before a command that runs on the host."""
        return ("ip", "netns", "exec", self.namespace(host))

    def namespace(self, host: str) -> str:
        return f"{self.router}-{host}"

    async def cut(self, one: str, other: str) -> None:
        """Drops all packets between two hosts."""
        addresses = self.addresses[one], self.addresses[other]
        for source, target in (addresses, addresses[::-1]):
            await self._rule("add", source, target)
            self._cuts.append((source, target))

    async def heal(self) -> None:
        """Undoes all cuts."""
        cuts, self._cuts = self._cuts, []
        for source, target in cuts:
            await self._rule("del", source, target)

    async def _rule(self, action: str, source: str, target: str) -> None:
        await _ip("-n", self.router, "rule", action, "from", source, "to", target, "blackhole", "pref", "100")

    async def add(self, host: str) -> None:
        number = len(self.addresses) + 1
        namespace, near = self.namespace(host), f"to-{host}"
        await _ip("netns", "add", namespace)
        self.addresses[host] = f"{NETWORK}.{number}.2"
        await _ip("-n", self.router, "link", "add", near, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        await _ip("-n", self.router, "addr", "add", f"{NETWORK}.{number}.1/24", "dev", near)
        await _ip("-n", self.router, "link", "set", near, "up")
        for words in (
            ("addr", "add", f"{self.addresses[host]}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
            ("route", "add", "default", "via", f"{NETWORK}.{number}.1"),
        ):
            await _ip("-n", namespace, *words)


@asynccontextmanager
async def hosts(*names: str) -> AsyncIterator[Hosts]:
    """The sockets and processes that this thread opens within the block are on the router."""
    found = Hosts(f"sfu{os.getpid()}")
    await _ip("netns", "add", found.router)
    try:
        await _ip("-n", found.router, "link", "set", "lo", "up")
        for name in names:
            await found.add(name)
        with _within(found.router):
            yield found
    finally:
        for namespace in (*(found.namespace(name) for name in found.addresses), found.router):
            with suppress(AssertionError):
                await _ip("netns", "del", namespace)


@contextmanager
def _within(router: str) -> Iterator[None]:
    """This thread is on the router, which forwards."""
    with open("/proc/thread-self/ns/net", "rb") as before, open(f"/var/run/netns/{router}", "rb") as there:
        _check(libc.setns(there.fileno(), CLONE_NEWNET))
        try:
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")  # of this namespace
            yield
        finally:
            _check(libc.setns(before.fileno(), CLONE_NEWNET))
