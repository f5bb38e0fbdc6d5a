"""Every signalling message as a type: what PROTOCOL.md describes, what the JSON Schema is made from, what the server checks.

A WebSocket text frame carries one message (an object) or several (an array, server to client only). `type` says which.
A client's request carries `id` (its own counter); the server answers each with exactly one `ok`, `answer`, `joined`,
`waiting` or `error` of the same `id`. Requests of the server (`offer`) are answered by the client the same way.
"""

from typing import Annotated, Any, Literal

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


# -- shapes used inside messages ----------------------------------------------------------------------------------------


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


# -- client to server ---------------------------------------------------------------------------------------------------


class Join(Message, frozen=True, kw_only=True, tag="join"):
    """The first message of a socket. With `resume`, the session of an earlier socket goes on where it was."""

    id: RequestId
    token: Annotated[str, Meta(max_length=8192)] = ""
    "The access token, unless it came as the WebSocket subprotocol `token.<jwt>`."
    resume: Annotated[str, Meta(max_length=128)] = ""
    "The secret `resume_key` of `joined`."
    last: Annotated[int, Meta(ge=0)] = 0
    "With resume: the highest `n` seen; the server sends again what came after it, or a full `joined` if it no longer can."
    name: Name = ""
    attributes: Attributes = {}
    auto_subscribe: bool = True
    client: Annotated[str, Meta(max_length=256)] = ""
    "Free text for the logs, e.g. `web 0.1 Chromium 156`."
    protocol: int = PROTOCOL_VERSION


class Publish(Message, frozen=True, kw_only=True, tag="publish"):
    """The publishing connection's offer, and what its m-lines carry. Sent again for each change and for an ICE restart."""

    id: RequestId
    sdp: Sdp
    tracks: Annotated[list[TrackSpec], Meta(max_length=64)] = []
    "Every m-line that sends. A track whose m-line no longer sends is unpublished."


class Unpublish(Message, frozen=True, kw_only=True, tag="unpublish"):
    id: RequestId
    track: Identifier


class Mute(Message, frozen=True, kw_only=True, tag="mute"):
    """Own track: either way. Another's track: admins, and only `muted: true`."""

    id: RequestId
    track: Identifier
    muted: bool


class Answer(Message, frozen=True, kw_only=True, tag="answer"):
    """Both ways: the answer to the `offer` (server's) or `publish` (client's) of the same `id`."""

    id: RequestId
    sdp: Sdp
    tracks: dict[str, str] = {}
    "Server to client: m-line id → track id, for the tracks published."


class Candidate(Message, frozen=True, kw_only=True, tag="candidate"):
    """A trickled ICE candidate of the client. Accepted; an ICE-lite server never probes it."""

    connection: Literal["publish", "subscribe"]
    candidate: Annotated[str, Meta(max_length=1024)] = ""
    mid: Mid = ""


class IceRestart(Message, frozen=True, kw_only=True, tag="restart"):
    """Asks for an ICE restart of the subscribing connection: the server sends a new `offer`."""

    id: RequestId


class Subscribe(Message, frozen=True, kw_only=True, tag="subscribe"):
    id: RequestId
    tracks: Annotated[list[SubscriptionUpdate], Meta(max_length=512)]


class Unsubscribe(Message, frozen=True, kw_only=True, tag="unsubscribe"):
    id: RequestId
    tracks: Annotated[list[Identifier], Meta(max_length=512)]


class Chat(Message, frozen=True, kw_only=True, tag="chat"):
    id: RequestId
    text: Annotated[str, Meta(min_length=1, max_length=4096)]
    to: Annotated[str, Meta(max_length=128)] = ""
    "A participant id; empty for everybody."


