"""Limits the retransmissions of each packet of one down track: their number, and the pause between them."""

from typing import Final

RESEND_LIMIT: Final = 3
RESEND_PAUSE: Final = 0.1
"""A packet is retransmitted at most three times, and not within 100 ms: on a congested path it would be lost again, and
repeated NACKs must not cause a flood."""
LOSSY_LINK_LIMIT: Final = 6
"""The limit if the loss is not congestion: at 20 % loss, one packet in 10,000 is then never received."""
RTT_RATIO: Final = 0.8
"""No retransmission within this fraction of the round trip: the receiver cannot know yet that the last one was lost. Below
1 because receivers' timers are not exact."""
MIN_RESEND_PAUSE: Final = 0.01
MAX_RESEND_PAUSE: Final = 0.4
RESENDS_KEPT: Final = 1024
"""Packets whose retransmissions are counted: more than a history holds."""


class ResendLimits:
    """`admits` before each retransmission, `count` after it. `now` and `rtt` in seconds."""

    __slots__ = ("_resends",)

    def __init__(self) -> None:
        self._resends: dict[int, tuple[int, float]] = {}
        """Sequence number → (retransmissions, time of the last one)."""

    def admits(self, sequence: int, now: float, rtt: float | None, *, is_lossy_link: bool | None) -> bool:
        """`rtt`: None if it was not measured yet. `is_lossy_link`: the loss is not congestion; None: not known."""
        tries, last = self._resends.get(sequence, (0, float("-inf")))
        round_trip = RTT_RATIO * rtt if rtt is not None else RESEND_PAUSE
        pause = min(max(round_trip, MIN_RESEND_PAUSE if is_lossy_link else RESEND_PAUSE), MAX_RESEND_PAUSE)
        return tries < (LOSSY_LINK_LIMIT if is_lossy_link else RESEND_LIMIT) and now - last >= pause

    def count(self, sequence: int, now: float) -> None:
        tries, _ = self._resends.get(sequence, (0, 0.0))
        self._resends[sequence] = (tries + 1, now)
        if len(self._resends) > RESENDS_KEPT:
            del self._resends[next(iter(self._resends))]
