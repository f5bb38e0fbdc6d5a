"""Media statistics of one participant, for the participant's own overlay and for operators. They influence no decision."""

from dataclasses import dataclass
from typing import Literal

from sfu.forwarding.decision_log import Cause, DecisionEntry
from sfu.ids import TrackId

QualityLimitation = Literal["none", "cpu", "bandwidth", "other"]
"""Why a browser sends less video than requested (W3C webrtc-stats, `qualityLimitationReason`)."""


@dataclass(frozen=True, slots=True)
class VideoStats:
    """One subscription to a video track. Sizes are in pixels; 0: unknown."""

    track: TrackId
    paused: bool
    cause: Cause
    "Why the video is paused or not sent in a better layer."
    layer: str
    "Name of the layer that is sent; empty: nothing is sent."
    width: int
    height: int
    max_height: int
    "Height of the largest layer that the publisher sends, or would send if a subscriber requested it."
    limitation: QualityLimitation
    "As the publisher's browser reports it."


@dataclass(frozen=True, slots=True)
class DownlinkStats:
    """The path from the server to the participant."""

    estimate: float
    "Estimated bandwidth in bits per second."
    rtt: float | None
    "Seconds."
    loss: float
    "0 to 1, over the last second."
    height: int
    "Maximum height of one video that the operator's rules allow now, in pixels; 0: unlimited."
    rule: Cause
    "The rule that sets `height`: ESTIMATE, DELAY or LOSS."
    transport: str = "udp"
    "`udp` or `tcp`; a TURN server counts as `udp`."


@dataclass(frozen=True, slots=True)
class ClientReport:
    """Measurements of the participant's browser. They are displayed and aggregated, never trusted."""

    at: float
    "Monotonic seconds."
    rtt: float
    "Seconds."
    jitter: float
    "Seconds, of the worst received track."
    loss: float
    "0 to 1, of the worst received track, since the previous report."
    freezes: int
    "Number of video freezes since the previous report."
    frozen: float
    "Total duration of these freezes in seconds."
    concealed: float
    "Concealed share of the audio, 0 to 1, of the worst track."
    limited: dict[TrackId, QualityLimitation]
    "Own video tracks that the browser limits."


@dataclass(frozen=True, slots=True)
class MediaStats:
    path: DownlinkStats | None
    "None: no estimate yet, or bandwidth estimation is off."
    video_stats: tuple[VideoStats, ...]
    report: ClientReport | None
    entries: tuple[DecisionEntry, ...]
    "Decision log, oldest entry first; `at` is in monotonic seconds."
    at: float
    "Time of this snapshot in monotonic seconds."
