"""sfu.admin.collectors.turn."""

from sfu.admin.collectors.turn import TurnCollector
from sfu.auth.turn_health import TurnState, TurnStatus
from sfu.telemetry.metrics import Metrics

STATUSES = [
    TurnStatus("turn:a", TurnState.HEALTHY, 0.02, 0.0, "", 1.0, 40, 0),
    TurnStatus("turn:b", TurnState.FAILED, None, 1.0, "no answer", 2.0, 4, 4),
]


def test_page() -> None:
    lines = [
        line for line in Metrics([TurnCollector(lambda: STATUSES)]).render().decode().splitlines() if "turn" in line
    ]
    assert [line for line in lines if not line.startswith("#")] == [
        'sfu_turn_server_state{state="healthy",url="turn:a"} 1.0',
        'sfu_turn_server_state{state="slow",url="turn:a"} 0.0',
        'sfu_turn_server_state{state="failed",url="turn:a"} 0.0',
        'sfu_turn_server_state{state="healthy",url="turn:b"} 0.0',
        'sfu_turn_server_state{state="slow",url="turn:b"} 0.0',
        'sfu_turn_server_state{state="failed",url="turn:b"} 1.0',
        'sfu_turn_latency_seconds{url="turn:a"} 0.02',
        'sfu_turn_loss_ratio{url="turn:a"} 0.0',
        'sfu_turn_loss_ratio{url="turn:b"} 1.0',
        'sfu_turn_probes_total{url="turn:a"} 40.0',
        'sfu_turn_probes_total{url="turn:b"} 4.0',
        'sfu_turn_probes_lost_total{url="turn:a"} 0.0',
        'sfu_turn_probes_lost_total{url="turn:b"} 4.0',
    ]


def test_without_turn_servers() -> None:
    assert list(TurnCollector(tuple).collect()) == []
