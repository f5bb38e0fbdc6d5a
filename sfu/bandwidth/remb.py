"""Decides how far a receiver's REMB limits the rate (draft-alvestrand-rmcat-remb-03).

A receiver can only estimate from what it receives. Unmodified aiortc starts with the arrival rate, grows by 8 % per
second and never exceeds 1.5 times that rate. A sender that takes this for the capacity falls back to a smaller layer
and stays there. A REMB that follows the send rate, and does not fall far below it, is therefore no limit while there is
neither loss nor queueing. A falling REMB is a limit, and so is a constant one (a configured limit). After an
unsuccessful attempt to exceed the limit, the next attempt waits longer. Pure; `now` in monotonic seconds, rates in bits
per second.
"""

from collections.abc import Collection, Mapping
from typing import Final

VALID_FOR: Final = 10.0
"""Seconds for which a REMB is valid."""
FOLLOWS_RATIO: Final = 0.7
"""Fraction of the send rate. A REMB above it is no sign of congestion by itself."""
GROWTH: Final = 1.2
"""Growth per second beyond a REMB that only follows the send rate."""
MEASUREMENT_INTERVAL: Final = 0.4
"""Minimum measurement interval of the send rate in seconds."""
RATE_WINDOW: Final = 3.0
"""Seconds for which a rate must be sent before a REMB can reflect it."""
USED_RATIO: Final = 0.9
STEADY_CHANGE: Final = 0.002
STEADY_TIME: Final = 5.0
"""A REMB that changes by less than `STEADY_CHANGE` for `STEADY_TIME` seconds, while at least `USED_RATIO` of it is
used, is a configured limit.
"""
HOLD_TIME, MAX_HOLD_TIME = 5.0, 40.0
"""Seconds after an unsuccessful attempt without another one. Doubles each time, up to the maximum."""
GROUP_LIMIT: Final = 64
INFINITE: Final = float("inf")


class _Group:
    """Streams that share one REMB: aiortc sends one per video stream, browsers one for all streams."""

    __slots__ = (
        "at", "bitrate", "exceeded", "held_until", "hold", "limit", "measured_at", "moved_at", "octets", "rates",
        "ssrcs",
    )  # fmt: skip

    def __init__(self, ssrcs: frozenset[int], now: float) -> None:
        self.ssrcs = ssrcs
        self.bitrate = 0.0
        self.at = self.moved_at = now
        self.limit = INFINITE
        self.octets = -1
        self.measured_at = now
        self.rates: list[tuple[float, float]] = []
        """(when, rate) of the last `RATE_WINDOW` seconds."""
        self.held_until = float("-inf")
        self.hold = HOLD_TIME
        self.exceeded = False
        """The limit is above the REMB."""

    def measure(self, octets: int, now: float) -> None:
        if self.octets < 0 or octets < self.octets:
            self.octets, self.measured_at = octets, now
        elif now - self.measured_at >= MEASUREMENT_INTERVAL:
            self.rates.append((now, (octets - self.octets) * 8 / (now - self.measured_at)))
            self.octets, self.measured_at = octets, now
            while now - self.rates[0][0] > RATE_WINDOW:
                del self.rates[0]

    def receive(self, bitrate: float, now: float, *, uncongested: bool) -> None:
        passed = min(now - self.at, 1.0)
        before, self.bitrate, self.at = self.bitrate, bitrate, now
        if not self.rates or not self.octets:
            self.moved_at = now
            if not self.octets:
                self.limit = bitrate  # nothing is sent, so there is no rate to follow
            return
        sent = min([rate for _, rate in self.rates])
        if abs(bitrate - before) > STEADY_CHANGE * before or sent < USED_RATIO * bitrate:
            self.moved_at = now
        rises = bitrate > before * (1 + STEADY_CHANGE)
        follows = bitrate >= FOLLOWS_RATIO * sent or rises
        configured = now - self.moved_at >= STEADY_TIME
        if uncongested and follows and not configured and now >= self.held_until:
            allowed = self.limit if self.limit < INFINITE else bitrate
            self.limit = max(allowed * GROWTH**passed, bitrate, GROWTH * max([rate for _, rate in self.rates]))
            self.exceeded = self.limit > bitrate
            return
        if self.exceeded and not configured and (not uncongested or not follows):
            self.held_until = now + self.hold
            self.hold = min(MAX_HOLD_TIME, 2 * self.hold)
        elif self.hold > HOLD_TIME and now - self.held_until > MAX_HOLD_TIME:
            self.hold = HOLD_TIME
        if self.exceeded and uncongested and follows and not configured:
            return  # on hold: keep the limit
        self.exceeded = False
        self.limit = bitrate


class RembLimit:
    """REMB limit of one receiver without transport-wide feedback. `rate` is the sum over all REMBs."""

    __slots__ = ("_groups", "rate")

    def __init__(self) -> None:
        self._groups: dict[int, _Group] = {}
        self.rate = INFINITE

    def receive(
        self, bitrate: float, ssrcs: Collection[int], octets: Mapping[int, int], now: float, *, uncongested: bool
    ) -> None:
        """`octets`: bytes sent so far per stream. `uncongested`: there is neither loss nor queueing."""
        ours = frozenset(ssrcs) & octets.keys() or frozenset(octets)
        key = min(ours, default=0)
        group = self._groups.get(key)
        if group is None or group.ssrcs != ours:
            if len(self._groups) >= GROUP_LIMIT:
                self._groups.clear()
            for other in [each for each, known in self._groups.items() if known.ssrcs & ours or not ours]:
                del self._groups[other]
            group = self._groups[key] = _Group(ours, now)
        group.measure(sum(octets[ssrc] for ssrc in ours), now)
        group.receive(bitrate, now, uncongested=uncongested)
        self._sum(now)

    def handle_timer(self, now: float) -> None:
        if self._groups:
            self._sum(now)

    def _sum(self, now: float) -> None:
        for key in [key for key, group in self._groups.items() if now - group.at > VALID_FOR]:
            del self._groups[key]
        self.rate = sum(group.limit for group in self._groups.values()) if self._groups else INFINITE
