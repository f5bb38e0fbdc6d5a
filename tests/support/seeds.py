"""The seeds of a simulated scenario: the first one in `make test`, all of them in `make soak`."""

import os


def seeds(*numbers: int) -> tuple[int, ...]:
    return numbers if os.environ.get("SEEDS") == "all" else numbers[:1]
