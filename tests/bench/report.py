"""The shapes that are measured, what comes of them, and the table that tells it."""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tests.bench import janus

JOIN_GOAL, IDLE_GOAL = 3e-3, 100e-6
"""Seconds of CPU per join, and per idle connection and second."""
MEDIASOUP_MARGIN = 1.3
REFERENCE = {
    "1 → 25": (3.7, 5.1),
    "1 → 25, singles": (3.8, 6.8),
    "1 → 25, saturated": (3.7, 3.8),
    "1 → 100": (3.7, 4.3),
    "1 → 5, saturated": (5.0, 4.0),
}
"""µs per forwarded packet of a mediasoup 3.19 worker and of Janus at its best, measured once on a machine like ours and not
in this run, under these very conditions. Janus, which runs here too, tells how much slower this machine is at the moment.
"""
COLUMNS = (
    "shape",
    "server",
    "CPU µs per packet",
    "ours : theirs",
    "latency p50 / p99 ms",
    "lost %",
    "faults",
    "packets/s",
    "core busy %",
    "kB per participant",
    "sender late p99 ms",
)


@dataclass(frozen=True, slots=True)
class Shape:
    """Rooms in which `publishers` send to each other (if there are no viewers) or to `viewers`."""

    name: str
    rooms: int
    publishers: int
    viewers: int
    video_rate: int
    "Packets a second from each publisher."
    burst: int
    "Packets of one frame, sent at once."
    audio: bool = False
    window: int = 0
    "Saturated: as many packets as this are always on their way, instead of `video_rate`."

    @property
    def words(self) -> str:
        if self.window:
            return (
                f"as many packets of 1200 B as the server takes, in bursts of {self.burst}, {self.window} on their way"
            )
        sound = " + 50 of 120 B" if self.audio else ""
        return f"{self.video_rate} packets/s of 1200 B in bursts of {self.burst}{sound} from each publisher"


SHAPES = (
    Shape("1 → 1", 1, 1, 1, 2000, 8),
    Shape("1 → 25", 1, 1, 25, 1000, 8),
    Shape("1 → 200", 1, 1, 200, 150, 8),
    Shape("10 rooms of 5", 10, 5, 0, 75, 3, audio=True),
)
CONDITIONS = (
    Shape("1 → 25, singles", 1, 1, 25, 2000, 1),
    Shape("1 → 25, saturated", 1, 1, 25, 0, 8, window=64),
    Shape("1 → 100", 1, 1, 100, 1000, 8),
    Shape("1 → 5, saturated", 1, 1, 5, 0, 8, window=64),
)
"""Those that `REFERENCE` was measured under, where no shape above is the same."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one server under one shape of load."""

    cpu: float
    "Seconds of CPU per forwarded packet."
    p50: float
    p99: float
    loss: float
    rate: float
    "Packets forwarded a second."
    busy: float
    "Share of its core that the server used."
    faults: int
    "Packets among those checked that were damaged, doubled or out of order."
    late: float
    "Seconds: 99th percentile of how late the client itself sent."
    memory: float
    "Bytes resident per participant, with media."
    profile: str


@dataclass(frozen=True, slots=True)
class Joins:
    """Cost of connections without media."""

    join: float
    "Seconds of CPU for one join: socket, publishing and subscribing connection up."
    idle: float
    "Seconds of CPU a second of one connection."
    memory: float
    "Bytes resident per connection."
    connections: int