class Data(Message, frozen=True, kw_only=True, tag="data"):
    """Application data to the room (reactions, whiteboards). For low latency use the data channel instead."""

    id: RequestId
    topic: Annotated[str, Meta(max_length=64)] = ""
    payload: Annotated[str, Meta(max_length=32_768)]
    to: Annotated[list[Identifier], Meta(max_length=256)] = []
    "Participant ids; empty for everybody."
    keep: bool = False
    "Kept in the room's history for late joiners (bounded; the oldest goes first)."


class UpdateMetadata(Message, frozen=True, kw_only=True, tag="metadata"):
    """Changes one's own name, metadata or attributes. An attribute set to the empty string is removed."""

    id: RequestId
    name: Name | msgspec.UnsetType = msgspec.UNSET
    metadata: Metadata | msgspec.UnsetType = msgspec.UNSET
    attributes: Attributes = {}


class UpdateRoom(Message, frozen=True, kw_only=True, tag="room"):
    """Admins: lock, lobby and the room's metadata. Fields left out stay."""

    id: RequestId
    locked: bool | msgspec.UnsetType = msgspec.UNSET
    lobby: bool | msgspec.UnsetType = msgspec.UNSET
    metadata: Metadata | msgspec.UnsetType = msgspec.UNSET


class UpdateEgress(Message, frozen=True, kw_only=True, tag="egress"):
    """Starts and stops the programme. Fields left out stay. `live` needs the permission `egress`, `recording` needs `record`,
    the layout either. Everybody is told by `room_updated`."""

    id: RequestId
    live: bool | msgspec.UnsetType = msgspec.UNSET
    recording: bool | msgspec.UnsetType = msgspec.UNSET
    layout: LayoutName | msgspec.UnsetType = msgspec.UNSET
    focus: Annotated[str, Meta(max_length=128)] | msgspec.UnsetType = msgspec.UNSET
    "A participant id; empty: whoever speaks."


class Kick(Message, frozen=True, kw_only=True, tag="kick"):
    id: RequestId
    participant: Identifier
    reason: Annotated[str, Meta(max_length=256)] = ""


class Admit(Message, frozen=True, kw_only=True, tag="admit"):
    id: RequestId
    participant: Identifier


class Deny(Message, frozen=True, kw_only=True, tag="deny"):
    id: RequestId
    participant: Identifier


class Pong(Message, frozen=True, kw_only=True, tag="pong"):
    """Answer to `ping`; `at` is its `at`."""

    at: float = 0.0


class Report(Message, frozen=True, kw_only=True, tag="report"):
    """What the client's browser measured since its last report, every few seconds. Shown and summed up, never relied on.
    No answer; what comes sooner than two seconds after the one before is left out."""

    rtt: Annotated[float, Meta(ge=0, le=60)] = 0.0
    "Seconds."
    jitter: Annotated[float, Meta(ge=0, le=60)] = 0.0
    "Seconds, of the worst received track."
    loss: Annotated[float, Meta(ge=0, le=1)] = 0.0
    "Share of the packets of the worst received track."
    freezes: Annotated[int, Meta(ge=0, le=10_000)] = 0
    "Pictures that stood still, all tracks together,"
    frozen: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    "and for how many seconds."
    concealed: Annotated[float, Meta(ge=0, le=1)] = 0.0
    "Share of the sound that had to be made up, of the worst track."
    limited: Annotated[list[LimitedTrack], Meta(max_length=64)] = []
    "Own pictures that the browser holds down."


class ClientLeave(Message, frozen=True, kw_only=True, tag="leave"):
    """The participant goes on purpose: no resume will follow."""

    reason: Annotated[str, Meta(max_length=256)] = ""


ClientMessage = (
    Join
    | Publish
    | Unpublish
    | Mute
    | Answer
    | Candidate
    | IceRestart
    | Subscribe
    | Unsubscribe
    | Chat
    | Data
    | UpdateMetadata
    | UpdateRoom
    | UpdateEgress
    | Kick
    | Admit
    | Deny
    | Pong
    | Report
    | ClientLeave
)


# -- server to client ---------------------------------------------------------------------------------------------------


