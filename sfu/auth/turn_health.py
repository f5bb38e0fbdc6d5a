"""Health of the TURN servers, judged by probes, and the order in which clients get them.

A server that answers late five times in a row is slow: clients get it after the others. A server that loses more than 15 %
of the probes of ten seconds, or refuses an allocation, has failed: clients do not get it. Both return when they are healthy.
Pure; `now` in monotonic seconds.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from sfu.errors import ConfigurationError

SLOW_LATENCY: Final = 0.3
"""Seconds. A slower answer is late."""
SLOW_COUNT: Final = 5
"""Late answers in a row that make a server slow, and punctual ones in a row that end it."""
LOSS_WINDOW: Final = 10.0
"""Seconds of probes that the loss ratio covers."""
LOSS_LIMIT: Final = 0.15
"""A server whose loss ratio is higher has failed."""
LOSS_RECOVERED: Final = 0.05
"""A failed server whose loss ratio is not higher is healthy again. The gap prevents a change with each lost probe."""
MIN_LOST: Final = 2
"""One lost probe proves nothing."""


class Server(NamedTuple):
    """A TURN server's address and transport, from its URL (RFC 7065)."""

    url: str
    host: str
    port: int
    transport: str
    "udp or tcp."
    tls: bool


class TurnState(Enum):
    HEALTHY = "healthy"
    SLOW = "slow"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TurnStatus:
    """A snapshot of one server."""

    url: str
    state: TurnState
    latency: float | None
    "Seconds, of the last answer; None: no answer yet."
    loss: float
    "Ratio of lost probes within the window."
    reason: str
    "Why the state is not healthy; empty: it is."
    since: float
    "Monotonic seconds of the last change of state."
    probes: int
    lost: int


def parse_url(url: str) -> Server:
    """A server of a `turn:` or `turns:` URL. Raises ConfigurationError."""
    scheme, _, rest = url.partition(":")
    place, _, query = rest.partition("?")
    host, colon, port = place.rpartition(":")
    if not colon or not port.isdigit():
        host, port = place, ""
    host = host.removeprefix("[").removesuffix("]")
    tls = scheme == "turns"
    transport = query.removeprefix("transport=") if query else "tcp" if tls else "udp"
    if scheme not in ("turn", "turns") or not host or transport not in ("udp", "tcp"):
        raise ConfigurationError(f"turn.urls: {url!r} must have the form turn:host[:port][?transport=udp|tcp].")
    return Server(url, host, int(port or (5349 if tls else 3478)), transport, tls)


class TurnHealth:
    """Judges one server. `probe_answered` and `probe_lost` after each probe, `allocation_failed` and `allocated` after each
    trial allocation."""

    def __init__(self, url: str, now: float) -> None:
        self.url = url
        self.latency: float | None = None
        self.probes = 0
        self.lost = 0
        self._since = now
        self._failed = False
        self._slow = False
        self._late = 0
        self._punctual = 0
        self._refusal = ""
        "Why the last trial allocation failed; empty: it did not."
        self._error = ""
        "Why the last probe was lost."
        self._window: deque[tuple[float, bool]] = deque()
        "(time, lost) of the probes of the last LOSS_WINDOW seconds."

    @property
    def state(self) -> TurnState:
        if self._failed or self._refusal:
            return TurnState.FAILED
        return TurnState.SLOW if self._slow else TurnState.HEALTHY

    @property
    def loss(self) -> float:
        return sum(lost for _, lost in self._window) / len(self._window) if self._window else 0.0

    def status(self) -> TurnStatus:
        return TurnStatus(
            self.url, self.state, self.latency, self.loss, self._reason(), self._since, self.probes, self.lost
        )

    def probe_answered(self, now: float, latency: float) -> bool:
        """Returns whether the state changed. `latency`: seconds."""
        before = self.state
        self.latency = latency
        late = latency > SLOW_LATENCY
        self._late = self._late + 1 if late else 0
        self._punctual = 0 if late else self._punctual + 1
        if self._late >= SLOW_COUNT:
            self._slow = True
        elif self._punctual >= SLOW_COUNT:
            self._slow = False
        self._count(now, lost=False)
        return self._changed(before, now)

    def probe_lost(self, now: float, error: str) -> bool:
        """Returns whether the state changed. `error`: reason in words."""
        before = self.state
        self._error = error
        self.lost += 1
        self._count(now, lost=True)
        return self._changed(before, now)

    def allocated(self, now: float) -> bool:
        before, self._refusal = self.state, ""
        return self._changed(before, now)

    def allocation_failed(self, now: float, reason: str) -> bool:
        before, self._refusal = self.state, reason
        return self._changed(before, now)

    def _count(self, now: float, *, lost: bool) -> None:
        self.probes += 1
        window = self._window
        window.append((now, lost))
        while now - window[0][0] > LOSS_WINDOW:
            window.popleft()
        if sum(each for _, each in window) >= MIN_LOST and self.loss > LOSS_LIMIT:
            self._failed = True
        elif not lost and self.loss <= LOSS_RECOVERED:
            self._failed = False

    def _changed(self, before: TurnState, now: float) -> bool:
        if self.state is before:
            return False
        self._since = now
        return True

    def _reason(self) -> str:
        if self._failed:
            return f"{self.loss:.0%} of the probes of the last {LOSS_WINDOW:.0f} s were lost: {self._error}"
        if self._refusal:
            return self._refusal
        return f"the last answer took {self.latency or 0:.2f} s" if self._slow else ""


def usable_urls(urls: Sequence[str], states: dict[str, TurnState]) -> list[str]:
    """The URLs that clients get, best first. `states`: of the TURN URLs; others, such as STUN, are kept.

    Without any usable TURN server, clients get all of them: the server's own path to the TURN servers may be the fault.
    """
    state = {url: states.get(url, TurnState.HEALTHY) for url in urls}
    usable = [url for url in urls if state[url] is not TurnState.FAILED]
    if not any(url in states for url in usable):
        return list(urls)
    return sorted(usable, key=lambda url: state[url] is TurnState.SLOW)