def markdown(
    shapes: Sequence[Shape],
    outcomes: Mapping[str, Mapping[str, Outcome]],
    costs: Mapping[str, Joins],
    rounds: int,
    seconds: float,
) -> str:
    lines = [*_machine(rounds, seconds), ""]
    lines += [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for shape in shapes:
        found = outcomes.get(shape.name, {})
        ours = found.get("aiosfu")
        for name, one in found.items():
            ratio = "" if ours is None or one is ours else f"{ours.cpu / one.cpu:.2f}"
            lines.append(
                f"| {shape.name} | {name} | {one.cpu * 1e6:.2f} | {ratio} | {one.p50 * 1e3:.2f} / {one.p99 * 1e3:.2f} "
                f"| {one.loss * 100:.2f} | {one.faults:.0f} | {one.rate:.0f} | {one.busy * 100:.0f} "
                f"| {one.memory / 1e3:.0f} | {one.late * 1e3:.2f} |"
            )
        if ours is not None:
            for name, bar in _mediasoup(shape.name, found).items():
                lines.append(f"| {shape.name} | {name} | {bar:.2f} | {ours.cpu * 1e6 / bar:.2f} |{' |' * 7}")
    if costs:
        lines += ["", "| | CPU ms per join | CPU µs/s per idle connection | kB per idle connection | connections |"]
        lines.append("|---|---|---|---|---|")
        for name, cost in costs.items():
            lines.append(
                f"| {name} | {cost.join * 1e3:.2f} | {cost.idle * 1e6:.0f} | {cost.memory / 1e3:.0f} | {cost.connections:.0f} |"
            )
    return "\n".join([*lines, "", *_verdicts(outcomes, costs), "", *_notes(shapes, outcomes)])


def _machine(rounds: int, seconds: float) -> list[str]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    return [
        f"# Load, {time.strftime('%Y-%m-%d %H:%M')}",
        "",
        f"{os.cpu_count()} × {model}, Linux {platform.release()}, Python {platform.python_version()}, "
        f"aiosfu {version('aiosfu')}, pylibsrtp {version('pylibsrtp')}, Janus {janus.installed() or 'not installed'}; "
        f"load average {os.getloadavg()[0]:.1f}. Medians of {rounds} round(s) of {seconds:g} s, servers in turn.",
    ]


def _verdicts(outcomes: Mapping[str, Mapping[str, Outcome]], costs: Mapping[str, Joins]) -> list[str]:
    """The goals, one line each: met or not."""
    lines = []
    for shape, found in outcomes.items():
        ours = found.get("aiosfu")
        if ours is None:
            continue
        cpu = ours.cpu * 1e6
        if (rival := _best(found)) is not None:
            name, best = rival
            ratio = cpu / (best.cpu * 1e6)
            lines.append(
                f"- {_met(ratio < 1)} {shape}: {ratio:.2f} × Janus at its best ({name}, {best.cpu * 1e6:.2f} µs)"
            )
        if shape in REFERENCE:
            bar = REFERENCE[shape][0]
            lines.append(
                f"- {_met(cpu <= MEDIASOUP_MARGIN * bar)} {shape}: {cpu / bar:.2f} × mediasoup's reference, {bar:.2f} µs "
                f"(at most {MEDIASOUP_MARGIN})"
            )
    own = costs.get("aiosfu")
    if own is not None:
        lines.append(f"- {_met(own.join <= JOIN_GOAL)} a join: {own.join * 1e3:.2f} ms of CPU (goal: 3)")
        lines.append(
            f"- {_met(own.idle <= IDLE_GOAL)} an idle connection: {own.idle * 1e6:.0f} µs/s of CPU (goal: 100)"
        )
    return lines


def _best(found: Mapping[str, Outcome]) -> tuple[str, Outcome] | None:
    """The cheapest other server that lost next to nothing."""
    sound = [(name, one) for name, one in found.items() if name != "aiosfu" and one.loss < 0.01]
    return min(sound, key=lambda item: item[1].cpu, default=None)


def _mediasoup(shape: str, found: Mapping[str, Outcome]) -> dict[str, float]:
    """Its reference figure as it was measured, and as it would be on a machine where Janus costs what it costs here."""
    if shape not in REFERENCE:
        return {}
    mediasoup, other = REFERENCE[shape]
    bars = {"mediasoup, reference": mediasoup}
    if (rival := _best(found)) is not None:
        bars["mediasoup, scaled by Janus"] = mediasoup * rival[1].cpu * 1e6 / other
    return bars


def _met(met: bool) -> str:
    return "met:" if met else "**not met:**"


def _notes(shapes: Sequence[Shape], outcomes: Mapping[str, Mapping[str, Outcome]]) -> list[str]:
    profiles = {one.profile for found in outcomes.values() for one in found.values()}
    return [
        *(f"- {shape.name}: {shape.words}" for shape in shapes),
        f"- SRTP: {', '.join(sorted(profiles)) or 'AES-128-GCM'}, for all.",
        "- Clients send consent checks, reports and transport-wide feedback, as browsers do.",
        "- Latency: from the making of a packet to its arrival in the subscriber's socket; with the sender's own share.",
        "- kB: resident memory above that of the empty server. A join: socket, token, two connections up to DTLS.",
        "- mediasoup: reference figures under the same conditions, of a machine like this one, not of this run. Scaled: times",
        "  what Janus at its best costs here over what it cost there (where it had less control work: a hint, not a",
        "  measurement).",
    ]
