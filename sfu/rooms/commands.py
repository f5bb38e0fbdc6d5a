"""Decisions that a participant asks for, as values: a node that mirrors a room sends them to the home of the room."""

from dataclasses import dataclass

from sfu.ids import TrackId


@dataclass(frozen=True, slots=True)
class SendChat:
    id: str
    "Of the chat entry: a command that is sent again does not add it twice."
    text: str
    to: str


@dataclass(frozen=True, slots=True)
class SendData:
    topic: str
    payload: str
    to: tuple[str, ...]
    keep: bool


@dataclass(frozen=True, slots=True)
class Kick:
    participant: str
    reason: str


@dataclass(frozen=True, slots=True)
class MuteTrack:
    track: TrackId
    muted: bool


@dataclass(frozen=True, slots=True)
class Admit:
    participant: str


@dataclass(frozen=True, slots=True)
class Deny:
    participant: str


@dataclass(frozen=True, slots=True)
class UpdateRoom:
    """None: unchanged."""

    locked: bool | None
    lobby: bool | None
    metadata: str | None


Action = SendChat | SendData | Kick | MuteTrack | Admit | Deny | UpdateRoom
