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
"""A larger frame closes the socket. An offer of the longest SDP fits, with its line ends escaped and its tracks described."""
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
    """Base of all messages: unknown fields are ignored, so that newer peers can talk to older ones."""


class LayerSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One simulcast encoding as the publisher configures it."""

    rid: Annotated[str, Meta(max_length=16)]
    width: Pixels = 0
    height: Pixels = 0
    fps: Annotated[float, Meta(ge=0, le=240)] = 0
    bitrate: Annotated[int, Meta(ge=0, le=100_000_000)] = 0
    "Bits per second."


class TrackSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the publisher says of one m-line of its offer."""

    mid: Mid
    source: Source = "unknown"
    name: Name = ""
    muted: bool = False
    width: Pixels = 0
    height: Pixels = 0
    layers: Annotated[list[LayerSpec], Meta(max_length=4)] = []


class TrackState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One publication as everybody in the room sees it."""

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
    """What a participant may do; the effective grant of its token and of moderation since."""

    publish: bool
    subscribe: bool
    data: bool
    admin: bool
    sources: list[Source]
    "Empty: every source."
    record: bool = False
    "May have the room recorded."
    egress: bool = False
    "May show the room to others."
    update_metadata: bool | msgspec.UnsetType = msgspec.UNSET
    "False: may not change its own name, metadata and attributes. Left out: it may."


class ParticipantState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One participant as everybody in the room sees it."""

    id: str
    identity: str
    name: str = ""
    metadata: str = ""
    attributes: dict[str, str] = {}
    admin: bool = False
    joined_at: float = 0.0
    "Seconds since 1970."
    tracks: list[TrackState] = []


class EgressState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The room mixed into one picture and one sound, for others. Whoever is in the room is told that it is seen or kept."""

    live: bool = False
    "Others watch it, at `/watch/{room}`."
    recording: bool = False
    layout: LayoutName = "auto"
    focus: str = ""
    "Participant id of whom the large tile shows; empty: whoever speaks."
    since: float = 0.0
    "Seconds since 1970."
    problem: str = ""
    "One sentence for the person, when it does not do what it was asked to."


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
    "The only receiver's participant id, when it is a private message."


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
    """What a subscriber wants of a track. Fields left out keep what was wished before."""

    track: Identifier
    width: Pixels | msgspec.UnsetType = msgspec.UNSET
    height: Pixels | msgspec.UnsetType = msgspec.UNSET
    fps: Annotated[float, Meta(ge=0, le=240)] | msgspec.UnsetType = msgspec.UNSET
    priority: Annotated[int, Meta(ge=0, le=255)] | msgspec.UnsetType = msgspec.UNSET
    "0 least, 255 most; what is shown large is more important."
    paused: bool | msgspec.UnsetType = msgspec.UNSET


class Decision(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of a participant's diary: what was decided about its media, and why."""

    number: int
    "Grows by one with each; one that is sent again after a resume keeps its number."
    at: float
    "Seconds since 1970."
    kind: DecisionKind
    cause: Cause
    "Of `layer_up` and `resumed`: what held it down until then."
    track: str = ""
    "Empty: the whole connection."
    before: float = 0.0
    "Lines of the picture; of `loss` a share from 0 to 1, of `estimate` bits per second."
    after: float = 0.0
    rate: float = 0.0
    "Bits per second that the connection was thought to carry; 0: not known."


class VideoState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is sent of one video, and why it is no better."""

    track: str
    cause: Cause
    paused: bool = False
    layer: str = ""
    width: int = 0
    height: int = 0
    max_height: int = 0
    "Lines of the largest layer that its publisher sends, or would if anybody had a place for it; 0: not known."
    limitation: QualityLimitation = "none"
    "Why its publisher's browser sends less than it should, as that browser says."


class LimitedTrack(Struct, frozen=True, kw_only=True):
    """An own picture of which less is sent than should be."""

    track: Identifier
    reason: QualityLimitation


class SpeakerLevel(Struct, frozen=True, kw_only=True):
    participant: str
    level: float
    "0 silent … 1 loudest."