class Ok(Message, frozen=True, kw_only=True, tag="ok"):
    id: int


class Error(Message, frozen=True, kw_only=True, tag="error"):
    """`id` of the refused request, or -1 when it could not be read."""

    id: int = -1
    code: str
    message: str
    retry_after: float = 0.0
    "With `rate_limited`: seconds after which the same request can succeed."


class Joined(Message, frozen=True, kw_only=True, tag="joined"):
    id: int
    session: str
    resume_key: str
    n: int = 0
    "Number of the newest event that this snapshot already contains."
    resumed: bool = False
    "The old session goes on and nothing was missed beyond what follows: connections and tracks stay."
    participant: ParticipantState
    permissions: Permissions
    room: RoomState
    participants: list[ParticipantState]
    "The others."
    chat: list[ChatEntry] = []
    data: list[DataEntry] = []
    waiting: list[WaitingParticipant] = []
    "For admins: who is in the lobby."
    ice_servers: list[IceServer] = []
    heartbeat: float = 30.0
    "Seconds between the server's pings; two missed ones mean that the other side is gone."
    server: str = ""
    protocol: int = PROTOCOL_VERSION


class InLobby(Message, frozen=True, kw_only=True, tag="waiting"):
    """The join waits for an admin; `joined` or `leave` follows."""

    id: int
    room: str


class Offer(Message, frozen=True, kw_only=True, tag="offer"):
    """The subscribing connection's offer. The client answers with the same `id`; one offer is open at a time."""

    id: int
    sdp: str
    tracks: dict[str, str] = {}
    "m-line id → track id; m-lines not listed are inactive."
    fresh: bool = False
    "The first offer of a new connection: make a new RTCPeerConnection, close the old one."


class ParticipantJoined(Message, frozen=True, kw_only=True, tag="participant_joined"):
    n: int = 0
    participant: ParticipantState


class ParticipantLeft(Message, frozen=True, kw_only=True, tag="participant_left"):
    n: int = 0
    participant: str
    reason: str = ""


class ParticipantUpdated(Message, frozen=True, kw_only=True, tag="participant_updated"):
    """The participant without its tracks: name, metadata, attributes, admin."""

    n: int = 0
    participant: ParticipantState


class PermissionsChanged(Message, frozen=True, kw_only=True, tag="permissions"):
    n: int = 0
    permissions: Permissions


class TrackPublished(Message, frozen=True, kw_only=True, tag="track_published"):
    n: int = 0
    participant: str
    track: TrackState


class TrackUnpublished(Message, frozen=True, kw_only=True, tag="track_unpublished"):
    n: int = 0
    participant: str
    track: str


class TrackMuted(Message, frozen=True, kw_only=True, tag="track_muted"):
    n: int = 0
    participant: str
    track: str
    muted: bool
    by: str = ""
    "Participant id of the admin who did it, if it was not the owner."


class SubscriptionState(Message, frozen=True, kw_only=True, tag="subscription"):
    """What the server sends of a track now. `layer` is the rid; empty when nothing is sent."""

    n: int = 0
    track: str
    paused: bool = False
    reason: Literal["", "wish", "muted", "no_layer", "congestion", "permission", "codec", "last_n"] = ""
    layer: str = ""
    width: int = 0
    height: int = 0


class LayersWanted(Message, frozen=True, kw_only=True, tag="layers_wanted"):
    """Which layers of a track of yours anybody watches; the others need not be sent until this comes again. No `n`."""

    track: str
    layers: list[str]
    "Rids, smallest first; never none."


class SpeakerLevel(Struct, frozen=True, kw_only=True):
    participant: str
    level: float
    "0 silent … 1 loudest."


class Speakers(Message, frozen=True, kw_only=True, tag="speakers"):
    """Who speaks now, loudest first, and the dominant speaker (empty: nobody yet). Sent on change; momentary: no `n`."""

    dominant: str = ""
    speakers: list[SpeakerLevel] = []


