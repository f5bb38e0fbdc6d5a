"""Executes the command of a participant at the home of the room."""

from sfu.errors import RemoteError
from sfu.rooms import commands
from sfu.rooms.participant import Participant
from sfu.rooms.room import Room


def decide(room: Room, actor: Participant, action: commands.Action) -> bool:
    """False: the room refuses it, because it has changed since another node checked the command."""
    try:
        match action:
            case commands.SendChat(identifier, text, to):
                room.messages.send_chat(actor, text, to, identifier=identifier)
            case commands.SendData(topic, payload, receivers, keep):
                room.messages.send_data(actor, topic, payload, receivers, keep=keep)
            case commands.Kick(participant, reason):
                room.moderation.kick(actor, participant, reason)
            case commands.MuteTrack(track, muted):
                room.moderation.mute(actor, track, muted)
            case commands.Admit(participant):
                room.moderation.admit(actor, participant)
            case commands.Deny(participant):
                room.moderation.deny(actor, participant)
            case commands.UpdateRoom(locked, lobby, metadata):
                room.moderation.update(actor, locked=locked, lobby=lobby, metadata=metadata)
    except RemoteError:
        return False
    return True
