"""A snapshot of a room, from which another node restores it after this node is gone.

The snapshot is a frozen value without live records: msgspec encodes it. It holds what participants would miss: who is in
the room with which permissions, what they publish, chat and kept data, lock and lobby. Media and subscriptions'
connections are not in it; clients open new connections. Egress jobs start again.
"""

from dataclasses import dataclass

from sfu.rooms.history import ChatEntry, DataEntry
from sfu.rooms.state import ParticipantState, RoomState


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomSnapshot:
    state: RoomState
    number: int
    "Number of the newest event."
    participants: tuple[ParticipantState, ...]
    "Oldest first, hidden ones included."
    chat: tuple[ChatEntry, ...] = ()
    data: tuple[DataEntry, ...] = ()
    last_n: int = 0
    loudest: int = 0
    idle_timeout: float = 0.0
    "Seconds."
    egress: bytes = b""
    "The egress that is wanted, as `sfu.egress.jobs` encodes it; empty: none."
