"""The operator's rules above the estimate: tiers of picture quality, and when delay or loss alone lowers them.

Below 1 Mbit/s a picture gets 700 kbit/s and 480 lines, up to 3 Mbit/s 1.5 Mbit/s and 720, above 4 Mbit/s and 1080: down
within 2 s, up after 5 s with 15 % headroom. A round trip that grew by more than 20 % (and 25 ms, for a second) or more
than 5 % loss lowers by a tier even where the estimate holds, the round trip by another one for as long as it stays. Every
number is a setting.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final

from sfu.bandwidth.settings import Settings

RTT_WINDOW: Final = 30.0
"""Seconds in which the shortest round trip is looked for: a longer way is no congestion for ever."""
RTT_AGAIN: Final = 2.0
"""Seconds of a long round trip for another tier."""
LOWERED: Final = 0.7
"""Of the lowest tier's rate, when there is no lower tier to go to."""
BEGINNING: Final = 3.0
"""Seconds in which the path is first explored: the tier follows at once."""
QUIET: Final = 2.0
"""Seconds without complaint before a tier is given back."""


class PolicyReason(Enum):
    """Why the tier is what it is."""

    ESTIMATE = "estimate"
    DELAY = "delay"
    LOSS = "loss"


@dataclass(frozen=True, slots=True)
class PolicyDecision:
    target: float
    "Bits per second for everything."
    tier: int
    "0 is the lowest."
    picture: float
    "Bits per second that one picture may have."
    height: int
    "Lines that one picture may have."
    reason: PolicyReason


class Policy:
    """`now` in seconds, rates in bits per second. Look at it up to 20 times a second."""

    __slots__ = (
        "_above",
        "_begun",
        "_below",
        "_lowered",
        "_minima",
        "_relief",
        "_rtt_since",
        "policy_decision",
        "settings",
        "tier",
    )

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tier = -1
        """By the estimate alone; −1 before the first look."""
        self._begun: float | None = None
        self._below: float | None = None
        self._above: float | None = None
        self._lowered = 0
        """Tiers taken away for delay or loss."""
        self._relief = float("-inf")
        """When the last complaint was heard."""
        self._minima: deque[tuple[float, float]] = deque()
        """(second, shortest round trip in it)."""
        self._rtt_since: float | None = None
        self.policy_decision: PolicyDecision | None = None

    def update(self, estimate: float, rtt: float | None, loss: float, now: float) -> PolicyDecision:
        self._follow(estimate, now)
        delayed = rtt is not None and self._is_delayed(rtt, now)
        lossy = loss > self.settings.loss
        reason = PolicyReason.ESTIMATE
        if delayed and self._rtt_since is not None:
            reason = PolicyReason.DELAY
            long = now - self._rtt_since - self.settings.rtt_rise_for
            self._lowered = max(self._lowered, 1 + int(long / RTT_AGAIN))
        elif lossy:
            reason = PolicyReason.LOSS
            self._lowered = max(self._lowered, 1)
        if delayed or lossy:
            self._relief = now
        elif self._lowered and now - self._relief >= QUIET:
            self._lowered -= 1
            self._relief = now
        if self._lowered and reason is PolicyReason.ESTIMATE and self.policy_decision is not None:
            reason = self.policy_decision.reason
        self._lowered = min(self._lowered, self.tier + 1)
        tier = self.tier - self._lowered
        target, picture = estimate, self.settings.tier_rates[max(tier, 0)]
        if tier < 0:
            picture *= LOWERED
        if self._lowered:
            target = min(target, max(picture, LOWERED * self.settings.tier_rates[0]))
        self.policy_decision = PolicyDecision(
            target, max(tier, 0), picture, self.settings.tier_heights[max(tier, 0)], reason
        )
        return self.policy_decision

    @property
    def next_limit(self) -> float:
        """The estimate that the next tier asks for; 0 in the highest."""
        limits = self.settings.tier_limits
        tier = max(self.tier, 0)
        return limits[tier] * (1 + self.settings.headroom) if tier < len(limits) else 0.0

    def _follow(self, estimate: float, now: float) -> None:
        limits = self.settings.tier_limits
        if self._begun is None:
            self._begun = now
        if now - self._begun < BEGINNING:
            self.tier = sum(estimate > limit for limit in limits)
            return
        if self.tier > 0 and estimate < limits[self.tier - 1]:
            self._below = now if self._below is None else self._below
            if now - self._below >= self.settings.down_after:
                self.tier = sum(estimate > limit for limit in limits)
                self._below = None
        else:
            self._below = None
        if self.tier < len(limits) and estimate >= limits[self.tier] * (1 + self.settings.headroom):
            self._above = now if self._above is None else self._above
            if now - self._above >= self.settings.up_after:
                self.tier = sum(estimate >= limit * (1 + self.settings.headroom) for limit in limits)
                self._above = None
        else:
            self._above = None

    def _is_delayed(self, rtt: float, now: float) -> bool:
        minima = self._minima
        if minima and now - minima[-1][0] < 1.0:
            if rtt < minima[-1][1]:
                minima[-1] = (minima[-1][0], rtt)
        else:
            minima.append((now, rtt))
            while now - minima[0][0] > RTT_WINDOW:
                minima.popleft()
        shortest = min(value for _, value in minima)
        rise = rtt - shortest
        if rise <= self.settings.rtt_rise * shortest or rise < self.settings.rtt_rise_least:
            self._rtt_since = None
            return False
        if self._rtt_since is None:
            self._rtt_since = now
        return now - self._rtt_since >= self.settings.rtt_rise_for
