"""One participant's connection accounted for: what its path carries, what it gets of each picture and why, what its own
browser says of it, and what was decided of late. For the person itself and for operators; nothing is decided by it.
"""

from dataclasses import dataclass
from typing import Literal

from sfu.forwarding.decision_log import Cause, DecisionEntry
from sfu.ids import TrackId

QualityLimitation = Literal["none", "cpu", "bandwidth", "other"]
"""Why a browser sends less of a picture than it was asked to (W3C webrtc-stats, `qualityLimitationReason`)."""


@dataclass(frozen=True, slots=True)
class VideoStats:
    """One subscription to a video. Sizes in pixels; 0: not known."""

    track: TrackId
    paused: bool
    cause: Cause
    "Why it is paused, or no better."
    layer: str
    "Its name; empty when nothing is sent."
    width: int
    height: int
    max_height: int
    "Lines of the largest layer that its publisher sends, or would if anybody had a place for it."
    limitation: QualityLimitation
    "What its publisher's browser says."


@dataclass(frozen=True, slots=True)
class DownlinkStats:
    """Towards the participant."""

    estimate: float
    "Bits per second that it carries."
    rtt: float | None
    loss: float
    "0 to 1, over the last second."
    height: int
    "Lines that the operator's rules allow for one picture now; 0: any."
    rule: Cause
    "By which rule: ESTIMATE, DELAY or LOSS."


@dataclass(frozen=True, slots=True)
class ClientReport:
    """What the participant's browser measured: never trusted, only shown and summed up."""

    at: float
    "Monotonic seconds."
    rtt: float
    jitter: float
    "Seconds, of the worst received track."
    loss: float
    "0 to 1, of the worst received track, since the report before."
    freezes: int
    "Pictures that stood still, since the report before."
    frozen: float
    "For how many seconds."
    concealed: float
    "Share of the sound that had to be made up, 0 to 1, of the worst track."
    limited: dict[TrackId, QualityLimitation]
    "Of the own pictures."


@dataclass(frozen=True, slots=True)
class MediaStats:
    """What there is to say of one participant's connection now."""

    path: DownlinkStats | None
    "None: nothing is known yet, or the operator does without."
    video_stats: tuple[VideoStats, ...]
    report: ClientReport | None
    entries: tuple[DecisionEntry, ...]
    "Oldest first; `at` in monotonic seconds."
    at: float
    "Now, in monotonic seconds."
