"""The operator's rate policy: video quality tiers, and when delay or loss alone lowers them.

Defaults: below 1 Mbit/s a video gets 700 kbit/s and 480 lines, up to 3 Mbit/s 1.5 Mbit/s and 720 lines, above that 4
Mbit/s and 1080 lines. The tier falls within 2 s and rises after 5 s with 15 % headroom. A round-trip time that grows by
more than 20 % (and 25 ms, for a second), or more than 5 % loss, lowers the tier by one even if the estimate holds. A
long round-trip time lowers it further while it lasts. All numbers are settings.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final

from sfu.bandwidth.settings import Settings

RTT_WINDOW: Final = 30.0
"""Seconds over which the minimum round-trip time is tracked, so that a permanently longer path does not count as congested."""
RTT_REPEAT: Final = 2.0
"""Seconds of increased round-trip time that lower the tier once more."""
BELOW_LOWEST_RATIO: Final = 0.7
"""Fraction of the lowest tier's rate to use when no lower tier exists."""
STARTUP_TIME: Final = 3.0
"""Seconds of initial probing, during which the tier follows the estimate at once."""
RESTORE_AFTER: Final = 2.0
"""Seconds without delay or loss before one lowered tier is restored."""


class PolicyReason(Enum):
    """Reason for the current tier."""

    ESTIMATE = "estimate"
    DELAY = "delay"
    LOSS = "loss"


@dataclass(frozen=True, slots=True)
class PolicyDecision:
    target: float
    "Total rate in bits per second."
    tier: int
    "0 is the lowest."
    picture: float
    "Maximum rate of one video in bits per second."
    height: int
    "Maximum height of one video in lines."
    reason: PolicyReason


class Policy:
    """Rate policy of one subscriber. Call `update` up to 20 times a second. `now` is seconds, rates are bits per second."""

    __slots__ = (
        "_above",
        "_begun",
        "_below",
        "_lowered",
        "_minima",
        "_rtt_since",
        "_triggered_at",
        "policy_decision",
        "settings",
        "tier",
    )

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tier = -1
        """Tier by the estimate alone; −1 before the first update."""
        self._begun: float | None = None
        self._below: float | None = None
        self._above: float | None = None
        self._lowered = 0
        """Number of tiers subtracted because of delay or loss."""
        self._triggered_at = float("-inf")
        """Time of the last trigger or restored tier."""
        self._minima: deque[tuple[float, float]] = deque()
        """(second, minimum round-trip time in that second)."""
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
            self._lowered = max(self._lowered, 1 + int(long / RTT_REPEAT))
        elif lossy:
            reason = PolicyReason.LOSS
            self._lowered = max(self._lowered, 1)
        if delayed or lossy:
            self._triggered_at = now
        elif self._lowered and now - self._triggered_at >= RESTORE_AFTER:
            self._lowered -= 1
            self._triggered_at = now
        if self._lowered and reason is PolicyReason.ESTIMATE and self.policy_decision is not None:
            reason = self.policy_decision.reason
        self._lowered = min(self._lowered, self.tier + 1)
        tier = self.tier - self._lowered
        target, picture = estimate, self.settings.tier_rates[max(tier, 0)]
        if tier < 0:
            picture *= BELOW_LOWEST_RATIO
        if self._lowered:
            target = min(target, max(picture, BELOW_LOWEST_RATIO * self.settings.tier_rates[0]))
        self.policy_decision = PolicyDecision(
            target, max(tier, 0), picture, self.settings.tier_heights[max(tier, 0)], reason
        )
        return self.policy_decision

    @property
    def next_limit(self) -> float:
        """Estimate that the next tier requires. 0: already in the highest tier."""
        limits = self.settings.tier_limits
        tier = max(self.tier, 0)
        return limits[tier] * (1 + self.settings.headroom) if tier < len(limits) else 0.0

    def _follow(self, estimate: float, now: float) -> None:
        limits = self.settings.tier_limits
        if self._begun is None:
            self._begun = now
        if now - self._begun < STARTUP_TIME:
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
