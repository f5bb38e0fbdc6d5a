"""Settings of bandwidth estimation and of the quality tiers that depend on it."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from sfu.errors import ConfigurationError

Rate = Annotated[float, Meta(gt=0)]
Seconds = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    enabled: bool = True
    "Adapt the layers of each subscriber to its estimated bandwidth; if false, the tile size alone selects layers."
    dynacast: bool = True
    "Pause simulcast layers that have no subscribers."
    start: Rate = 2_500_000.0
    "Initial estimate for a new subscriber, in bits per second; probing raises it within a second."
    least: Rate = 50_000.0
    "Lower bound of the estimate, in bits per second."
    most: Rate = 50_000_000.0
    "Upper bound of the estimate, in bits per second."
    rtt_rise: Share = 0.2
    "Tolerated increase of the round-trip time, as a fraction of its recent minimum; beyond it the rate is reduced."
    rtt_rise_least: Seconds = 0.025
    "Smallest round-trip time increase that counts, in seconds; smaller ones are noise."
    rtt_rise_for: Seconds = 1.0
    "Seconds that the increase must last before the rate is reduced."
    loss: Share = 0.05
    "Fraction of lost packets above which the rate is reduced."
    tier_limits: tuple[Rate, ...] = (1_000_000.0, 3_000_000.0)
    "Boundaries between the quality tiers in bits per second, ascending."
    tier_rates: tuple[Rate, ...] = (700_000.0, 1_500_000.0, 4_000_000.0)
    "Maximum bit rate of one video in each tier; one entry more than `tier_limits`."
    tier_heights: tuple[int, ...] = (480, 720, 1080)
    "Maximum height of one video in each tier, in pixels."
    down_after: Seconds = 1.0
    "Seconds below a tier's limit before switching down; evaluated up to 20 times a second."
    up_after: Seconds = 5.0
    "Seconds above a tier's limit before switching up."
    headroom: Share = 0.15
    "Fraction by which the estimate must exceed a tier's limit before switching up."

    def __post_init__(self) -> None:
        if not len(self.tier_limits) + 1 == len(self.tier_rates) == len(self.tier_heights):
            raise ConfigurationError("bandwidth: tier_rates and tier_heights need one entry more than tier_limits.")
        if list(self.tier_limits) != sorted(self.tier_limits):
            raise ConfigurationError("bandwidth.tier_limits must be in ascending order.")
