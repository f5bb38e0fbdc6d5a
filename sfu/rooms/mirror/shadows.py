"""Shadow participants and their publications, for both sides of a mirror."""

from collections.abc import Callable, Sequence
from typing import Protocol

from sfu.ids import TrackId
from sfu.rooms.events import DataPacket, Delivery, LeaveReason, ParticipantUpdated
from sfu.rooms.media_stats import MediaStats
from sfu.rooms.participant import Participant
from sfu.rooms.ports import MediaSource
from sfu.rooms.quality import Link
from sfu.rooms.room import Room
from sfu.rooms.state import ParticipantState, PublicationState


class RelayedMedia(Protocol):
    """Media of publications that another node serves."""

    def open(self, publication: PublicationState, node: str) -> MediaSource:
        """The media of a publication, which `node` serves (empty: the home). Media that come later are attached to the
        publication (`Publications.attach_media`)."""

    def close_track(self, track: TrackId) -> None:
        """The publication ended. Idempotent."""


class ShadowSink:
    """The ParticipantSink of shadow participants. Room events reach their node through the mirror, once for all of them."""

    __slots__ = ("_admitted", "_relay_data", "_removed")

    def __init__(
        self,
        relay_data: Callable[[DataPacket, bool], None],
        removed: Callable[[LeaveReason, str], None] = lambda reason, message: None,
        admitted: Callable[[Participant], None] = lambda participant: None,
    ) -> None:
        self._relay_data = relay_data
        self._removed = removed
        self._admitted = admitted

    def deliver(self, delivery: Delivery) -> None:
        pass

    def relay_data(self, packet: DataPacket, *, reliable: bool) -> None:
        self._relay_data(packet, reliable)

    def admitted(self, participant: Participant) -> None:
        self._admitted(participant)

    def removed(self, reason: LeaveReason, message: str) -> None:
        self._removed(reason, message)

    def links(self) -> Sequence[Link]:
        return ()

    def media_stats(self) -> MediaStats | None:
        return None


class Shadows:
    """Applies the state that other nodes report of their participants to a room."""

    __slots__ = ("_media", "_opened", "_room")

    def __init__(self, room: Room, media: RelayedMedia) -> None:
        self._room = room
        self._media = media
        self._opened: set[TrackId] = set()

    def reconcile(self, member: Participant, state: ParticipantState) -> None:
        """Brings a participant and its publications to `state`. The others get events about what changed."""
        if member.node != state.node:
            # Its media come from another node now.
            member.node = state.node
            self._opened.difference_update(member.publications)
        publications = {publication.id: publication for publication in state.publications}
        for known in list(member.publications.values()):
            if known.id not in publications:
                self._room.publications.unpublish(known)
        for publication in publications.values():
            self.publish(member, publication)
        self.describe(member, state)
        self.close_ended()

    def publish(self, member: Participant, state: PublicationState) -> None:
        """Adds a publication, or updates a known one."""
        publications = self._room.publications
        known = member.publications.get(state.id)
        if known is None:
            publications.mirror(member, state, self._open(state, member.node))
            return
        if state.id not in self._opened:
            publications.bind(known, self._open(state, member.node), state.description)
        publications.update_description(known, state.description)
        publications.mute(known, state.muted, by=member)

    def describe(self, member: Participant, state: ParticipantState, exclude: Participant | None = None) -> None:
        """Sets name, metadata, attributes and permissions. The others get an event if they changed."""
        before = (member.name, member.metadata, dict(member.attributes), member.permissions)
        member.name, member.metadata, member.attributes = state.name, state.metadata, state.attributes
        member.permissions = state.permissions
        if before != (member.name, member.metadata, dict(member.attributes), member.permissions):
            self._room.members.broadcast(ParticipantUpdated(member.state), exclude=exclude or member)

    def close_ended(self) -> None:
        """Closes the media of publications that ended."""
        for track in [track for track in self._opened if self._room.publications.find(track) is None]:
            self._opened.discard(track)
            self._media.close_track(track)

    def forget(self, member: Participant) -> None:
        """Another node serves the participant now: closes its media."""
        for track in member.publications:
            if track in self._opened:
                self._opened.discard(track)
                self._media.close_track(track)

    def close(self) -> None:
        """Closes all media."""
        for track in self._opened:
            self._media.close_track(track)
        self._opened.clear()

    def _open(self, state: PublicationState, node: str) -> MediaSource:
        self._opened.add(state.id)
        return self._media.open(state, node)
