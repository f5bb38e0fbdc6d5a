"""Fuzzes all targets, or those named: python -m tests.fuzz SECONDS [NAME…]. What it learns stays in build/fuzz/.

An input that finds a fault lies in build/fuzz/found/ then: fix the fault, and move it to tests/fuzz/corpus/NAME/.
"""

import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["sfu", "aiortc.rtcsctptransport"], enable_loader_override=False):
    from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).with_name("corpus")
BUILD = Path("build/fuzz")
AT_ONCE = 4
MEMORY_MB = 1024
SHORT_RUNS = 1000
"""Inputs of each target where it has less than a second."""
SLOW = 10
"""Seconds that one input may take; more is a fault."""
LONGEST = 4096
LONGER = {"offer": 32_768, "answer": 32_768, "http_offer": 32_768, "fragment": 16_384}


@dataclass(frozen=True, slots=True)
class Outcome:
    name: str
    executions: int
    features: int
    "Of the code, that libFuzzer tells apart."
    fault: str
    "Last output of the target; empty: nothing was found."


def fuzz(name: str, seconds: float) -> int:
    """In a process of its own, because libFuzzer never returns: its id. Importing under atheris' eyes takes seconds, so
    that is done once, before."""
    learned, found = BUILD / name, BUILD / "found"
    for folder in (learned, found):
        folder.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child:
        return child
    with (BUILD / f"{name}.log").open("wb") as log:
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)
    flags = [
        f"-max_total_time={max(1, round(seconds))}",
        f"-runs={SHORT_RUNS if seconds < 1 else -1}",
        f"-timeout={SLOW}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-max_len={LONGER.get(name, LONGEST)}",
        f"-artifact_prefix={found}/{name}-",
        "-print_final_stats=1",
    ]
    atheris.Setup([name, *flags, str(learned), str(CORPUS / name)], TARGETS[name])
    atheris.Fuzz()
    os._exit(1)


def outcome(name: str, status: int) -> Outcome:
    said = (BUILD / f"{name}.log").read_text(errors="replace")
    executed = re.search(r"stat::number_of_executed_units: *(\d+)", said)
    features = re.findall(r"\bft: (\d+)", said)
    fault = said[-6000:] if status or not executed else ""
    return Outcome(name, int(executed[1]) if executed else 0, int(features[-1]) if features else 0, fault)


def fuzz_all(seconds: float, names: list[str]) -> list[Outcome]:
    """`seconds` in all; a target that gets less than one ends after a second or `SHORT_RUNS` inputs."""
    waiting, running, outcomes = list(names), dict[int, str](), []
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            name = waiting.pop(0)
            running[fuzz(name, seconds * AT_ONCE / len(names))] = name
        ended, status = os.wait()
        found = outcome(running.pop(ended), status)
        outcomes.append(found)
        verdict = "FAULT" if found.fault else "nothing found"
        print(f"{found.name:12} {found.executions:>10,} executions {found.features:>6} features  {verdict}", flush=True)
    return outcomes


def main() -> None:
    begun = time.monotonic()
    seconds, *names = sys.argv[1:] or ["60"]
    faults = [each for each in fuzz_all(float(seconds), names or list(TARGETS)) if each.fault]
    for each in faults:
        print(f"--- {each.name}\n{each.fault}")
    print(f"{time.monotonic() - begun:.0f} s")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