class ConnectionQuality(Message, frozen=True, kw_only=True, tag="quality"):
    """Connection quality by participant id; only those that changed. Momentary: no `n`."""

    participants: dict[str, Quality]
    rtt_ms: float = 0.0
    "Of the receiver of this message."
    loss: float = 0.0
    "0 to 1, of the receiver of this message, the worse direction."


class DiagnosticsUpdate(Message, frozen=True, kw_only=True, tag="explanation"):
    """Why the receiver's own media are as they are. At most once a second, when something changed. Momentary: no `n`."""

    estimate: float = 0.0
    "Bits per second that the way to you carries; 0: not known."
    rtt_ms: float = 0.0
    loss: float = 0.0
    "0 to 1, on the way to you."
    height: int = 0
    "Lines that the operator's rules allow for one picture now; 0: any."
    rule: Cause = Cause.ESTIMATE
    "By which of them: `estimate`, `delay` or `loss`."
    video_stats: list[VideoState] = []
    "Those that changed."
    events: list[Decision] = []
    "Oldest first."


class ChatMessage(Message, frozen=True, kw_only=True, tag="chat_message"):
    n: int = 0
    entry: ChatEntry


class DataMessage(Message, frozen=True, kw_only=True, tag="data_message"):
    n: int = 0
    entry: DataEntry


class RoomUpdated(Message, frozen=True, kw_only=True, tag="room_updated"):
    n: int = 0
    room: RoomState


class LobbyChanged(Message, frozen=True, kw_only=True, tag="lobby"):
    """For admins: everybody who waits now."""

    n: int = 0
    waiting: list[WaitingParticipant]


class Leave(Message, frozen=True, kw_only=True, tag="leave"):
    """The server ends the session. `action` says what the client should do next."""

    reason: Literal[
        "kicked",
        "duplicate_identity",
        "room_closed",
        "room_locked",
        "room_full",
        "denied",
        "token_expired",
        "draining",
        "timeout",
        "protocol_error",
        "slow_consumer",
    ]
    message: str
    "One sentence for the person."
    action: Literal["disconnect", "resume", "reconnect"] = "disconnect"
    "disconnect: do not come back; resume: open a new socket and resume; reconnect: join afresh (perhaps another node)."
    retry_after: float = 0.0


class Draining(Message, frozen=True, kw_only=True, tag="draining"):
    """The server goes down at its operator's wish. The meeting goes on until then; who can, says goodbye or moves on."""

    message: str
    "One sentence for the person."
    seconds: float
    "Left at most; then comes `leave` with `draining`."


class Ping(Message, frozen=True, kw_only=True, tag="ping"):
    at: float


ServerMessage = (
    Ok
    | Error
    | Answer
    | Joined
    | InLobby
    | Offer
    | ParticipantJoined
    | ParticipantLeft
    | ParticipantUpdated
    | PermissionsChanged
    | TrackPublished
    | TrackUnpublished
    | TrackMuted
    | SubscriptionState
    | LayersWanted
    | Speakers
    | ConnectionQuality
    | DiagnosticsUpdate
    | ChatMessage
    | DataMessage
    | RoomUpdated
    | LobbyChanged
    | Draining
    | Leave
    | Ping
)


_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)


def encode(message: ServerMessage | ClientMessage) -> bytes:
    """One message as UTF-8 JSON."""
    return _encode(message)


def decode(data: bytes | str) -> ClientMessage:
    """A client's frame. Raises msgspec.ValidationError / msgspec.DecodeError, whose text names the place."""
    return _decoder.decode(data)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of both directions, from the types above."""
    (client, server), components = msgspec.json.schema_components(
        [ClientMessage, ServerMessage], ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "aiosfu signalling",
        "$defs": components | {"ClientMessage": client, "ServerMessage": server},
        "anyOf": [{"$ref": "#/$defs/ClientMessage"}, {"$ref": "#/$defs/ServerMessage"}],
    }
