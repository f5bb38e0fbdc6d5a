"""States of a session, and how it ends: actions of the client and close codes of its WebSocket."""

from collections.abc import Mapping
from enum import Enum
from typing import Final, Literal

from sfu.rooms.events import LeaveReason


class State(Enum):
    JOINING = "entering"
    WAITING = "waiting"
    "In the lobby."
    JOINED = "joined"
    ENDED = "ended"


NEXT_STATES: Final[Mapping[State, frozenset[State]]] = {
    State.JOINING: frozenset({State.WAITING, State.JOINED, State.ENDED}),
    State.WAITING: frozenset({State.JOINED, State.ENDED}),
    State.JOINED: frozenset({State.ENDED}),
    State.ENDED: frozenset(),
}

Action = Literal["disconnect", "resume", "reconnect"]
ACTIONS: Final[Mapping[LeaveReason, Action]] = {"draining": "reconnect", "moved": "resume"}
"""Actions of a client after the end of its session. After any other reason it stays away."""

CLOSE_NORMAL: Final = 1000
CLOSE_REFUSED: Final = 1008
CLOSE_SILENT: Final = 4000
CLOSE_TAKEN_OVER: Final = 4001
CLOSE_SLOW: Final = 4002
