"""Messages from the server to one client: replies to requests, offers, and the end of the session."""

from typing import Literal

from sfu.signaling.messages.values import (
    PROTOCOL_VERSION,
    ChatEntry,
    DataEntry,
    IceServer,
    Message,
    ParticipantState,
    Permissions,
    RoomState,
    WaitingParticipant,
)


class Ok(Message, frozen=True, kw_only=True, tag="ok"):
    id: int


class Error(Message, frozen=True, kw_only=True, tag="error"):
    """`id` of the refused request, or -1 when it could not be read."""

    id: int = -1
    code: str
    message: str
    retry_after: float = 0.0
    "With `rate_limited`: seconds until the same request can succeed."


class Joined(Message, frozen=True, kw_only=True, tag="joined"):
    id: int
    session: str
    resume_key: str
    n: int = 0
    "Number of the newest event that this snapshot contains."
    resumed: bool = False
    "The old session continues; connections and tracks stay. Missed events follow."
    rebuild: bool = False
    "Another node continues the room. The participant and its tracks keep their ids, but need new peer connections."
    participant: ParticipantState
    permissions: Permissions
    room: RoomState
    participants: list[ParticipantState]
    "The other participants."
    chat: list[ChatEntry] = []
    data: list[DataEntry] = []
    waiting: list[WaitingParticipant] = []
    "For admins: the participants in the lobby."
    ice_servers: list[IceServer] = []
    heartbeat: float = 30.0
    "Seconds between the server's pings. After two missed pings the peer counts as disconnected."
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
    "mid → track id. M-lines that are not listed are inactive."
    fresh: bool = False
    "The first offer of a new connection: create a new RTCPeerConnection and close the old one."


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
        "moved",
    ]
    message: str
    "One sentence for the user."
    action: Literal["disconnect", "resume", "reconnect"] = "disconnect"
    "disconnect: do not reconnect; resume: open a new socket and resume; reconnect: join again, perhaps on another node."
    retry_after: float = 0.0


class Draining(Message, frozen=True, kw_only=True, tag="draining"):
    """The server drains before it stops. The meeting continues until then; clients may leave or reconnect elsewhere."""

    message: str
    "One sentence for the user."
    seconds: float
    "Maximum seconds until `leave` with the reason `draining` follows."


class IceServersChanged(Message, frozen=True, kw_only=True, tag="ice_servers"):
    """New ICE servers, with new credentials. Both RTCPeerConnections use them for later ICE restarts."""

    ice_servers: list[IceServer]
    restart: bool = False
    "The media passes a TURN server that has failed: restart ICE on both connections now."


class Ping(Message, frozen=True, kw_only=True, tag="ping"):
    at: float
