"""Ours, as fast as it goes: `python -m tests.bench.mixer_unpaced TILES [labels]` prints its CPU seconds, imports left out."""

import sys
import time

from tests.bench.mixer import compose_all

if __name__ == "__main__":
    before = time.process_time()
    compose_all(int(sys.argv[1]), labels="labels" in sys.argv)
    print(time.process_time() - before)
