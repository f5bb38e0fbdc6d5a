"""`sfu top`: displays a running server in a terminal, from its metrics and its list of rooms.

`screen` is a pure function of two samples; `run` takes samples periodically and prints the screen.
"""

import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from prometheus_client.parser import text_string_to_metric_families

CLEAR = "\x1b[H\x1b[2J"
BAR = 20


@dataclass(frozen=True, slots=True)
class Room:
    name: str
    participants: int
    waiting: int
    tracks: int


@dataclass(frozen=True, slots=True)
class MetricsSample:
    """The server at one time. `values`: all metric samples by name and sorted labels."""

    at: float
    values: Mapping[tuple[str, tuple[tuple[str, str], ...]], float]
    rooms: Sequence[Room] = field(default=())

    @classmethod
    def parse(cls, at: float, metrics: str, rooms: Sequence[Room]) -> "MetricsSample":
        values = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(metrics)
            for sample in family.samples
        }
        return cls(at, values, rooms)

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples that have these labels."""
        wanted = set(labels.items())
        return sum(value for (each, its), value in self.values.items() if each == name and wanted <= set(its))

    def label(self, name: str, label: str) -> str:
        return next((dict(its).get(label, "") for each, its in self.values if each == name), "")


def screen(before: MetricsSample, now: MetricsSample, width: int, height: int) -> list[str]:
    """The lines of the screen. Rates are averages between the two samples."""
    seconds = max(1e-3, now.at - before.at)

    def rate(name: str, **labels: str) -> float:
        return max(0.0, now.value(name, **labels) - before.value(name, **labels)) / seconds

    def mean(name: str) -> float | None:
        count = now.value(f"{name}_count") - before.value(f"{name}_count")
        total = now.value(f"{name}_sum") - before.value(f"{name}_sum")
        return total / count if count > 0 else None

    used = now.value("sfu_capacity_used_ratio")
    full = round(min(1.0, used) * BAR)
    state = "draining" if now.value("sfu_node_draining") else "ready"
    uptime = _duration(time.time() - now.value("sfu_node_start_time_seconds"))
    traffic = "   ".join(
        f"{word} {_bits(8 * rate('sfu_media_bytes_total', direction=direction))}"
        f" {rate('sfu_packets_total', direction=direction):.0f} packets/s"
        for word, direction in (("in", "received"), ("out", "sent"))
    )
    loss, rtt, jitter = mean("sfu_loss_ratio"), mean("sfu_rtt_seconds"), mean("sfu_jitter_seconds")
    late = mean("sfu_forward_latency_seconds")
    path = [
        f"loss {_or_dash(loss, lambda value: f'{value:.2%}')}",
        f"rtt {_or_dash(rtt, _milliseconds)}",
        f"jitter {_or_dash(jitter, _milliseconds)}",
        f"forwarding {_or_dash(late, _milliseconds)}",
    ]
    repairs = [
        f"dropped {rate('sfu_packets_dropped_total'):.0f}/s",
        f"nack {rate('sfu_nacks_total'):.0f}/s",
        f"resent {rate('sfu_retransmissions_total'):.0f}/s",
        f"keyframe requests {rate('sfu_plis_total', direction='sent'):.1f}/s",
    ]
    qualities = "  ".join(
        f"{quality} {now.value('sfu_participant_quality', quality=quality):.0f}"
        for quality in ("excellent", "good", "poor", "lost")
    )
    lines = [
        f"aiosfu {now.label('sfu_node_info', 'version')}  {state}  up {uptime}",
        f"capacity [{'#' * full}{'.' * (BAR - full)}] {used:.0%}"
        f"   CPU {rate('process_cpu_seconds_total'):.0%}   memory {now.value('process_resident_memory_bytes') / 1e6:.0f} MB"
        f" ({now.value('sfu_capacity_ratio', resource='memory'):.0%} of the limit)",
        f"rooms {now.value('sfu_rooms'):.0f}   participants {now.value('sfu_participants'):.0f}"
        f" (+{now.value('sfu_participants_waiting'):.0f} waiting)   tracks {now.value('sfu_tracks'):.0f}"
        f"   subscriptions {now.value('sfu_subscriptions'):.0f}   egress {now.value('sfu_egress_jobs'):.0f}",
        traffic,
        "   ".join(path),
        "   ".join(repairs),
        f"quality  {qualities}   downgraded {60 * rate('sfu_decisions_total', kind='layer_down'):.0f}/min"
        f"  paused {60 * rate('sfu_decisions_total', kind='paused'):.0f}/min",
        "",
        f"{'ROOM':<{max(8, width - 36)}} {'PARTICIPANTS':>12} {'WAITING':>8} {'TRACKS':>8}",
    ]
    rooms = sorted(now.rooms, key=lambda room: (-room.participants, room.name))
    shown = max(0, height - len(lines) - 1)
    for room in rooms[:shown]:
        name = room.name if room.name.isprintable() else ascii(room.name)
        column = max(8, width - 36)
        lines.append(f"{name[:column]:<{column}} {room.participants:>12} {room.waiting:>8} {room.tracks:>8}")
    if len(rooms) > shown:
        lines.append(f"and {len(rooms) - shown} more")
    return [line[:width] for line in lines]


def run(
    metrics: Callable[[], str],
    rooms: Callable[[], Sequence[Room]],
    *,
    interval: float,
    count: int = 0,
    out: TextIO | None = None,
) -> None:
    """Refreshes until interrupted, or `count` times. Propagates exceptions of the two callables. `out` None: stdout."""
    out = out or sys.stdout
    before = MetricsSample.parse(time.monotonic(), metrics(), ())
    shown = 0
    while True:
        time.sleep(interval)
        now = MetricsSample.parse(time.monotonic(), metrics(), rooms())
        size = shutil.get_terminal_size((100, 40))
        out.write((CLEAR if out.isatty() else "") + "\n".join(screen(before, now, size.columns, size.lines)) + "\n")
        out.flush()
        before = now
        shown += 1
        if shown == count:
            return


def _or_dash(value: float | None, text: Callable[[float], str]) -> str:
    return "–" if value is None else text(value)


def _milliseconds(value: float) -> str:
    return f"{value * 1000:.1f} ms"


def _bits(rate: float) -> str:
    return f"{rate / 1e6:.1f} Mbit/s" if rate >= 1e6 else f"{rate / 1e3:.0f} kbit/s"


def _duration(seconds: float) -> str:
    minutes, hours = int(seconds / 60), int(seconds / 3600)
    if hours >= 48:
        return f"{hours // 24} d"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"
