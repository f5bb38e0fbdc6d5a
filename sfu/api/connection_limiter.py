"""Limits HTTP connections in total and per client address, so that one client cannot use up all connections.

A connection counts from its acceptance (with TLS: from the end of the handshake), before any byte of a request is read. All
connections of a trusted reverse proxy come from one address; therefore its active requests, WebSockets included, are counted
per client instead. An IPv6 /64 counts as one address, because it is the usual allocation of one customer.
"""

import json
import logging
import time
from collections import Counter

from sfu.api.settings import Settings
from sfu.auth.addresses import ClientAddresses, limit_key

log = logging.getLogger("sfu.api")

RETRY_AFTER = 5
"""`Retry-After` of refused connections, in seconds."""
LOG_INTERVAL = 60.0
"""Minimum seconds between log records about refusals with the same reason."""
MAX_PENDING_REFUSALS = 64
"""Maximum refused connections that stay open to receive an error response; further ones are closed at once."""

_RESPONSES = {
    "total": ("503 Service Unavailable", "at_capacity", "This server accepts no more connections. Try again later."),
    "address": ("429 Too Many Requests", "too_many_connections", "Too many connections from your address."),
}


class ConnectionLimiter:
    """Counts the connections of the server. `refused` counts refusals by reason: `total`, `address`, `late_head`."""

    def __init__(self, settings: Settings, addresses: ClientAddresses | None = None) -> None:
        self.addresses = addresses or ClientAddresses(settings.proxy_networks, header=settings.forwarded_header)
        self._max_connections = settings.max_connections
        self._max_per_address = settings.connections_per_address
        self._by_address: Counter[str] = Counter()
        self.open = 0
        self.unanswered = 0
        "Refused connections that are still open to receive an error response."
        self.refused: Counter[str] = Counter({"total": 0, "address": 0, "late_head": 0})
        self._logged_at: dict[str, float] = {}

    def enter(self, address: str) -> str:
        """Admits a connection from `address`. Returns the reason of a refusal; if empty, the caller must call `leave`."""
        if self.open >= self._max_connections:
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
        """Admits a proxied request of a client. Returns the reason of a refusal; if empty, the caller must call `end`."""
        return "" if self._add(client) else self._refuse("address", client)

    def end(self, client: str) -> None:
        self._remove(client)

    def is_proxy(self, address: str) -> bool:
        return self.addresses.is_proxy(address)

    def _add(self, address: str) -> bool:
        key = limit_key(address)
        if self._by_address[key] >= self._max_per_address:
            return False
        self._by_address[key] += 1
        return True

    def _remove(self, address: str) -> None:
        key = limit_key(address)
        self._by_address[key] -= 1
        if self._by_address[key] <= 0:
            del self._by_address[key]

    def _refuse(self, reason: str, address: str) -> str:
        self.refused[reason] += 1
        now = time.monotonic()
        if now - self._logged_at.get(reason, -LOG_INTERVAL) >= LOG_INTERVAL:
            self._logged_at[reason] = now
            log.warning("connections refused", extra={"reason": reason, "remote": address, "open": self.open})
        return reason


def refusal_response(reason: str) -> bytes:
    """The raw HTTP response to a refused connection."""
    status, code, message = _RESPONSES[reason]
    body = json.dumps({"code": code, "message": message}, separators=(",", ":"))
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"Retry-After: {RETRY_AFTER}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{body}"
    ).encode()
