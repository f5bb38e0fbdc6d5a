from dataclasses import replace

from sfu.bots.bot import BotStats
from sfu.bots.report import document, line, totals

NOTHING = BotStats(
    name="Ada", joined=False, joining=None, publishing=None, first_frame=None, sent_bytes=0, sent_packets=0, resent=0,
    sent_lost=0, keyframes_asked=0, received_bytes=0, received_packets=0, lost=0, repaired=0, frames=0, decoded=0,
    freezes=0, streams=0, rtt=None, latency=None, reconnects=0,
)  # fmt: skip
LATER = replace(
    NOTHING, joined=True, joining=0.1, first_frame=0.2, sent_bytes=625_000, received_bytes=50_000, sent_packets=100,
    received_packets=90, lost=10, frames=30, decoded=30, streams=2, rtt=0.01, latency=0.05, freezes=1,
)  # fmt: skip


def test_totals() -> None:
    assert totals([NOTHING])["first_frame"] is None
    found = totals([LATER, replace(LATER, first_frame=0.9), LATER])
    assert (found["bots"], found["joined"], found["frames"]) == (3, 3, 90)
    assert found["first_frame"] == {"median": 0.2, "worst": 0.9}


def test_a_line() -> None:
    assert line(totals([LATER]), totals([NOTHING]), 2.0) == (
        "1/1 joined · out 2.5 Mbit/s 0.0 % lost · in 200 kbit/s 10.0 % lost · 2 streams · 15 frames/s · 15 decoded/s · "
        "first picture 0.20 s (worst 0.20) · rtt 10.0 ms · latency 50 ms · 1 freezes"
    )


def test_the_document() -> None:
    found = document([LATER], 3.14159, ["Ada: gone"])
    assert (found["duration"], found["failures"], found["bots"][0]["frames"]) == (3.1, ["Ada: gone"], 30)
