"""Metrics of a node with given state."""

from dataclasses import dataclass, field

import pytest

from sfu import __version__
from sfu.admin.collectors.node import NodeCollector
from sfu.resources.memory import MemoryUsage
from tests.support.metrics import samples


@dataclass
class State:
    started_at: float = 1000.0
    draining: bool = True
    memory: MemoryUsage = field(default_factory=lambda: MemoryUsage(300, 400, "container"))
    joins_refused: dict[str, int] = field(default_factory=lambda: {"capacity": 37, "draining": 0})

    def capacity(self) -> dict[str, float]:
        return {"cpu": 0.375, "rooms": 0.5}

    def capacity_used(self) -> float:
        return 0.5


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("sfu_node_info", (__version__,), 1),
        ("sfu_node_start_time_seconds", (), 1000),
        ("sfu_node_draining", (), 1),
        ("sfu_capacity_used_ratio", (), 0.5),
        ("sfu_capacity_ratio", ("cpu",), 0.375),
        ("sfu_capacity_ratio", ("rooms",), 0.5),
        ("sfu_memory_used_bytes", (), 300),
        ("sfu_memory_limit_bytes", (), 400),
        ("sfu_joins_refused_total", ("capacity",), 37),
        ("sfu_joins_refused_total", ("draining",), 0),
    ],
)
def test_values(name: str, labels: tuple[str, ...], value: float) -> None:
    assert samples(NodeCollector(State()))[name, labels] == value
