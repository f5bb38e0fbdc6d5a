"""Egress status of a room, as its participants see it: whether it is live or recorded, and its layout."""

from dataclasses import dataclass
from typing import Literal

LayoutName = Literal["auto", "grid", "speaker", "presentation", "pip", "single"]


@dataclass(frozen=True, slots=True)
class EgressStatus:
    live: bool = False
    "A live stream of the room is running."
    recording: bool = False
    "The mix or the individual tracks are recorded."
    layout: LayoutName = "auto"
    focus: str = ""
    "Id of the participant in the large tile; empty: the active speaker."
    since: float = 0.0
    "Start time, seconds since 1970."
    problem: str = ""
    "One sentence that explains why the egress does not run as requested; empty: no problem."
