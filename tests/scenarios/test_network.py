"""The virtual network itself: what a link does to datagrams, and that a seed is a run."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.network import Burst, Link, Network, Node, Path, jain, quantile


def arrivals(link: Link, network: Network, *, count: int, interval: float, size: int = 1000) -> list[tuple[int, float]]:
    found: list[tuple[int, float]] = []
    for number in range(count):
        network.at(number * interval, link.send, number, size, lambda n: found.append((n, network.now)))
    network.run(1000.0)
    return found


def approx(when: float) -> Any:
    return pytest.approx(when)


def test_an_endless_link_only_delays() -> None:
    network = Network()
    assert arrivals(Link(network, delay=0.05), network, count=3, interval=0.01) == [
        (0, approx(0.05)),
        (1, approx(0.06)),
        (2, approx(0.07)),
    ]


def test_a_line_serialises_queues_and_drops_the_tail() -> None:
    network = Network()
    link = Link(network, rate=80_000, queue=0.25)  # a datagram takes 100 ms
    found = arrivals(link, network, count=6, interval=0.0)
    assert found == [(0, approx(0.1)), (1, approx(0.2)), (2, approx(0.3))]
    assert (link.entered, link.delivered, link.overflowed) == (6, 3, 3)


def test_a_queue_may_be_limited_in_bytes() -> None:
    network = Network()
    link = Link(network, rate=80_000, queue=9.0, queue_bytes=2500)
    assert len(arrivals(link, network, count=6, interval=0.0)) == 2


def test_a_rate_that_changes_while_a_datagram_is_on_the_wire() -> None:
    network = Network()
    link = Link(network, rate=[(0, 80_000), (0.05, 8_000)])
    assert arrivals(link, network, count=1, interval=0.0) == [(0, approx(0.05 + 0.5))]
    assert link.capacity(0, 1) == pytest.approx(4000 + 7600)


@pytest.mark.parametrize(
    ("options", "share"),
    [({"loss": 0.1}, 0.1), ({"burst": Burst.of(0.1, 5)}, 0.1), ({"burst": Burst.of(0.02, 10)}, 0.02)],
)
def test_loss_is_what_was_asked_for(options: dict[str, Any], share: float) -> None:
    network = Network(7)
    found = arrivals(Link(network, **options), network, count=20_000, interval=0.001)
    assert 1 - len(found) / 20_000 == pytest.approx(share, rel=0.3)  # the run of seed 7


def test_bursts_have_their_length() -> None:
    network = Network(7)
    got = {
        number for number, _ in arrivals(Link(network, burst=Burst.of(0.1, 5)), network, count=20_000, interval=0.001)
    }
    gaps = sum(number not in got and number + 1 in got for number in range(20_000))
    assert (20_000 - len(got)) / gaps == pytest.approx(5, rel=0.2)


def test_jitter_keeps_the_order_and_reordering_does_not() -> None:
    network = Network(3)
    steady = arrivals(Link(network, delay=0.02, jitter=0.01), network, count=1000, interval=0.001)
    assert [number for number, _ in steady] == list(range(1000))
    assert max(at - number * 0.001 for number, at in steady) <= 0.05 + 1e-9
    network = Network(3)
    mixed = [n for n, _ in arrivals(Link(network, reorder=0.1, reorder_by=0.01), network, count=1000, interval=0.001)]
    assert mixed != sorted(mixed)
    assert sorted(mixed) == list(range(1000))


def test_a_path_is_links_in_a_row() -> None:
    network, node = Network(), Node()
    path = Path((Link(network, delay=0.1), Link(network, rate=8000, delay=0.1)), node)
    path.send(b"0123456789")
    network.run(0.2)
    assert node.inbox == []
    network.run(0.22)
    assert node.inbox == [b"0123456789"]


@given(st.integers(0, 1000), st.floats(0, 0.3), st.floats(0, 0.05))
@settings(max_examples=30, deadline=None)
def test_a_seed_is_a_run(seed: int, loss: float, jitter: float) -> None:
    def run() -> list[tuple[int, float]]:
        network = Network(seed)
        link = Link(network, rate=2e6, delay=0.01, loss=loss, jitter=jitter, reorder=0.05, burst=Burst.of(0.05, 3))
        return arrivals(link, network, count=200, interval=0.003)

    assert run() == run()


def test_quantile_and_fairness() -> None:
    assert quantile([], 0.95) == 0.0
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert jain([1.0, 1.0, 1.0]) == pytest.approx(1.0)
    assert jain([1.0, 0.0]) == pytest.approx(0.5)
