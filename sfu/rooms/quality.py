"""Connection quality in one word, from loss, delay and silence of a link."""

from typing import Literal, Protocol

Quality = Literal["excellent", "good", "poor", "lost"]

EXCELLENT_LOSS, EXCELLENT_RTT = 0.02, 0.15
"""Users do not notice values below both: Opus conceals 2 % loss, and G.114 recommends a delay of at most 150 ms."""
GOOD_LOSS, GOOD_RTT = 0.05, 0.3
"""A conversation works below both. Above 5 % frames freeze in spite of retransmission, above 300 ms people interrupt each
other."""
SILENCE_LIMIT = 6.5
"""Seconds without any packet after which a link counts as lost. Idle links still carry a consent check every 4 to 6 s
(RFC 7675 5.1)."""


class Link(Protocol):
    """Current state of one connection's path. `rtt` and `silent_for` are in seconds, `loss` is 0 to 1."""

    @property
    def rtt(self) -> float | None: ...

    @property
    def loss(self) -> float: ...

    @property
    def silent_for(self) -> float: ...

    @property
    def connected(self) -> bool: ...


def quality_of(link: Link) -> Quality:
    """The worst of loss, delay and silence decides."""
    if not link.connected or link.silent_for > SILENCE_LIMIT:
        return "lost"
    rtt = link.rtt or 0.0
    if link.loss < EXCELLENT_LOSS and rtt < EXCELLENT_RTT:
        return "excellent"
    if link.loss < GOOD_LOSS and rtt < GOOD_RTT:
        return "good"
    return "poor"
