"""Sends sessions their ICE servers again when these change, so that a later ICE restart uses servers that work."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from sfu.auth.tokens import Claims
from sfu.signaling.messages import IceServer, IceServersChanged, ServerMessage

BATCH: Final = 20
"""Sessions per turn; signing credentials and sending them costs about 40 µs each."""
BATCH_INTERVAL: Final = 0.01
"""Seconds between two batches: 10,000 sessions take 5 s."""


class Receiver(Protocol):
    """A session that has joined."""

    @property
    def claims(self) -> Claims: ...

    @property
    def attached(self) -> bool: ...

    @property
    def remote_hosts(self) -> frozenset[str]:
        """IP addresses that the server sends its media to."""

    def send(self, message: ServerMessage) -> None: ...


class IceServerUpdates:
    """Needs a running loop."""

    def __init__(self, ice_servers: Callable[[Claims], Sequence[IceServer]]) -> None:
        self._ice_servers = ice_servers
        self._pending: list[tuple[Receiver, bool]] = []
        "Sessions and whether their media has to leave its TURN server, in reverse order."
        self._timer: asyncio.TimerHandle | None = None

    def update(self, receivers: Iterable[Receiver], failed_hosts: frozenset[str]) -> None:
        """Sends all sessions new ICE servers; those whose media passes `failed_hosts` (IP addresses) come first and restart
        ICE."""
        restarting = {receiver for receiver, restart in self._pending if restart}
        found = [
            (receiver, receiver in restarting or bool(failed_hosts & receiver.remote_hosts)) for receiver in receivers
        ]
        self._pending = sorted(found, key=lambda each: each[1])
        if self._timer is None:
            self._send()

    def _send(self) -> None:
        for _ in range(min(BATCH, len(self._pending))):
            receiver, restart = self._pending.pop()
            # A session without a socket gets its ICE servers when it resumes.
            if receiver.attached:
                servers = list(self._ice_servers(receiver.claims))
                receiver.send(IceServersChanged(ice_servers=servers, restart=restart))
        self._timer = None
        if self._pending:
            self._timer = asyncio.get_running_loop().call_later(BATCH_INTERVAL, self._send)

    def close(self) -> None:
        self._pending.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
