"""Rooms: who is in them, what they publish, who gets it, what they say, and who may do what.

Pure: every method runs to completion on the loop that owns the rooms; times and ids come from outside. What happens
leaves through each participant's `ParticipantSink`; media goes through `MediaSource` and `MediaSink` (ports.py).

    rooms = Rooms(Settings(), ids, clock)              # ids("PA") -> "PA_…", clock() -> seconds since 1970
    entry = rooms.enter("standup", profile, sink)      # Participant, or Waiting while the lobby is on
    entry.room.stage.publish(...), .conversation.say(...), .moderation.kick(...), .leave(participant)
    rooms.handle_timer(now); rooms.observe_levels(now) at 10 Hz; rooms.observe_quality() every second or two

For operators (the admin API): `list()`, `find`, `create`, `delete`, and by room name and identity `kick`, `mute`,
`update`, `update_participant`, `permit`, `send_data`. Errors are RemoteErrors.
"""

from sfu.rooms.participant import Participant, Profile
from sfu.rooms.permissions import Permissions
from sfu.rooms.registry import Rooms
from sfu.rooms.room import Room
from sfu.rooms.settings import Settings

__all__ = ["Participant", "Permissions", "Profile", "Room", "Rooms", "Settings"]
