"""The table of bounds against the memory of the real objects at their bounds."""

import gc
import subprocess
import sys
import tracemalloc
from collections import Counter

import pytest

from sfu import config
from sfu.admin import bounds
from sfu.admin.bounds import Owner
from tests.bounds.filled import ALL, Filled

SETTINGS = config.Settings()
ROWS = {row.what: row for row in bounds.table(SETTINGS)}
WIDE = 5
"""Maximum factor by which a row may overestimate the real memory."""


def test_rows() -> None:
    table = bounds.table(SETTINGS)
    assert [what for what, count in Counter(row.what for row in table).items() if count > 1] == []
    for row in table:
        assert row.count > 0, row
        assert row.each > 0, row
        assert row.reason
    assert {row.owner for row in table} == set(Owner)


@pytest.mark.parametrize("filled", [each for each in ALL if not each.native], ids=lambda each: each.what)
def test_row_matches_measured_memory(filled: Filled) -> None:
    filled.fill()  # fills caches
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        held = filled.fill()
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    allowed = int(ROWS[filled.what].bytes * filled.share)
    print(f"{filled.what}: {taken:,} of {allowed:,}")
    assert held is not None
    assert allowed / WIDE <= taken <= allowed


def test_process_growth_matches_the_sum() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bounds.filled"], capture_output=True, text=True, check=True, timeout=120
    )
    grown, allowed, _ = (int(word) for word in done.stdout.split())
    print(f"{grown:,} of {allowed:,}")
    assert allowed / WIDE <= grown <= allowed
