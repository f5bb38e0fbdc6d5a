"""The whole state of a room as one participant may see it: the `joined` message."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sfu.signaling.messages import Joined
from sfu.signaling.serialization import (
    chat_state,
    data_state,
    participant_state,
    permissions_state,
    room_state,
    waiting_state,
)

if TYPE_CHECKING:
    from sfu.rooms.participant import Participant
    from sfu.signaling.context import Context
    from sfu.signaling.session import Session


def snapshot(
    context: Context, session: Session, participant: Participant, join_id: int, number: int, *, resumed: bool
) -> Joined:
    """`number`: of the newest event that the client may take as known."""
    room = participant.room
    return Joined(
        id=join_id,
        session=session.id,
        resume_key=session.resume_key,
        n=number,
        resumed=resumed,
        participant=participant_state(participant),
        permissions=permissions_state(participant.permissions),
        room=room_state(room),
        participants=[participant_state(other) for other in room.members.visible(exclude=participant)],
        chat=[chat_state(entry) for entry in room.messages.chat(participant)],
        data=[data_state(entry) for entry in room.messages.data()],
        waiting=[waiting_state(one) for one in room.lobby] if participant.permissions.admin else [],
        ice_servers=list(context.access.ice_servers(session.claims)),
        heartbeat=context.settings.heartbeat,
        server=context.settings.server,
    )
