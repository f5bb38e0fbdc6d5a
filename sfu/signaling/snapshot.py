"""The `joined` message: the state of a room as one participant may see it."""

from collections.abc import Sequence
from typing import Protocol

from sfu.rooms.participant import Participant
from sfu.rooms.room import Room
from sfu.signaling.messages import IceServer, Joined
from sfu.signaling.serialization import (
    chat_state,
    data_state,
    participant_state,
    permissions_state,
    room_state,
    waiting_state,
)
from sfu.signaling.settings import Settings


class SessionKeys(Protocol):
    """The keys of a session that its client stores."""

    @property
    def id(self) -> str: ...

    @property
    def resume_key(self) -> str: ...


def snapshot(
    session: SessionKeys,
    room: Room,
    participant: Participant,
    settings: Settings,
    ice_servers: Sequence[IceServer],
    *,
    join_id: int,
    number: int,
    resumed: bool,
    rebuild: bool = False,
) -> Joined:
    """`join_id`: id of the join request. `number`: number of the newest event that the client knows with this snapshot."""
    return Joined(
        id=join_id,
        session=session.id,
        resume_key=session.resume_key,
        n=number,
        resumed=resumed,
        rebuild=rebuild,
        participant=participant_state(participant.state),
        permissions=permissions_state(participant.permissions),
        room=room_state(room.state),
        participants=[participant_state(other.state) for other in room.members.visible(exclude=participant)],
        chat=[chat_state(entry) for entry in room.messages.chat(participant)],
        data=[data_state(entry) for entry in room.messages.data()],
        waiting=[waiting_state(waiting.state) for waiting in room.lobby] if participant.permissions.admin else [],
        ice_servers=list(ice_servers),
        heartbeat=settings.heartbeat,
        server=settings.server,
    )
