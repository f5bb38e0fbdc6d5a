"""Settings of rooms: limits that bound the server's memory, and lifetimes."""

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
    "Maximum open rooms."
    max_participants: Count = 500
    "Maximum participants per room, including hidden ones but not hidden recorders."
    max_waiting: Count = 100
    "Maximum participants in a room's lobby."
    max_tracks: Count = 16
    "Maximum publications per participant."
    max_room_tracks: Count = 1_000
    "Maximum publications per room."
    last_n: Limit = 0
    "Number of cameras forwarded to each participant, by most recent speaker; 0: all. Each room can override it."
    loudest: Limit = 0
    "Number of microphones forwarded in a room, by loudness; 0: all. Each room can override it."
    idle_timeout: Seconds = 300.0
    "Seconds until a room without visible participants closes."
    spread_above: Limit = 0
    "Participants of a room that one node of a cluster serves; other nodes serve further ones. 0: a room is on one node."
    away_timeout: Seconds = 30.0
    "Seconds for which a room that another node took over keeps the participants whose clients have not returned."
    create_on_join: bool = True
    "Create a room at the first join; if false, only tokens with `roomCreate` create rooms."
    chat_entries: Bytes = 200
    "Maximum chat messages kept for late joiners."
    chat_bytes: Bytes = 262_144
    "Maximum bytes of chat kept for late joiners."
    data_entries: Bytes = 200
    "Maximum data messages (sent with `keep`) kept for late joiners."
    data_bytes: Bytes = 262_144
    "Maximum bytes of data messages kept for late joiners."
