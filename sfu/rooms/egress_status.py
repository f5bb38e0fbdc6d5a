"""What everybody in a room knows of its programme: whether it is shown to others or kept, and how it is arranged."""

from dataclasses import dataclass
from typing import Literal

LayoutName = Literal["auto", "grid", "speaker", "presentation", "pip", "single"]


@dataclass(frozen=True, slots=True)
class EgressStatus:
    live: bool = False
    "Others watch it."
    recording: bool = False
    "It, or everybody's tracks, are recorded."
    layout: LayoutName = "auto"
    focus: str = ""
    "The participant whom the large tile shows; empty: whoever speaks."
    since: float = 0.0
    "Seconds since 1970 at which it began."
    problem: str = ""
    "One sentence when it does not do what it was asked to."
