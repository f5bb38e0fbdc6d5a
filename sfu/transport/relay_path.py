"""The path of media to another node: found and watched by STUN checks in both directions. Sans-IO.

Each node sends Binding requests to all addresses that the other node announced or checked from, and sends media to the first
one that answers. A request proves the address that it comes from. Its transaction id begins with a counter, so that a
recorded request proves nothing when it is sent again. RFC 8489 (STUN); `now` is monotonic seconds.
"""

import ipaddress
import os
from collections.abc import Callable, Iterable
from typing import Final

from sfu.forwarding.peer_transport import Address
from sfu.transport import stun
from sfu.transport.relay_keys import SessionKeys

SEARCH_INTERVAL: Final = 0.1
"""Seconds between checks while no address has answered."""
WATCH_INTERVAL: Final = 0.5
"""Seconds between checks of a working path."""
LOST_AFTER: Final = 2.0
"""Seconds without an answer after which the path is lost."""
ADDRESSES_LIMIT: Final = 16
"""Addresses that are checked. Beyond it, the one that was learned first is forgotten."""
PENDING_LIMIT: Final = 64
COUNTER_BYTES: Final = 8


class RelayPath:
    """Belongs to one session of two nodes."""

    def __init__(
        self, keys: SessionKeys, addresses: Iterable[Address], now: float, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._keys = keys
        self._random = random
        self._addresses: dict[Address, bool] = dict.fromkeys(addresses, False)
        """Addresses of the other node, and whether it has checked from there."""
        self._username = f"{keys.send.ufrag}:{keys.receive.ufrag}"
        self._pending: dict[bytes, tuple[Address, float]] = {}
        """Unanswered requests by transaction id."""
        self._counter = 0
        self._highest = 0
        """The highest counter of the other node's requests."""
        self._next = now
        self.selected: Address | None = None
        """Media are sent there."""
        self.answered_at = now
        """When the other node last answered from the selected address; before that, when the search began."""
        self.rtt: float | None = None

    @property
    def ufrag(self) -> str:
        """Our user fragment, which the other node's requests carry."""
        return self._keys.receive.ufrag

    def is_lost(self, now: float) -> bool:
        return now - self.answered_at > LOST_AFTER

    def is_open(self, now: float) -> bool:
        return self.selected is not None and not self.is_lost(now)

    def add(self, addresses: Iterable[Address]) -> None:
        """Checks these addresses as well, while no path works."""
        for address in addresses:
            if address not in self._addresses:
                while len(self._addresses) >= ADDRESSES_LIMIT:
                    del self._addresses[next(each for each in self._addresses if each != self.selected)]
                self._addresses[address] = False

    # -- our requests -----------------------------------------------------------------------------------------------

    def checks(self, now: float) -> list[tuple[Address, bytes]]:
        """Requests to send now."""
        if now < self._next:
            return []
        searching = not self.is_open(now)
        self._next = now + (SEARCH_INTERVAL if searching else WATCH_INTERVAL)
        targets = list(self._addresses) if searching or self.selected is None else [self.selected]
        return [(address, self._check(address, now)) for address in targets]

    def _check(self, address: Address, now: float) -> bytes:
        self._counter += 1
        transaction = self._counter.to_bytes(COUNTER_BYTES, "big") + self._random(12 - COUNTER_BYTES)
        self._pending[transaction] = (address, now)
        while len(self._pending) > PENDING_LIMIT:
            del self._pending[next(iter(self._pending))]
        return stun.binding_request(transaction, self._username, self._keys.send.password)

    def answer_received(self, data: memoryview, address: Address, now: float) -> bool:
        """Takes the answer to one of our requests. False: it is something else."""
        transaction = stun.response_transaction(data, self._keys.send.password)
        if transaction is None:
            return False
        asked, sent = self._pending.pop(transaction, (None, 0.0))
        if asked != address:
            return True
        if not self.is_open(now):
            self.selected = address
        if address == self.selected:
            self.answered_at = now
            self.rtt = now - sent
        return True

    # -- requests of the other node -----------------------------------------------------------------------------------

    def check_received(
        self, request: stun.BindingRequest, data: memoryview, address: Address, now: float
    ) -> bytes | None:
        """The password of the answer; None: the request is forged or was received before."""
        if request.username != f"{self._keys.receive.ufrag}:{self._keys.send.ufrag}":
            return None
        if not stun.verify(request, data, self._keys.receive.password):
            return None
        counter = int.from_bytes(request.transaction_id[:COUNTER_BYTES], "big")
        if counter <= self._highest:
            return None
        self._highest = counter
        self.add([address])
        if not self._addresses[address]:
            self._addresses[address] = True
            self._next = now  # check it in return
        return self._keys.receive.password


def socket_address(host: str, port: int) -> Address | None:
    """The address as sockets use it; None: `host` is not an IP address."""
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return None
    return (str(parsed), port) if parsed.version == 4 else (str(parsed), port, 0, 0)
