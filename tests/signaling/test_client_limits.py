"""Rate limit, flooding and loop budgets of one client."""

from sfu.signaling.client_limits import ClientLimits
from sfu.signaling.settings import Settings

SETTINGS = Settings(message_rate=10, message_burst=5, flood_limit=3)


def test_a_burst_is_admitted_and_then_the_rate() -> None:
    limits = ClientLimits(SETTINGS, 100.0)
    assert [limits.admits(1.0, 100.0) for _ in range(7)] == [True] * 5 + [False] * 2
    wait = limits.retry_after(1.0)
    assert 0 < wait <= 0.1
    assert limits.admits(1.0, 100.0 + wait + 1e-6)


def test_flooding_ends_with_an_admitted_message() -> None:
    limits = ClientLimits(SETTINGS, 100.0)
    found = []
    for _ in range(5 + 4):
        limits.admits(1.0, 100.0)
        found.append(limits.flooding)
    assert found == [False] * 8 + [True]
    assert limits.admits(1.0, 101.0)
    assert not limits.flooding


def test_either_budget_can_be_exceeded() -> None:
    for source in ("media", "signaling"):
        limits = ClientLimits(SETTINGS, 100.0)
        now = 100.0
        assert not limits.exceeds_loop_budget(now)
        for _ in range(400):
            now += 0.25
            limits.budgets[source].charge(0.25, now)
            limits.budgets[source].admits(now)
        assert limits.exceeds_loop_budget(now), source
