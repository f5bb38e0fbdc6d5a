"""The most expensive inputs that `make fuzz-cost` and people found, each within a bound of executed instructions."""

import random
from pathlib import Path

import pytest

from tests.fuzz.cost import COSTLY, changed, measured, search
from tests.fuzz.costs import COSTS, GOAL, WORKER, Call, expected
from tests.support.cost import PER_MICROSECOND, operations

KEPT = sorted(COSTLY.glob("*/*"))


@pytest.mark.parametrize("path", KEPT, ids=[str(path.relative_to(COSTLY)) for path in KEPT])
def test_replayed(path: Path) -> None:
    """The machine of the benchmarks executes 200 instructions in a microsecond, or more."""
    cost = COSTS[path.parent.name]
    call = cost.make()
    data = path.read_bytes()

    def run() -> None:
        with expected():
            call(data)

    assert operations(run) <= cost.goal * 2 * PER_MICROSECOND


@pytest.mark.parametrize("name", COSTS)
def test_every_parser_has_costly_inputs_that_are_not_too_long(name: str) -> None:
    kept = list((COSTLY / name).iterdir())
    assert kept
    assert all(path.stat().st_size <= COSTS[name].longest for path in kept)
    assert COSTS[name].goal <= (WORKER if name in ("amf", "rtmp") else 1.5 * GOAL)


def test_the_search_finds_what_is_expensive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A parser that takes a step for each byte of 7: repetition finds it."""

    def make() -> Call:
        return lambda data: [sum(range(200)) for byte in data if byte == 0xAA]

    monkeypatch.setitem(COSTS, "planted", type(COSTS["red"])(make, longest=256))
    monkeypatch.setattr("tests.fuzz.cost.BUILD", tmp_path)
    found = search("planted", 1.0)
    assert found.data.count(0xAA) > 100
    assert (tmp_path / "planted" / "worst.bin").read_bytes() == found.data
    assert measured(COSTS["planted"], found.data, 5) > 5 * measured(COSTS["planted"], bytes(256), 5)


def test_mutations_stay_within_the_limit() -> None:
    random_ = random.Random(1)
    data = b""
    for _ in range(500):
        data = changed(random_, data, b"other", 100)
        assert 0 < len(data) <= 100
