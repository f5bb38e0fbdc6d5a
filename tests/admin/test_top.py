"""The screen of `sfu top` from two samples at fixed times, and the command against a real server."""

import asyncio
import sys
from pathlib import Path

from prometheus_client.core import Metric

from sfu.admin.top import MetricsSample, Room, screen
from sfu.telemetry.histogram import Histogram
from sfu.telemetry.metrics import Metrics, counters, directions, gauge, gauges, histogram, table
from tests.support.metrics import Fixed
from tests.web.server import serve

RTT = Histogram()
NODE = (
    gauges("sfu_node_info", "N.", "version", {"1.2.3": 1}),
    gauge("sfu_node_draining", "N.", False),
    gauge("sfu_capacity_used_ratio", "N.", 0.25),
)
FIRST = (
    *NODE,
    gauge("sfu_rooms", "N.", 0),
    gauge("sfu_participants", "N.", 0),
    gauge("sfu_participants_waiting", "N.", 0),
    directions("sfu_media_bytes_total", "N.", 0, 0),
    directions("sfu_packets_total", "N.", 0, 0),
    histogram("sfu_rtt_seconds", "N.", RTT.distribution()),
)
RTT.observe(0.04)
RTT.observe(0.06)
DECISIONS = {("layer_down", "budget"): 2, ("layer_down", "requested"): 1, ("paused", "budget"): 1}
SECOND = (
    *NODE,
    gauge("sfu_rooms", "N.", 2),
    gauge("sfu_participants", "N.", 5),
    gauge("sfu_participants_waiting", "N.", 1),
    directions("sfu_media_bytes_total", "N.", 1_000_000, 125_000),
    directions("sfu_packets_total", "N.", 2_000, 200),
    counters("sfu_packets_dropped_total", "N.", "reason", {"bad_tag": 10, "send_buffer": 10}),
    gauges("sfu_participant_quality", "N.", "quality", {"good": 4}),
    table("sfu_decisions_total", "N.", ["kind", "cause"], DECISIONS),
    histogram("sfu_rtt_seconds", "N.", RTT.distribution()),
)
ROOMS = (Room("small", 2, 0, 4), Room("large\x1b[31m", 3, 1, 6), Room("empty", 0, 0, 0))


def sample(at: float, families: tuple[Metric, ...], rooms: tuple[Room, ...] = ()) -> MetricsSample:
    return MetricsSample.parse(at, Metrics([Fixed(*families)]).render().decode(), rooms)


def test_screen() -> None:
    lines = screen(sample(10.0, FIRST), sample(12.0, SECOND, ROOMS), 80, 40)
    text = "\n".join(lines)
    assert lines[0].startswith("aiosfu 1.2.3  ready")
    assert "[#####...............] 25%" in text
    assert "rooms 2   participants 5 (+1 waiting)" in text
    assert "in 4.0 Mbit/s 1000 packets/s   out 500 kbit/s 100 packets/s" in text
    assert "rtt 50.0 ms" in text
    assert "loss –" in text, "no loss was reported"
    assert "dropped 10/s" in text
    assert "good 4" in text
    assert "downgraded 90/min  paused 30/min" in text
    assert [line.split()[0] for line in lines[-3:]] == ["'large\\x1b[31m'", "small", "empty"]
    assert "\x1b" not in text


def test_it_fits_the_terminal() -> None:
    rooms = tuple(Room(f"room-{number}", number, 0, 0) for number in range(50))
    lines = screen(sample(10.0, FIRST), sample(12.0, SECOND, rooms), 60, 20)
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 60
    assert lines[-1] == "and 40 more"


async def test_against_a_server(tmp_path: Path) -> None:
    async with serve(tmp_path / "log") as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sfu", "top", "--url", server.url, "--interval", "0.2", "--count", "2"),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
    assert process.returncode == 0
    assert output.decode().count("aiosfu ") == 2
    assert "ROOM" in output.decode()
