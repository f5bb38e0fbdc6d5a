"""One track that a participant publishes: what everybody sees of it, and where its media comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sfu.ids import TrackId
from sfu.rooms.ports import MediaSource

if TYPE_CHECKING:
    from sfu.rooms.participant import Participant

TrackSource = Literal["camera", "microphone", "screen_share", "screen_share_audio", "unknown"]

SOURCE_KINDS: dict[TrackSource, str] = {
    "camera": "video",
    "microphone": "audio",
    "screen_share": "video",
    "screen_share_audio": "audio",
}
"""The kind that a source must have; `unknown` may be either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDescription:
    """One simulcast encoding as its publisher configured it. `bitrate` in bits per second; 0: not said."""

    rid: str
    width: int = 0
    height: int = 0
    fps: float = 0.0
    bitrate: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackDescription:
    """What the publisher says of a track."""

    source: TrackSource = "unknown"
    name: str = ""
    width: int = 0
    height: int = 0
    layers: tuple[LayerDescription, ...] = ()


@dataclass(slots=True, eq=False)
class Publication:
    id: TrackId
    owner: Participant
    media: MediaSource
    description: TrackDescription
    muted: bool = False
