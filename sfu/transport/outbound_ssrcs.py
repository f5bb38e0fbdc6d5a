"""SSRCs of the streams that one connection sends.

SRTP must not use a sequence number twice with one SSRC (RFC 3711 9.1), so each stream gets an SSRC that the connection has
never used, and the SRTP state of an ended stream outlives its last packets.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final

ENDED_KEPT: Final = 256
"""Ended streams whose SRTP state is kept. libsrtp searches all streams for each packet (8 µs at 400),"""
ENDED_FOR: Final = 30.0
"""and minimum seconds for which it is kept, so that no delayed packet reuses a nonce."""


class OutboundSsrcs:
    """Allocates SSRCs and says when the state of ended ones may be freed."""

    def __init__(self, first: int) -> None:
        """`first`: random."""
        self._next = first
        self._ended: deque[tuple[float, int]] = deque()
        """Ended streams, and when they ended."""

    def take(self) -> int:
        """Returns an SSRC that this connection has never used."""
        self._next = (self._next + 2) & 0xFFFFFFFF
        return self._next

    def end(self, *ssrcs: int, now: float) -> None:
        """These streams end now. Zeros are ignored."""
        self._ended.extend((now, ssrc) for ssrc in ssrcs if ssrc)

    def expired(self, now: float) -> Iterator[int]:
        """The ended streams whose state may be freed, each once."""
        while len(self._ended) > ENDED_KEPT and now - self._ended[0][0] > ENDED_FOR:
            yield self._ended.popleft()[1]
