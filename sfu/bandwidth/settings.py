"""What an operator may set of bandwidth estimation and of the policy above it."""

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
    "Give each subscriber what its path carries; else everybody gets the layers that fill their tiles."
    dynacast: bool = True
    "Publishers are asked not to send the layers that nobody watches."
    start: Rate = 2_500_000.0
    "Bits per second taken for granted towards a new subscriber; probing finds the rest within a second."
    least: Rate = 50_000.0
    "Bits per second; no estimate falls below."
    most: Rate = 50_000_000.0
    "Bits per second; no estimate grows beyond."
    rtt_rise: Share = 0.2
    "The round trip may grow by this share of its shortest of late; above it the rate is lowered."
    rtt_rise_least: Seconds = 0.025
    "Seconds that the round trip has to grow by at least; less is noise."
    rtt_rise_for: Seconds = 1.0
    "Seconds that a longer round trip has to last."
    loss: Share = 0.05
    "Above this share of lost packets the rate is lowered."
    tier_limits: tuple[Rate, ...] = (1_000_000.0, 3_000_000.0)
    "Bits per second at which the tiers part, rising."
    tier_rates: tuple[Rate, ...] = (700_000.0, 1_500_000.0, 4_000_000.0)
    "Bits per second that one picture gets in each tier; one more than there are limits."
    tier_heights: tuple[int, ...] = (480, 720, 1080)
    "Lines of a picture in each tier."
    down_after: Seconds = 1.0
    "Seconds below a tier's limit until the lower tier is taken; decided anew up to 20 times a second."
    up_after: Seconds = 5.0
    "Seconds above a tier's limit until the higher tier is taken."
    headroom: Share = 0.15
    "Share by which a tier's limit has to be exceeded for that."

    def __post_init__(self) -> None:
        if not len(self.tier_limits) + 1 == len(self.tier_rates) == len(self.tier_heights):
            raise ConfigurationError("bandwidth: tier_rates and tier_heights need one entry more than tier_limits.")
        if list(self.tier_limits) != sorted(self.tier_limits):
            raise ConfigurationError("bandwidth.tier_limits must rise.")
