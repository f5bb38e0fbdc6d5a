"""Settings of rooms: caps, so that no party can take the server's memory, and how long things stay."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
Bytes = Annotated[int, Meta(ge=0)]
Limit = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    max_rooms: Count = 1_000
    "Rooms open at once; further ones are refused."
    max_participants: Count = 500
    "Participants of one room, hidden ones included, but not hidden recorders."
    max_waiting: Count = 100
    "People in one room's lobby."
    max_tracks: Count = 16
    "Publications of one participant."
    max_room_tracks: Count = 1_000
    "Publications of one room."
    last_n: Limit = 0
    "Cameras that one participant of a room is sent: of those who spoke last; 0: all. A room can be created with its own."
    loudest: Limit = 0
    "Microphones that are sent in a room: the loudest; 0: all. A room can be created with its own."
    idle_timeout: Seconds = 300.0
    "Seconds that a room without visible participants stays."
    create_on_join: bool = True
    "Whether anybody's join makes a room that is not there; if not, only tokens with `roomCreate` do."
    chat_entries: Bytes = 200
    "Chat messages kept for late joiners."
    chat_bytes: Bytes = 262_144
    "Bytes of chat kept for late joiners."
    data_entries: Bytes = 200
    "Data messages with `keep` kept for late joiners."
    data_bytes: Bytes = 262_144
    "Bytes of data messages kept for late joiners."
