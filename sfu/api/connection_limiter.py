"""How many HTTP connections there may be, in all and from one address, so that nobody can take them all from everybody else.

Counted as soon as a connection is there (with TLS of its own: is encrypted), before a byte of it is read. Connections of a
trusted reverse proxy all come from one address; its requests under way (sockets included) are counted instead, by client.
An IPv6 /64 counts as one address: it is what one customer is given.
"""

import ipaddress
import json
import logging
import time
from collections import Counter

from sfu.api.settings import Settings
from sfu.auth.addresses import ClientAddresses, parse_address

log = logging.getLogger("sfu.api")

RETRY_AFTER = 5
"""Seconds after which whoever is refused may come again."""
LOG_INTERVAL = 60.0
"""Seconds between two lines in the log about refusals: a flood is one event."""
MAX_PENDING_REFUSALS = 64
"""Refused connections that wait for their request to be answered; of more than these none hears why."""

_WORDS = {
    "total": ("503 Service Unavailable", "at_capacity", "This server takes no more connections. Try again later."),
    "address": ("429 Too Many Requests", "too_many_connections", "There are too many connections from your address."),
}


class ConnectionLimiter:
    """One for the server. Refusals are counted by reason: `total`, `address`, `late_head`."""

    def __init__(self, settings: Settings, addresses: ClientAddresses | None = None) -> None:
        self.addresses = addresses or ClientAddresses(settings.proxy_networks, header=settings.forwarded_header)
        self._most = settings.max_connections
        self._most_of_one = settings.connections_per_address
        self._of: Counter[str] = Counter()
        self.open = 0
        self.unanswered = 0
        "Refused connections whose request is awaited."
        self.refused: Counter[str] = Counter({"total": 0, "address": 0, "late_head": 0})
        self._logged_at: dict[str, float] = {}

    def enter(self, address: str) -> str:
        """A connection from there: why it is refused, or empty, and then `leave` has to follow."""
        if self.open >= self._most:
            return self._refuse("total", address)
        if not self.is_proxy(address) and not self._add(address):
            return self._refuse("address", address)
        self.open += 1
        return ""

    def leave(self, address: str) -> None:
        self.open -= 1
        if not self.is_proxy(address):
            self._remove(address)

    def begin(self, client: str) -> str:
        """A request of this client through a proxy: why it is refused, or empty, and then `end` has to follow."""
        return "" if self._add(client) else self._refuse("address", client)

    def end(self, client: str) -> None:
        self._remove(client)

    def is_proxy(self, address: str) -> bool:
        return self.addresses.is_proxy(address)

    def _add(self, address: str) -> bool:
        key = _key(address)
        if self._of[key] >= self._most_of_one:
            return False
        self._of[key] += 1
        return True

    def _remove(self, address: str) -> None:
        key = _key(address)
        self._of[key] -= 1
        if self._of[key] <= 0:
            del self._of[key]

    def _refuse(self, reason: str, address: str) -> str:
        self.refused[reason] += 1
        now = time.monotonic()
        if now - self._logged_at.get(reason, -LOG_INTERVAL) >= LOG_INTERVAL:
            self._logged_at[reason] = now
            log.warning("connections refused", extra={"reason": reason, "remote": address, "open": self.open})
        return reason


def refusal_response(reason: str) -> bytes:
    """The whole answer to whoever does not get as far as HTTP."""
    status, code, message = _WORDS[reason]
    body = json.dumps({"code": code, "message": message}, separators=(",", ":"))
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"Retry-After: {RETRY_AFTER}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{body}"
    ).encode()


def _key(address: str) -> str:
    found = parse_address(address)
    if found is None:
        return address
    return str(found) if found.version == 4 else str(ipaddress.ip_network((int(found), 64), strict=False))
