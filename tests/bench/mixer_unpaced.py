"""Ours, as fast as it goes: `python -m tests.bench.mixer_unpaced TILES [labels]` prints the CPU seconds of all of it."""

import sys
import time

from tests.bench.mixer import compose_all

if __name__ == "__main__":
    compose_all(int(sys.argv[1]), labels="labels" in sys.argv)
    print(time.process_time())
