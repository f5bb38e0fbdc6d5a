"""Whether received pictures stood still, from what watch.js noted ten times a second."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

from tests.web.guest import Guest

ATTEMPTS = 3
"""A machine that runs several browsers on two cores may itself stand still for a moment: that happens once, a fault of the
server every time."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One received picture over some time."""

    pause: float
    "The longest time without a new frame, in seconds."
    freezes: int
    "As the browser counts them."
    widths: tuple[int, ...]
    "One after the other."


def flow(samples: list[dict[str, Any]], track: str) -> Flow:
    seen = [one for one in samples if one["track"] == track]
    assert seen, "nothing was received"
    pause, last = 0.0, seen[0]["at"]
    for before, after in pairwise(seen):
        if after["frames"] > before["frames"]:
            last = after["at"]
        pause = max(pause, after["at"] - last)
    widths = tuple(width for width, _ in groupby(one["width"] for one in seen))
    return Flow(pause / 1000, seen[-1]["freezes"] - seen[0]["freezes"], widths)


async def watched(guest: Guest, track: str, act: Callable[[], Awaitable[None]]) -> Flow:
    """How a picture flowed while something was done."""
    await guest.run("() => watched.sample()")
    await act()
    return flow(await guest.run("() => watched.samples"), track)


async def steady(guest: Guest, track: str, act: Callable[[], Awaitable[None]], *, pause: float = 0.5) -> Flow:
    """Does something, and again if the picture stood still; fails if it did every time."""
    flows = []
    for _ in range(ATTEMPTS):
        flows.append(await watched(guest, track, act))
        if flows[-1].freezes == 0 and flows[-1].pause <= pause:
            return flows[-1]
    raise AssertionError(f"{guest.name}'s picture stood still: {flows}")
