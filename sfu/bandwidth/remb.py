"""How much of a receiver's REMB is a limit (draft-alvestrand-rmcat-remb-03).

A receiver can only estimate what it is sent. Stock aiortc begins with the rate that arrives, grows by 8 % a second and
never exceeds 1.5 times that rate: a sender that takes this for the path's capacity goes down to a smaller picture and stays
there. So a REMB that follows the rate, and does not fall far below it, is no limit while nothing is lost or delayed. One that
falls, or that does not move at all (a configured limit), is. After a limit was exceeded in vain, the next try waits longer.
Pure; `now` in monotonic seconds, rates in bits per second.
"""

from collections.abc import Collection, Mapping
from typing import Final

VALID_FOR: Final = 10.0
"""Seconds that a REMB holds."""
FOLLOWS: Final = 0.7
"""Share of the rate that is sent: a REMB above it is no sign of congestion alone."""
GROWTH: Final = 1.2
"""Per second, of what may be sent beyond a REMB that only follows."""
MEASURE: Final = 0.4
"""Seconds in which a rate is measured, at least."""
SENT_FOR: Final = 3.0
"""Seconds for which a rate has to be sent before a REMB can be expected to know of it."""
USED: Final = 0.9
STANDS: Final = 0.002
STANDS_FOR: Final = 5.0
"""A REMB of which so much is used, and that moves by a smaller share for so many seconds, is a configured limit."""
HOLD, HOLD_MOST = 5.0, 40.0
"""Seconds after a limit in which nothing beyond it is tried; doubled each time."""
GROUPS: Final = 64
INFINITE: Final = float("inf")


class _Group:
    """Streams that one REMB is about: aiortc sends one for each picture, browsers one for all."""

    __slots__ = (
        "at", "bitrate", "held_until", "hold", "limit", "measured_at", "moved_at", "octets", "rates", "ssrcs", "tried",
    )  # fmt: skip

    def __init__(self, ssrcs: frozenset[int], now: float) -> None:
        self.ssrcs = ssrcs
        self.bitrate = 0.0
        self.at = self.moved_at = now
        self.limit = INFINITE
        self.octets = -1
        self.measured_at = now
        self.rates: list[tuple[float, float]] = []
        """(when, rate) of the last `SENT_FOR` seconds."""
        self.held_until = float("-inf")
        self.hold = HOLD
        self.tried = False
        """Whether more is allowed than the REMB says."""

    def measure(self, octets: int, now: float) -> None:
        if self.octets < 0 or octets < self.octets:
            self.octets, self.measured_at = octets, now
        elif now - self.measured_at >= MEASURE:
            self.rates.append((now, (octets - self.octets) * 8 / (now - self.measured_at)))
            self.octets, self.measured_at = octets, now
            while now - self.rates[0][0] > SENT_FOR:
                del self.rates[0]

    def receive(self, bitrate: float, now: float, *, calm: bool) -> None:
        passed = min(now - self.at, 1.0)
        before, self.bitrate, self.at = self.bitrate, bitrate, now
        if not self.rates or not self.octets:
            self.moved_at = now
            if not self.octets:
                self.limit = bitrate  # nothing is sent: there is nothing to follow
            return
        sent = min([rate for _, rate in self.rates])
        if abs(bitrate - before) > STANDS * before or sent < USED * bitrate:
            self.moved_at = now
        rises = bitrate > before * (1 + STANDS)
        follows = bitrate >= FOLLOWS * sent or rises
        configured = now - self.moved_at >= STANDS_FOR
        if calm and follows and not configured and now >= self.held_until:
            allowed = self.limit if self.limit < INFINITE else bitrate
            self.limit = max(allowed * GROWTH**passed, bitrate, GROWTH * max([rate for _, rate in self.rates]))
            self.tried = self.limit > bitrate
            return
        if self.tried and not configured and (not calm or not follows):
            self.held_until = now + self.hold
            self.hold = min(HOLD_MOST, 2 * self.hold)
        elif self.hold > HOLD and now - self.held_until > HOLD_MOST:
            self.hold = HOLD
        if self.tried and calm and follows and not configured:
            return  # held: neither more nor less
        self.tried = False
        self.limit = bitrate


class RembLimit:
    """Of one receiver without transport-wide feedback. `rate` is what all REMBs together allow."""

    __slots__ = ("_groups", "rate")

    def __init__(self) -> None:
        self._groups: dict[int, _Group] = {}
        self.rate = INFINITE

    def receive(
        self, bitrate: float, ssrcs: Collection[int], octets: Mapping[int, int], now: float, *, calm: bool
    ) -> None:
        """`octets`: sent on each stream so far. `calm`: nothing is lost, and nothing waits in a queue."""
        ours = frozenset(ssrcs) & octets.keys() or frozenset(octets)
        key = min(ours, default=0)
        group = self._groups.get(key)
        if group is None or group.ssrcs != ours:
            if len(self._groups) >= GROUPS:
                self._groups.clear()
            for other in [each for each, known in self._groups.items() if known.ssrcs & ours or not ours]:
                del self._groups[other]
            group = self._groups[key] = _Group(ours, now)
        group.measure(sum(octets[ssrc] for ssrc in ours), now)
        group.receive(bitrate, now, calm=calm)
        self._sum(now)

    def handle_timer(self, now: float) -> None:
        if self._groups:
            self._sum(now)

    def _sum(self, now: float) -> None:
        for key in [key for key, group in self._groups.items() if now - group.at > VALID_FOR]:
            del self._groups[key]
        self.rate = sum(group.limit for group in self._groups.values()) if self._groups else INFINITE
