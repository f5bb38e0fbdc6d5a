"""Messages from the server to the client about changes in the room and in the client's own media.

Those with `n` are numbered and sent again after a resume.
"""

from typing import Literal

from sfu.forwarding.decision_log import Cause
from sfu.signaling.messages.values import (
    ChatEntry,
    DataEntry,
    Decision,
    Message,
    ParticipantState,
    Permissions,
    Quality,
    RoomState,
    SpeakerLevel,
    TrackState,
    VideoState,
    WaitingParticipant,
)


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
    "Participant id of the admin that did it; empty: the owner or an operator."


class SubscriptionState(Message, frozen=True, kw_only=True, tag="subscription"):
    """The server changed what it sends of a track. `layer` is the rid; empty when nothing is sent."""

    n: int = 0
    track: str
    paused: bool = False
    reason: Literal["", "requested", "muted", "no_layer", "congestion", "permission", "codec", "last_n"] = ""
    layer: str = ""
    width: int = 0
    height: int = 0


class LayersWanted(Message, frozen=True, kw_only=True, tag="layers_wanted"):
    """Layers of the client's own track that have subscribers. The client may pause the others. No `n`."""

    track: str
    layers: list[str]
    "Rids, smallest layer first; never empty."


class Speakers(Message, frozen=True, kw_only=True, tag="speakers"):
    """Active speakers, loudest first, and the dominant speaker (empty: none yet). Sent on change. Transient: no `n`."""

    dominant: str = ""
    speakers: list[SpeakerLevel] = []


class ConnectionQuality(Message, frozen=True, kw_only=True, tag="quality"):
    """Connection quality by participant id; only those that changed. Transient: no `n`."""

    participants: dict[str, Quality]
    rtt_ms: float = 0.0
    "Milliseconds, of the receiver of this message."
    loss: float = 0.0
    "0 to 1, of the receiver of this message, in the worse direction."


class DiagnosticsUpdate(Message, frozen=True, kw_only=True, tag="diagnostics"):
    """Reasons for the current quality of the receiver's media. On change, at most once a second. Transient: no `n`."""

    estimate: float = 0.0
    "Estimated downlink bandwidth in bits per second; 0: unknown."
    rtt_ms: float = 0.0
    loss: float = 0.0
    "0 to 1, on the downlink."
    height: int = 0
    "Maximum height of one video that the operator's rules allow now, in pixels; 0: unlimited."
    rule: Cause = Cause.ESTIMATE
    "The rule that sets `height`: `estimate`, `delay` or `loss`."
    video_stats: list[VideoState] = []
    "Only the videos that changed."
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
    """For admins: the participants who wait in the lobby."""

    n: int = 0
    waiting: list[WaitingParticipant]
