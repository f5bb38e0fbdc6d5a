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


def test_sums() -> None:
    found = bounds.totals(SETTINGS)
    small = config.load(
        flags=[
            ("rooms.max_rooms", "10"), ("rooms.max_participants", "10"), ("rooms.max_tracks", "2"),
            ("egress.max_jobs", "0"), ("signaling.max_sockets", "30"),
            ("signaling.max_http_sessions", "20"),
        ]
    )  # fmt: skip
    smaller = bounds.totals(small)
    assert found.participant < found.room < found.server
    assert smaller.max_participants == 50
    assert smaller.participant < found.participant
    assert smaller.room < 11 * smaller.participant + 10_000_000
    assert smaller.server < found.server
    of = Counter[Owner]()
    for row in bounds.table(small):
        of[row.owner] += row.bytes
    receiving = of[Owner.PARTICIPANT] + 64 * of[Owner.SUBSCRIPTION]
    assert smaller.participant == receiving + 2 * of[Owner.PUBLICATION]
    assert smaller.room == of[Owner.ROOM] + 10 * smaller.participant
    assert smaller.server == of[Owner.SERVER] + 10 * of[Owner.ROOM] + 50 * smaller.participant


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1_234_567, "1.23 MB"),
        (5e9, "5 GB"),
        (2e12, "2 TB"),
        (4e15, "4e+03 TB"),
    ],
)
def test_sizes(count: float, words: str) -> None:
    assert bounds.size(count) == words
