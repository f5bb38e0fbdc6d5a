"""The sums of the bounds, and their table for people."""

from collections import Counter

import pytest

from sfu import config
from sfu.admin.bounds import Owner, table
from sfu.admin.bounds_report import rows, size, summary, totals

SETTINGS = config.Settings()


def test_one_line_per_row() -> None:
    head, rule, *lines = rows(SETTINGS)
    assert head.count("|") == rule.count("|") == 8
    assert [line.split(" | ")[0] for line in lines] == [f"| {row.what}" for row in table(SETTINGS)]


def test_the_summary_states_the_sums() -> None:
    found = totals(SETTINGS)
    text = summary(SETTINGS)
    for each in (found.participant, found.room, found.egress, found.server):
        assert size(each) in text
    assert f"{found.max_participants:,} participants" in text


def test_sums() -> None:
    found = totals(SETTINGS)
    small = config.load(
        flags=[
            ("rooms.max_rooms", "10"), ("rooms.max_participants", "10"), ("rooms.max_tracks", "2"),
            ("egress.max_jobs", "0"), ("signaling.max_sockets", "30"),
            ("signaling.max_http_sessions", "20"),
        ]
    )  # fmt: skip
    smaller = totals(small)
    assert found.participant < found.room < found.server
    assert smaller.max_participants == 50
    assert smaller.participant < found.participant
    assert smaller.room < 11 * smaller.participant + 10_000_000
    assert smaller.server < found.server
    of = Counter[Owner]()
    for row in table(small):
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
    assert size(count) == words
