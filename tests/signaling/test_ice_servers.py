"""sfu.signaling.ice_servers: who gets new ICE servers, in which order, and who restarts ICE."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from sfu.auth.tokens import Claims
from sfu.signaling.ice_servers import BATCH, IceServerUpdates
from sfu.signaling.messages import IceServer, IceServersChanged, ServerMessage
from tests.signaling.fakes import claims

RELAY = "198.51.100.7"


@dataclass(eq=False)
class FakeReceiver:
    claims: Claims
    log: list[tuple[str, bool]]
    attached: bool = True
    remote_hosts: frozenset[str] = frozenset()
    received: list[IceServersChanged] = field(default_factory=list)

    def send(self, message: ServerMessage) -> None:
        assert isinstance(message, IceServersChanged)
        self.received.append(message)
        self.log.append((self.claims.identity, message.restart))


def receivers(*identities: str, **fields: Any) -> tuple[list[FakeReceiver], list[tuple[str, bool]]]:
    log: list[tuple[str, bool]] = []
    return [FakeReceiver(claims(identity), log, **fields) for identity in identities], log


def updates() -> IceServerUpdates:
    return IceServerUpdates(lambda claims: (IceServer(urls=["turn:b"], username=claims.identity),))


async def test_sessions_at_a_failed_relay_come_first_and_restart() -> None:
    found, log = receivers("ada", "bob", "eve")
    found[2].remote_hosts = frozenset({RELAY, "203.0.113.5"})
    updates().update(found, frozenset({RELAY}))
    assert log[0] == ("eve", True)
    assert sorted(log[1:]) == [("ada", False), ("bob", False)]
    assert found[0].received[0].ice_servers[0].username == "ada"


async def test_a_detached_session_gets_them_when_it_resumes() -> None:
    found, log = receivers("ada", attached=False)
    updates().update(found, frozenset())
    assert log == []


async def test_many_sessions_are_served_in_batches() -> None:
    found, log = receivers(*(f"p{number}" for number in range(3 * BATCH)))
    sender = updates()
    sender.update(found, frozenset())
    assert len(log) == BATCH
    found[0].remote_hosts = frozenset({RELAY})
    sender.update(found, frozenset({RELAY}))  # begins again: everyone gets the newest servers
    async with asyncio.timeout(10):
        while sum(restart for _, restart in log) == 0 or len({name for name, _ in log}) < len(found):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert [name for name, restart in log if restart] == ["p0"]


async def test_close_stops_it() -> None:
    found, log = receivers(*(f"p{number}" for number in range(3 * BATCH)))
    sender = updates()
    sender.update(found, frozenset())
    sender.close()
    await asyncio.sleep(0.05)
    assert len(log) == BATCH
