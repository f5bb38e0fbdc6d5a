"""How a publisher describes a track: its source, its name and the simulcast layers that it is configured to send."""

from dataclasses import dataclass
from typing import Literal

TrackSource = Literal["camera", "microphone", "screen_share", "screen_share_audio", "unknown"]

SOURCE_KINDS: dict[TrackSource, str] = {
    "camera": "video",
    "microphone": "audio",
    "screen_share": "video",
    "screen_share_audio": "audio",
}
"""The media kind that each source requires. `unknown` may be either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDescription:
    """One simulcast encoding as its publisher configured it. `bitrate` is in bits per second; 0 means unspecified."""

    rid: str
    width: int = 0
    height: int = 0
    fps: float = 0.0
    bitrate: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackDescription:
    source: TrackSource = "unknown"
    name: str = ""
    width: int = 0
    height: int = 0
    layers: tuple[LayerDescription, ...] = ()
