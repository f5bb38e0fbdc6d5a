"""Events as frozen values. Names and meanings are LiveKit's where LiveKit has the event; EVENTS.md lists all."""

from dataclasses import dataclass
from typing import Literal, get_args

from sfu.rooms.observer import Observation, RoomSummary

EventName = Literal[
    "room_started", "room_finished", "room_moved", "room_restored",
    "participant_joined", "participant_left", "participant_connection_aborted",
    "track_published", "track_unpublished", "egress_started", "egress_updated", "egress_ended", "ingress_created",
    "ingress_started", "ingress_updated", "ingress_ended", "ingress_deleted", "recording_started", "recording_finished",
    "participant_waiting", "participant_admitted", "participant_denied", "participant_removed",
    "participant_permissions_changed", "track_muted", "room_updated", "speakers_changed",
]  # fmt: skip
"""`speakers_changed` is transient: only attendance receives it."""
EVENT_NAMES = frozenset(get_args(EventName)) - {"speakers_changed"}
"""Names that sinks receive."""

IngressEvent = Literal["ingress_created", "ingress_started", "ingress_updated", "ingress_ended", "ingress_deleted"]
IngressStatus = Literal["ENDPOINT_INACTIVE", "ENDPOINT_BUFFERING", "ENDPOINT_PUBLISHING", "ENDPOINT_ERROR"]
EgressStatus = Literal["EGRESS_STARTING", "EGRESS_ACTIVE", "EGRESS_ENDING", "EGRESS_COMPLETE", "EGRESS_FAILED"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressChanged:
    """The state of an egress job."""

    id: str
    room: str
    room_id: str
    status: EgressStatus
    started_at: float
    "Seconds since 1970."
    ended_at: float = 0.0
    "0: still running."
    error: str = ""
    outputs: tuple[str, ...] = ()
    "`live`, `recording`, `track`, `tracks`; `push` per RTMP destination."
    layout: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingChanged:
    """The state of a recording."""

    name: str
    "Name of its directory."
    room: str
    kind: Literal["mix", "tracks"]
    egress_id: str = ""
    started_at: float
    finished: bool
    "Its files are complete."
    files: tuple[tuple[str, int], ...] = ()
    "Names and sizes in bytes, of a finished recording."


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressChanged:
    """The state of a stream key or a camera, and of its stream."""

    id: str
    room: str
    room_id: str = ""
    "Empty: no stream."
    identity: str
    name: str
    url: str = ""
    "Address of the camera without credentials and path; empty: a stream key."
    status: IngressStatus
    started_at: float = 0.0
    "Of the latest stream, in seconds since 1970; 0: there was none."
    ended_at: float = 0.0
    error: str = ""
    "Why the last stream failed."
    warning: str = ""
    "Advice for the settings of the encoder or the camera; empty: none."
    codec: str = ""
    "Video codec that arrives; empty: none."
    width: int = 0
    height: int = 0


Content = Observation | EgressChanged | IngressChanged | RecordingChanged


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """One event. All sinks get the same object."""

    number: int
    "Increases within the process; 0: a transient event."
    id: str
    "Unique also across restarts; receivers recognize repeated deliveries by it."
    sequence: int
    "Increases by one per event of the room; a gap means that events were dropped."
    name: EventName
    room: str
    "Name of the room; events of one room stay in order."
    at: float
    "Seconds since 1970."
    content: Content
    summary: RoomSummary | None
    "None for events of egress, ingress and recordings, which may outlive the room."
    body: bytes
    "JSON; empty for transient events."
