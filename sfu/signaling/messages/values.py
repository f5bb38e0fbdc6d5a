"""Values that messages are made of: limited strings, and the state of participants, tracks, rooms and media."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from sfu.forwarding.decision_log import Cause, DecisionKind
from sfu.rooms.egress_status import LayoutName
from sfu.rooms.media_stats import QualityLimitation
from sfu.sdp.description import MID_LIMIT, SDP_LIMIT

PROTOCOL_VERSION = 1
MESSAGE_LIMIT_BYTES = 262_144
"""A larger WebSocket message closes the socket. An offer with the longest SDP and its track descriptions fits."""
SDP_LIMIT_BYTES = SDP_LIMIT

RequestId = Annotated[int, Meta(ge=0, le=2**53)]
Name = Annotated[str, Meta(max_length=128)]
Identifier = Annotated[str, Meta(min_length=1, max_length=128)]
Sdp = Annotated[str, Meta(max_length=SDP_LIMIT_BYTES)]
Mid = Annotated[str, Meta(max_length=MID_LIMIT)]
Metadata = Annotated[str, Meta(max_length=16_384)]
Attributes = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=1024)]], Meta(max_length=32)
]
Kind = Literal["audio", "video"]
Source = Literal["camera", "microphone", "screen_share", "screen_share_audio", "unknown"]
Quality = Literal["excellent", "good", "poor", "lost"]
Pixels = Annotated[int, Meta(ge=0, le=16_384)]


class Message(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", forbid_unknown_fields=False):
    """Base of all messages. Unknown fields are ignored, so that newer peers work with older ones."""


class LayerSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One simulcast encoding as the publisher configures it."""

    rid: Annotated[str, Meta(max_length=16)]
    width: Pixels = 0
    height: Pixels = 0
    fps: Annotated[float, Meta(ge=0, le=240)] = 0
    bitrate: Annotated[int, Meta(ge=0, le=100_000_000)] = 0
    "Bits per second."


class TrackSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The publisher's description of one m-line of its offer."""

    mid: Mid
    track: Annotated[str, Meta(max_length=64)] = ""
    "Track id that the publication had before a `rebuild`; it keeps the id."
    source: Source = "unknown"
    name: Name = ""
    muted: bool = False
    width: Pixels = 0
    height: Pixels = 0
    layers: Annotated[list[LayerSpec], Meta(max_length=4)] = []


class TrackState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Public state of a publication."""

    id: str
    kind: Kind
    source: Source = "unknown"
    name: str = ""
    muted: bool = False
    codec: str = ""
    "The codec's MIME subtype, e.g. `VP8`, `opus`."
    width: int = 0
    height: int = 0
    layers: list[LayerSpec] = []


class Permissions(Struct, frozen=True, kw_only=True):
    """Permissions of a participant: its token's grant and later moderation."""

    publish: bool
    subscribe: bool
    data: bool
    admin: bool
    sources: list[Source]
    "Empty: all sources."
    record: bool = False
    "Allows starting and stopping a recording of the room."
    egress: bool = False
    "Allows starting and stopping live streams of the room."
    update_metadata: bool | msgspec.UnsetType = msgspec.UNSET
    "False: may not change its own name, metadata and attributes. Omitted: true."


class ParticipantState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Public state of a participant."""

    id: str
    identity: str
    name: str = ""
    metadata: str = ""
    attributes: dict[str, str] = {}
    kind: Literal["standard", "ingress"] = "standard"
    "`ingress`: an encoder (RTMP). Its attribute `ingest` is `live`, or `waiting` while the encoder is disconnected."
    admin: bool = False
    joined_at: float = 0.0
    "Seconds since 1970."
    tracks: list[TrackState] = []


class EgressState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """State of the composite egress. Participants see whether the room is live or recorded."""

    live: bool = False
    "A live stream is running at `/watch/{room}`."
    recording: bool = False
    layout: LayoutName = "auto"
    focus: str = ""
    "Id of the participant in the large tile; empty: the active speaker."
    since: float = 0.0
    "Seconds since 1970."
    problem: str = ""
    "One sentence for the user that explains why the egress does not run as requested; empty: no problem."


class RoomState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    name: str
    id: str
    metadata: str = ""
    locked: bool = False
    lobby: bool = False
    "New participants wait until an admin admits them."
    created_at: float = 0.0
    egress: EgressState = EgressState()


class ChatEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    participant: str
    name: str
    text: str
    at: float
    to: str = ""
    "Participant id of the receiver of a private message; empty: public."


class DataEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    participant: str
    topic: str
    payload: str
    at: float


class WaitingParticipant(Struct, frozen=True, kw_only=True, omit_defaults=True):
    participant: str
    identity: str
    name: str = ""


class IceServer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    urls: list[str]
    username: str = ""
    credential: str = ""


class SubscriptionUpdate(Struct, frozen=True, kw_only=True):
    """Subscription settings of one track. Omitted fields keep their value."""

    track: Identifier
    width: Pixels | msgspec.UnsetType = msgspec.UNSET
    height: Pixels | msgspec.UnsetType = msgspec.UNSET
    fps: Annotated[float, Meta(ge=0, le=240)] | msgspec.UnsetType = msgspec.UNSET
    priority: Annotated[int, Meta(ge=0, le=255)] | msgspec.UnsetType = msgspec.UNSET
    "0 lowest, 255 highest. Large tiles should have a higher priority."
    paused: bool | msgspec.UnsetType = msgspec.UNSET


class Decision(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of a participant's decision log."""

    number: int
    "Increases by one per entry. Entries that are sent again after a resume keep their number."
    at: float
    "Seconds since 1970."
    kind: DecisionKind
    cause: Cause
    "For `layer_up` and `resumed`: the cause that ended."
    track: str = ""
    "Empty: the entire connection."
    before: float = 0.0
    "Height in pixels; for `loss` 0 to 1, for `estimate` bits per second."
    after: float = 0.0
    rate: float = 0.0
    "Estimated bandwidth in bits per second; 0: unknown."


class VideoState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The layer that is sent of one video track, and the limiting reason."""

    track: str
    cause: Cause
    paused: bool = False
    layer: str = ""
    width: int = 0
    height: int = 0
    max_height: int = 0
    "Height of the largest layer that the publisher sends, or would send if a subscriber requested it; 0: unknown."
    limitation: QualityLimitation = "none"
    "Why the publisher's browser sends less than requested, as that browser reports it."


class LimitedTrack(Struct, frozen=True, kw_only=True):
    """An own video track with a quality limitation."""

    track: Identifier
    reason: QualityLimitation


class SpeakerLevel(Struct, frozen=True, kw_only=True):
    participant: str
    level: float
    "0 silent … 1 loudest."
