"""The most expensive input that is known of each parser: `python -m tests.bench.costs`. `make fuzz-cost` looks for others."""

import sys

from tests.fuzz.cost import HEAD, search
from tests.fuzz.costs import COSTS


def main() -> int:
    print(HEAD, flush=True)
    rows = [search(name, 0.0) for name in COSTS]
    for found in rows:
        print(found.row, flush=True)
    worst = max(rows, key=lambda found: found.microseconds / found.goal)
    print(f"\nClosest to its goal: {worst.name}, {worst.microseconds:.0f} of {worst.goal:.0f} µs.")
    return any(found.microseconds > found.goal for found in rows)


if __name__ == "__main__":
    sys.exit(main())
