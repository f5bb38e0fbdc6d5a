"""Rooms: participants, publications, subscriptions, chat and data messages, moderation.

The package is pure. Every method runs to completion on the event loop that owns the rooms; times and ids are arguments.
Events leave through the `ParticipantSink` of each participant (participant.py) as frozen values (events.py). Media passes
through `MediaSource` and `MediaSink` (ports.py).

    rooms = Rooms(Settings(), ids, clock)              # ids("PA") -> "PA_…", clock() -> seconds since 1970
    entry = rooms.join("standup", profile, sink)       # Participant, or WaitingParticipant while the lobby is on
    room = rooms.find("standup")
    room.publications.publish(...), room.messages.send_chat(...), room.moderation.kick(...), room.leave(participant)
    rooms.handle_timer(now); rooms.observe_levels(now) at 10 Hz; rooms.observe_quality() every second or two

The admin API uses `list()`, `find`, `create`, `delete` and, by room name and identity, `kick`, `mute`, `update`,
`update_participant`, `set_permissions`, `send_data`. Errors are RemoteErrors.
"""

from sfu.rooms.participant import Participant, Profile
from sfu.rooms.permissions import Permissions
from sfu.rooms.registry import Rooms
from sfu.rooms.room import Room
from sfu.rooms.settings import Settings

__all__ = ["Participant", "Permissions", "Profile", "Room", "Rooms", "Settings"]
