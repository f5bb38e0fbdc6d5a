"""The signalling messages as types. PROTOCOL.md describes them, schema.json is generated from them.

A WebSocket text frame carries one message (an object) or several (an array, server to client only); `type` names the
message. A client's request carries `id`, a counter of the client. The server answers each request with exactly one `ok`,
`answer`, `joined`, `waiting` or `error` of the same `id`. The client answers an `offer` of the server the same way.

These types are also the vocabulary of a session: a dialect with another wire format translates to and from them.
"""

from sfu.signaling.messages.events import (
    ChatMessage,
    ConnectionQuality,
    DataMessage,
    DiagnosticsUpdate,
    LayersWanted,
    LobbyChanged,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantUpdated,
    PermissionsChanged,
    RoomUpdated,
    Speakers,
    SubscriptionState,
    TrackMuted,
    TrackPublished,
    TrackUnpublished,
)
from sfu.signaling.messages.replies import (
    Draining,
    Error,
    IceServersChanged,
    InLobby,
    Joined,
    Leave,
    Offer,
    Ok,
    Ping,
)
from sfu.signaling.messages.requests import (
    Admit,
    Answer,
    Candidate,
    Chat,
    ClientLeave,
    ClientMessage,
    Data,
    Deny,
    IceRestart,
    Join,
    Kick,
    Mute,
    Pong,
    Publish,
    Report,
    Subscribe,
    Unpublish,
    Unsubscribe,
    UpdateEgress,
    UpdateMetadata,
    UpdateRoom,
)
from sfu.signaling.messages.values import (
    MESSAGE_LIMIT_BYTES,
    PROTOCOL_VERSION,
    SDP_LIMIT_BYTES,
    Attributes,
    ChatEntry,
    DataEntry,
    Decision,
    EgressState,
    IceServer,
    Identifier,
    Kind,
    LayerSpec,
    LimitedTrack,
    Message,
    Metadata,
    Mid,
    Name,
    ParticipantState,
    Permissions,
    Pixels,
    Quality,
    RequestId,
    RoomState,
    Sdp,
    Source,
    SpeakerLevel,
    SubscriptionUpdate,
    TrackSpec,
    TrackState,
    VideoState,
    WaitingParticipant,
)

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
    | IceServersChanged
    | Leave
    | Ping
)

__all__ = [
    "MESSAGE_LIMIT_BYTES",
    "PROTOCOL_VERSION",
    "SDP_LIMIT_BYTES",
    "Admit",
    "Answer",
    "Attributes",
    "Candidate",
    "Chat",
    "ChatEntry",
    "ChatMessage",
    "ClientLeave",
    "ClientMessage",
    "ConnectionQuality",
    "Data",
    "DataEntry",
    "DataMessage",
    "Decision",
    "Deny",
    "DiagnosticsUpdate",
    "Draining",
    "EgressState",
    "Error",
    "IceRestart",
    "IceServer",
    "IceServersChanged",
    "Identifier",
    "InLobby",
    "Join",
    "Joined",
    "Kick",
    "Kind",
    "LayerSpec",
    "LayersWanted",
    "Leave",
    "LimitedTrack",
    "LobbyChanged",
    "Message",
    "Metadata",
    "Mid",
    "Mute",
    "Name",
    "Offer",
    "Ok",
    "ParticipantJoined",
    "ParticipantLeft",
    "ParticipantState",
    "ParticipantUpdated",
    "Permissions",
    "PermissionsChanged",
    "Ping",
    "Pixels",
    "Pong",
    "Publish",
    "Quality",
    "Report",
    "RequestId",
    "RoomState",
    "RoomUpdated",
    "Sdp",
    "ServerMessage",
    "Source",
    "SpeakerLevel",
    "Speakers",
    "Subscribe",
    "SubscriptionState",
    "SubscriptionUpdate",
    "TrackMuted",
    "TrackPublished",
    "TrackSpec",
    "TrackState",
    "TrackUnpublished",
    "Unpublish",
    "Unsubscribe",
    "UpdateEgress",
    "UpdateMetadata",
    "UpdateRoom",
    "VideoState",
    "WaitingParticipant",
]
