"""Messages from the client to the server."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sfu.rooms.egress_status import LayoutName
from sfu.signaling.messages.values import (
    PROTOCOL_VERSION,
    Attributes,
    Identifier,
    LimitedTrack,
    Message,
    Metadata,
    Mid,
    Name,
    RequestId,
    Sdp,
    SubscriptionUpdate,
    TrackSpec,
)


class Join(Message, frozen=True, kw_only=True, tag="join"):
    """The first message of a socket. `resume` continues the session of an earlier socket."""

    id: RequestId
    token: Annotated[str, Meta(max_length=8192)] = ""
    "The access token, unless it came as the WebSocket subprotocol `token.<jwt>`."
    resume: Annotated[str, Meta(max_length=2048)] = ""
    "The secret `resume_key` of `joined`."
    last: Annotated[int, Meta(ge=0)] = 0
    "With resume: the highest `n` seen. The server repeats later events, or sends a full `joined` if it no longer keeps them."
    name: Name = ""
    attributes: Attributes = {}
    auto_subscribe: bool = True
    client: Annotated[str, Meta(max_length=256)] = ""
    "Free text for the logs, e.g. `web 0.1 Chromium 156`."
    protocol: int = PROTOCOL_VERSION


class Publish(Message, frozen=True, kw_only=True, tag="publish"):
    """The offer of the publishing connection with a description of its tracks. Sent again for each change and ICE restart."""

    id: RequestId
    sdp: Sdp
    tracks: Annotated[list[TrackSpec], Meta(max_length=64)] = []
    "All m-lines that send. A track whose m-line no longer sends is unpublished."


class Unpublish(Message, frozen=True, kw_only=True, tag="unpublish"):
    id: RequestId
    track: Identifier


class Mute(Message, frozen=True, kw_only=True, tag="mute"):
    """Mutes or unmutes an own track. Admins may also mute (not unmute) the tracks of others."""

    id: RequestId
    track: Identifier
    muted: bool


class Answer(Message, frozen=True, kw_only=True, tag="answer"):
    """Both ways: the answer to the `offer` (server's) or `publish` (client's) of the same `id`."""

    id: RequestId
    sdp: Sdp
    tracks: dict[str, str] = {}
    "Server to client: mid → track id of the published tracks."


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
    "A participant id; empty: all participants."


class Data(Message, frozen=True, kw_only=True, tag="data"):
    """Application data to the room (reactions, whiteboards). For low latency use the data channel instead."""

    id: RequestId
    topic: Annotated[str, Meta(max_length=64)] = ""
    payload: Annotated[str, Meta(max_length=32_768)]
    to: Annotated[list[Identifier], Meta(max_length=256)] = []
    "Participant ids; empty: all participants."
    keep: bool = False
    "Whether the room keeps the message for late joiners. The history is bounded; the oldest entry is dropped first."


class UpdateMetadata(Message, frozen=True, kw_only=True, tag="metadata"):
    """Changes one's own name, metadata or attributes. An attribute set to the empty string is removed."""

    id: RequestId
    name: Name | msgspec.UnsetType = msgspec.UNSET
    metadata: Metadata | msgspec.UnsetType = msgspec.UNSET
    attributes: Attributes = {}


class UpdateRoom(Message, frozen=True, kw_only=True, tag="room"):
    """For admins: lock, lobby and the room's metadata. Omitted fields keep their value."""

    id: RequestId
    locked: bool | msgspec.UnsetType = msgspec.UNSET
    lobby: bool | msgspec.UnsetType = msgspec.UNSET
    metadata: Metadata | msgspec.UnsetType = msgspec.UNSET


class UpdateEgress(Message, frozen=True, kw_only=True, tag="egress"):
    """Starts, stops or changes the egress of the room. Omitted fields keep their value. `live` needs the permission `egress`,
    `recording` needs `record`, the layout either. `room_updated` informs all participants."""

    id: RequestId
    live: bool | msgspec.UnsetType = msgspec.UNSET
    recording: bool | msgspec.UnsetType = msgspec.UNSET
    layout: LayoutName | msgspec.UnsetType = msgspec.UNSET
    focus: Annotated[str, Meta(max_length=128)] | msgspec.UnsetType = msgspec.UNSET
    "A participant id; empty: the active speaker."


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
    """Reply to `ping` with the same `at`."""

    at: float = 0.0


class Report(Message, frozen=True, kw_only=True, tag="report"):
    """Measurements of the client's browser since its last report, sent every few seconds. The server displays and aggregates
    them and does not rely on them. No reply. Reports within two seconds of the previous one are ignored."""

    rtt: Annotated[float, Meta(ge=0, le=60)] = 0.0
    "Seconds."
    jitter: Annotated[float, Meta(ge=0, le=60)] = 0.0
    "Seconds, of the worst received track."
    loss: Annotated[float, Meta(ge=0, le=1)] = 0.0
    "0 to 1, of the worst received track."
    freezes: Annotated[int, Meta(ge=0, le=10_000)] = 0
    "Number of video freezes, all tracks together."
    frozen: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    "Total duration of these freezes in seconds."
    concealed: Annotated[float, Meta(ge=0, le=1)] = 0.0
    "Concealed share of the audio, 0 to 1, of the worst track."
    limited: Annotated[list[LimitedTrack], Meta(max_length=64)] = []
    "Own video tracks that the browser limits."


class ClientLeave(Message, frozen=True, kw_only=True, tag="leave"):
    """The participant leaves. The session cannot be resumed."""

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
