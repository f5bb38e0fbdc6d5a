"""sfu.auth.turn_health: the rules of preference and removal, in virtual time."""

import pytest

from sfu.auth.turn_health import LOSS_WINDOW, Server, TurnHealth, TurnState, parse_url, usable_urls
from sfu.errors import ConfigurationError

HEALTHY, SLOW, FAILED = TurnState.HEALTHY, TurnState.SLOW, TurnState.FAILED
URL = "turn:a.example"
STEP = 0.5


def judged(*results: float | None, health: TurnHealth | None = None) -> list[TurnState]:
    """The state after each probe, two a second. Result: seconds of latency; None: lost."""
    health = health or TurnHealth(URL, 0.0)
    states = []
    for result in results:
        now = health.probes * STEP
        if result is None:
            health.probe_lost(now, "no answer")
        else:
            health.probe_answered(now, result)
        states.append(health.state)
    return states


@pytest.mark.parametrize(
    ("results", "last"),
    [
        ([0.02] * 5, HEALTHY),
        ([0.301] * 4, HEALTHY),
        ([0.301] * 5, SLOW),
        ([0.3] * 20, HEALTHY),  # the limit itself is punctual
        ([0.4] * 4 + [0.1] + [0.4] * 4, HEALTHY),  # not in a row
        ([0.4] * 5 + [0.1] * 4, SLOW),
        ([0.4] * 5 + [0.1] * 5, HEALTHY),
        ([0.4] * 5 + [0.1] * 4 + [0.4] + [0.1] * 4, SLOW),
        ([None], HEALTHY),  # one lost probe proves nothing
        ([None, None], FAILED),
        ([0.02] * 20 + [None] * 3, HEALTHY),  # 3 of 21: 14 %
        ([0.02] * 20 + [None] * 4, FAILED),  # 4 of 21: 19 %
        ([0.02] * 17 + [None] * 4 + [0.02] * 10, FAILED),
        ([0.02] * 17 + [None] * 4 + [0.02] * 21, HEALTHY),
        ([None] * 40 + [0.4] * 25, SLOW),
    ],
)
def test_state(results: list[float | None], last: TurnState) -> None:
    assert judged(*results)[-1] is last


def test_a_dead_server_fails_within_three_seconds_and_returns_after_the_window() -> None:
    health = TurnHealth(URL, 0.0)
    assert set(judged(*[0.02] * 40, health=health)) == {HEALTHY}
    states = judged(*[None] * 20, health=health)
    assert states.index(FAILED) * STEP <= 3.0
    states = judged(*[0.02] * 40, health=health)
    assert 0.8 * LOSS_WINDOW <= states.index(HEALTHY) * STEP <= LOSS_WINDOW + STEP


def test_a_refused_allocation_fails_a_server_that_answers_probes() -> None:
    health = TurnHealth(URL, 0.0)
    judged(0.02, 0.02, health=health)
    assert health.allocation_failed(2.0, "it refuses an allocation: 401 Unauthorized")
    status = health.status()
    assert (status.state, status.since) == (FAILED, 2.0)
    assert "401" in status.reason
    assert not health.allocation_failed(3.0, "it refuses an allocation: 401 Unauthorized")
    assert health.allocated(33.0)
    assert health.status().reason == ""
    assert health.state is HEALTHY


def test_status_counts_and_explains() -> None:
    health = TurnHealth(URL, 0.0)
    judged(0.02, None, None, health=health)
    status = health.status()
    assert (status.probes, status.lost, status.latency) == (3, 2, 0.02)
    assert status.loss == pytest.approx(2 / 3)
    assert status.reason == "67% of the probes of the last 10 s were lost: no answer"


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({}, "s a b"),
        ({"a": SLOW}, "s b a"),
        ({"a": FAILED}, "s b"),
        ({"a": FAILED, "b": SLOW}, "s b"),
        ({"a": FAILED, "b": FAILED}, "s a b"),  # the fault may be our own path
        ({"a": SLOW, "b": SLOW}, "s a b"),
    ],
)
def test_urls_that_clients_get(states: dict[str, TurnState], expected: str) -> None:
    known = {url: states.get(url, HEALTHY) for url in ("a", "b")}
    assert usable_urls(["s", "a", "b"], known) == expected.split()


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("turn:a.example", ("a.example", 3478, "udp", False)),
        ("turn:a.example:80?transport=tcp", ("a.example", 80, "tcp", False)),
        ("turns:a.example", ("a.example", 5349, "tcp", True)),
        ("turns:a.example:443?transport=tcp", ("a.example", 443, "tcp", True)),
        ("turn:[2001:db8::1]:3479?transport=udp", ("2001:db8::1", 3479, "udp", False)),
        ("turn:[2001:db8::1]", ("2001:db8::1", 3478, "udp", False)),
    ],
)
def test_url(url: str, server: tuple[str, int, str, bool]) -> None:
    assert parse_url(url) == Server(url, *server)


@pytest.mark.parametrize("url", ["stun:a.example", "turn:", "turn:a.example?transport=sctp", "turn:a.example?x=1"])
def test_invalid_url(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"must have the form turn:host"):
        parse_url(url)
