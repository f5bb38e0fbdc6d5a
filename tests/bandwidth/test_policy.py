"""Rate policy rules."""

import pytest

from sfu.bandwidth.policy import Policy, PolicyDecision, PolicyReason
from sfu.bandwidth.settings import Settings
from sfu.errors import ConfigurationError

RTT = 0.1


def after(
    policy: Policy, seconds: float, estimate: float, *, rtt: float = RTT, loss: float = 0.0, since: float = 0.0
) -> PolicyDecision:
    """Returns the decision after `seconds` of constant input."""
    policy_decision = policy.update(estimate, rtt, loss, since)
    for step in range(1, round(seconds * 20) + 1):
        policy_decision = policy.update(estimate, rtt, loss, since + step / 20)
    return policy_decision


@pytest.mark.parametrize(
    ("estimate", "picture", "height"),
    [(0.5e6, 0.7e6, 480), (0.99e6, 0.7e6, 480), (1.01e6, 1.5e6, 720), (2.9e6, 1.5e6, 720), (3.1e6, 4e6, 1080)],
)
def test_tiers(estimate: float, picture: float, height: int) -> None:
    policy_decision = after(Policy(Settings()), 1, estimate)
    assert (policy_decision.picture, policy_decision.height, policy_decision.target) == (picture, height, estimate)


def test_down_within_two_seconds_and_not_for_a_moment() -> None:
    policy = Policy(Settings())
    after(policy, 5, 4e6)
    assert after(policy, 0.8, 0.9e6, since=5.05).height == 1080
    assert after(policy, 1.1, 0.9e6, since=5.9).height == 480


@pytest.mark.parametrize(("estimate", "height"), [(1.1e6, 480), (1.16e6, 720), (3.2e6, 720), (3.5e6, 1080)])
def test_up_after_five_seconds_with_headroom(estimate: float, height: int) -> None:
    policy = Policy(Settings())
    after(policy, 5, 0.6e6)
    assert after(policy, 4.8, estimate, since=5.05).height == 480
    assert after(policy, 0.4, estimate, since=9.9).height == height


@pytest.mark.parametrize(
    ("rtt", "lowered"),
    [(0.119, False), (0.124, False), (0.126, True), (0.3, True)],
)
def test_a_longer_round_trip_lowers_after_a_second(rtt: float, lowered: bool) -> None:
    policy = Policy(Settings())
    after(policy, 10, 4e6)
    assert after(policy, 0.9, 4e6, rtt=rtt, since=10.05).reason is PolicyReason.ESTIMATE
    policy_decision = after(policy, 0.2, 4e6, rtt=rtt, since=11)
    assert (policy_decision.reason is PolicyReason.DELAY, policy_decision.height < 1080) == (lowered, lowered)


def test_a_fifth_of_a_short_round_trip_is_noise() -> None:
    policy = Policy(Settings())
    after(policy, 10, 4e6, rtt=0.02)
    assert after(policy, 3, 4e6, rtt=0.04, since=10.05).reason is PolicyReason.ESTIMATE


@pytest.mark.parametrize(("loss", "height"), [(0.04, 1080), (0.06, 720), (0.2, 720)])
def test_loss_above_five_per_cent_lowers_by_one_tier_only(loss: float, height: int) -> None:
    policy = Policy(Settings())
    after(policy, 5, 4e6)
    policy_decision = after(policy, 20, 4e6, loss=loss, since=5.05)
    assert policy_decision.height == height
    assert policy_decision.target >= 1.5e6


def test_lowered_tiers_are_restored() -> None:
    policy = Policy(Settings())
    after(policy, 5, 4e6)
    assert after(policy, 2, 4e6, loss=0.1, since=5.05).reason is PolicyReason.LOSS
    policy_decision = after(policy, 3, 4e6, since=7.1)
    assert (policy_decision.height, policy_decision.reason) == (1080, PolicyReason.ESTIMATE)


def test_the_lowest_tier_keeps_a_picture() -> None:
    policy = Policy(Settings())
    after(policy, 5, 0.65e6)
    policy_decision = after(policy, 30, 0.65e6, rtt=0.5, loss=0.3, since=5.05)
    assert policy_decision.target >= 0.45e6
    assert policy_decision.height == 480


def test_thresholds_are_settings() -> None:
    settings = Settings(tier_limits=(2e6,), tier_rates=(1e6, 3e6), tier_heights=(360, 1440), loss=0.5)
    assert after(Policy(settings), 1, 2.5e6, loss=0.4).height == 1440
    with pytest.raises(ConfigurationError):
        Settings(tier_limits=(1e6,))
    with pytest.raises(ConfigurationError):
        Settings(tier_limits=(3e6, 1e6))
