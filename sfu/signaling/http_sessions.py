"""The sessions that HTTP requests create (WHIP, RFC 9725; WHEP): their table, their limits and their periodic checks.

A session has no socket. It ends with DELETE, with its media connection (ICE consent, RFC 7675), or by moderation.
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import Iterator
from typing import Final

from sfu.auth.addresses import limit_key
from sfu.errors import AtCapacity, RateLimited
from sfu.signaling.context import Context
from sfu.signaling.http_session import HttpSession
from sfu.signaling.token_bucket import TokenBucket

logger = logging.getLogger(__name__)

RATE_LIMIT_ENTRIES: Final = 4_096
"""Addresses whose rate of new sessions is remembered; beyond it, the oldest is forgotten."""
UNCONNECTED_RETRY_AFTER: Final = 5.0
"""Seconds after which an address with too many unconnected sessions may try again."""


class HttpSessions:
    """An HttpSessionTable. Sessions are found by the secret in their URL."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._by_key: dict[str, HttpSession] = {}
        self._by_address: dict[str, dict[HttpSession, None]] = {}
        self._rates: OrderedDict[str, TokenBucket] = OrderedDict()
        "Rate of new sessions by address, least recently used first."

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[HttpSession]:
        """Iterates over a copy, so that sessions may end meanwhile."""
        return iter(list(self._by_key.values()))

    def by_protocol(self) -> dict[str, int]:
        return {"whip": 0, "whep": 0, **Counter(session.protocol for session in self._by_key.values())}

    def find(self, key: str) -> HttpSession | None:
        return self._by_key.get(key)

    def add(self, session: HttpSession) -> None:
        self._by_key[session.key] = session
        self._by_address.setdefault(limit_key(session.address), {})[session] = None

    def remove(self, session: HttpSession) -> None:
        """Idempotent."""
        if self._by_key.pop(session.key, None) is None:
            return
        address = limit_key(session.address)
        sessions = self._by_address[address]
        del sessions[session]
        if not sessions:
            del self._by_address[address]

    def admit(self, address: str) -> None:
        """Checks the limits for one more session of this address. Raises AtCapacity or RateLimited."""
        context, settings = self._context, self._context.settings
        if context.draining:
            raise AtCapacity("This server is going down; try another.", code="draining")
        if len(self._by_key) >= settings.max_http_sessions:
            raise AtCapacity("This server is full and accepts no more sessions. Try again later.")
        key = limit_key(address)
        bucket = self._rates.pop(key, None) or TokenBucket(
            settings.http_session_rate, settings.http_session_burst, context.now()
        )
        self._rates[key] = bucket
        if len(self._rates) > RATE_LIMIT_ENTRIES:
            self._rates.popitem(last=False)
        if not bucket.take(1.0, context.now()):
            context.counters.rate_limited += 1
            raise RateLimited("Too many new sessions from your address.", retry_after=bucket.wait(1.0))
        unconnected = sum(not session.connected for session in self._by_address.get(key, ()))
        if unconnected >= settings.unjoined_per_address:
            raise RateLimited(
                "Too many sessions from your address that have not sent media.", retry_after=UNCONNECTED_RETRY_AFTER
            )

    def check(self, now: float, wall: float) -> None:
        """Ends expired and overloading sessions. `now`: monotonic seconds. `wall`: seconds since 1970."""
        context = self._context
        for session in self:
            if any(budget.exceeded(now) for budget in session.budgets.values()):
                context.counters.overloads += 1
                logger.warning("participant takes too much loop time", extra={"protocol": session.protocol})
                session.disconnect("protocol_error", "This connection takes too much of the server's time.")
            elif context.settings.end_with_token and session.claims.expires_at <= wall:
                session.disconnect("token_expired", "Your access has expired.")
            elif context.access.is_revoked(session.claims):
                session.disconnect("kicked", "Your access was revoked.")

    def close(self, message: str) -> None:
        for session in self:
            session.disconnect("draining", message)
