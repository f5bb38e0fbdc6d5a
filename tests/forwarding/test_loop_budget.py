import pytest

from sfu.forwarding.loop_budget import CALM, DEBT_LIMIT, PATIENCE, LoopBudget


def test_a_source_within_its_share_is_always_admitted() -> None:
    budget = LoopBudget(0.1, 0.02)
    for step in range(1, 1000):
        budget.charge(0.0009, step / 100)
        assert budget.admits(step / 100)
    assert budget.throttled == 0
    assert budget.used == pytest.approx(0.0009 * 999)


def test_a_burst_passes_and_more_than_the_share_does_not() -> None:
    budget = LoopBudget(0.1, 0.02)
    budget.charge(0.019, 0.0)
    assert budget.admits(0.0)
    budget.charge(0.011, 0.0)
    assert not budget.admits(0.0)
    assert budget.delay(0.0) == pytest.approx(0.101)
    assert not budget.admits(0.099)
    assert budget.admits(0.0 + budget.delay(0.0))
    assert budget.throttled == 2


@pytest.mark.parametrize("cost", [0.0001, 0.002, 0.02])
def test_a_source_that_asks_for_all_time_gets_its_share(cost: float) -> None:
    budget = LoopBudget(0.1, 0.02)
    now, spent = 0.0, 0.0
    while now < 20.0:
        if budget.admits(now):
            budget.charge(cost, now)
            spent += cost
            now += cost
        else:
            now += 0.0005
    assert spent / now == pytest.approx(0.1, rel=0.1)


def test_continuous_throttling_exceeds_the_budget() -> None:
    budget = LoopBudget(0.1, 0.02)
    now = 0.0
    while now < PATIENCE - 0.1:
        budget.charge(0.2, now)
        assert not budget.admits(now)
        assert not budget.exceeded(now)
        now += 0.1
    budget.charge(0.2, now + 0.2)
    assert not budget.admits(now + 0.2)
    assert budget.exceeded(now + 0.2)
    assert not budget.exceeded(now + 0.2 + CALM + 0.1)


@pytest.mark.parametrize(("demand", "exceeds"), [(1.3, False), (1.8, False), (3.0, True), (20.0, True)])
def test_a_source_that_asks_for_little_more_than_its_share_stays(demand: float, exceeds: bool) -> None:
    """It loses the surplus. On a machine that is half as fast, an honest source may ask for that much."""
    budget, cost, share = LoopBudget(0.07, 0.03), 0.0003, 0.07
    now, found = 0.0, False
    while now < 60.0:
        if budget.admits(now):
            budget.charge(cost, now)
        found = found or budget.exceeded(now)
        now += cost / (share * demand)
    assert budget.throttled
    assert found == exceeds


def test_a_source_is_judged_by_its_present_episode() -> None:
    budget = LoopBudget(0.1, 0.02)
    for step in range(100_000):  # a long time within its share
        assert budget.admits(step / 1000)
    now = 100.0
    while now < 100.0 + PATIENCE + 0.1:
        budget.charge(0.2, now)
        budget.admits(now)
        now += 0.1
    assert budget.exceeded(now)


def test_pauses_end_an_episode() -> None:
    budget = LoopBudget(0.1, 0.02)
    for number in range(20):
        now = number * (CALM + 0.5)
        budget.charge(0.3, now)
        budget.admits(now)
        assert not budget.exceeded(now)


def test_one_huge_input_is_forgiven_in_bounded_time() -> None:
    budget = LoopBudget(0.1, 0.02)
    budget.charge(1000.0, 0.0)
    assert budget.delay(0.0) <= DEBT_LIMIT / 0.1 + 0.01
