"""The publications of a room, and their distribution to subscribers.

A publication is subscribed automatically for every other participant that has the permission and
`Subscriptions.auto_subscribe`. Unpublish order: the owner's record, the subscriptions, then the event to the others.
"""

from collections.abc import Callable, Iterator, Sequence

from sfu.errors import AtCapacity, BadRequest, NotAuthorized, NotFound
from sfu.ids import TrackId
from sfu.rooms.events import TrackMuted, TrackPublished, TrackUnpublished
from sfu.rooms.last_n import LastN
from sfu.rooms.members import Members
from sfu.rooms.observer import Moderated, Published, Unpublished
from sfu.rooms.participant import Participant
from sfu.rooms.ports import MediaSource
from sfu.rooms.publication import Publication
from sfu.rooms.settings import Settings
from sfu.rooms.state import PublicationState
from sfu.rooms.track_description import SOURCE_KINDS, TrackDescription, TrackSource
from sfu.rooms.unbound_media import UnboundMedia


class Publications:
    __slots__ = ("_ids", "_last_n", "_members", "_publications", "_settings")

    def __init__(self, settings: Settings, members: Members, last_n: LastN, ids: Callable[[str], str]) -> None:
        self._settings = settings
        self._members = members
        self._last_n = last_n
        self._ids = ids
        self._publications: dict[TrackId, Publication] = {}

    def __len__(self) -> int:
        return len(self._publications)

    def __iter__(self) -> Iterator[Publication]:
        return iter(tuple(self._publications.values()))

    def find(self, track: str) -> Publication | None:
        return self._publications.get(TrackId(track))

    def check_publish(self, owner: Participant, sources: Sequence[TrackSource]) -> None:
        """Checks whether `owner` may have exactly these publications. Raises NotAuthorized or AtCapacity."""
        if not owner.permissions.publish:
            raise NotAuthorized("This token does not allow publishing.")
        for source in sources:
            if not owner.permissions.may_publish(source):
                raise NotAuthorized(f"This token does not allow publishing the source {source}.")
        others = len(self._publications) - len(owner.publications)
        if len(sources) > self._settings.max_tracks or others + len(sources) > self._settings.max_room_tracks:
            raise AtCapacity("Too many tracks are published.")

    def publish(
        self, owner: Participant, media: MediaSource, description: TrackDescription, *, muted: bool = False
    ) -> Publication:
        """Call `check_publish` first: permissions and limits are not checked here.

        Raises BadRequest when the media kind does not fit the source.
        """
        if SOURCE_KINDS.get(description.source, media.kind) != media.kind:
            raise BadRequest(f"A {description.source} cannot be {media.kind}.")
        publication = Publication(TrackId(self._ids("TR")), owner.id, media, description, muted)
        self._add(owner, publication)
        return publication

    def mirror(self, owner: Participant, state: PublicationState, media: MediaSource) -> None:
        """Adds a publication of a shadow participant, with the id that its node gave it."""
        self._add(owner, Publication(state.id, owner.id, media, state.description, state.muted))

    def restore(self, owner: Participant, state: PublicationState) -> None:
        """Adds a publication of a snapshot. It has no media until `bind`."""
        media = UnboundMedia(state.kind, state.codec)
        publication = Publication(state.id, owner.id, media, state.description, state.muted)
        self._publications[publication.id] = publication
        owner.publications[publication.id] = publication
        self._last_n.publications_changed(owner)

    def find_unbound(self, owner: Participant, track: str, kind: str) -> Publication | None:
        """A restored publication of `owner` that waits for its media."""
        publication = owner.publications.get(TrackId(track))
        if publication is None or publication.bound or publication.media.kind != kind:
            return None
        return publication

    def bind(self, publication: Publication, media: MediaSource, description: TrackDescription) -> None:
        """The publisher of a restored publication sends again. The publication keeps its id and its mute state."""
        publication.description = description
        self.attach_media(publication, media)
        self._members.broadcast(TrackPublished(publication.state), exclude=self._owner(publication))

    def attach_media(self, publication: Publication, media: MediaSource) -> None:
        """The media of a publication without media, or of one whose media come from another node now. No participant gets
        an event."""
        publication.media = media
        if publication.muted:
            media.set_muted(True)
        self._last_n.publications_changed(self._owner(publication))
        if publication.bound:
            for participant in self._members:
                participant.subscriptions.bind(publication)

    def unbind(self, publication: Publication) -> None:
        """The node that served the publisher is gone. The publication stays, and waits for `bind`."""
        publication.media = UnboundMedia(publication.media.kind, publication.media.codec)

    def drop_unbound(self) -> None:
        """Unpublishes the restored publications whose publishers did not send again."""
        for publication in self:
            if not publication.bound and not self._owner(publication).shadow:
                self.unpublish(publication, notify_owner=True)

    def update_description(self, publication: Publication, description: TrackDescription) -> None:
        """The owner describes the track differently."""
        if description != publication.description:
            publication.description = description
            owner = self._owner(publication)
            self._last_n.publications_changed(owner)
            self._members.broadcast(TrackPublished(publication.state), exclude=owner)

    def unpublish(self, publication: Publication, *, notify_owner: bool = False) -> None:
        """Idempotent. `notify_owner`: the owner did not request it and gets the event as well."""
        if publication.id not in self._publications:
            return
        owner = self._owner(publication)
        self._drop(owner, publication)
        event = TrackUnpublished(owner.id, publication.id)
        self._members.broadcast(event, exclude=None if notify_owner else owner)

    def clear(self, owner: Participant) -> None:
        """Drops all publications of a participant that left. The ParticipantLeft event implies it for the others."""
        for publication in list(owner.publications.values()):
            self._drop(owner, publication)

    def find_own(self, owner: Participant, track: str) -> Publication:
        """Raises NotFound, also when the track belongs to another participant."""
        publication = owner.publications.get(TrackId(track))
        if publication is None:
            raise NotFound("You do not publish this track.")
        return publication

    def mute(self, publication: Publication, muted: bool, *, by: Participant | None) -> None:
        """`by` None: an operator. The server stops the packets, whatever the owner sends."""
        if publication.muted == muted:
            return
        publication.muted = muted
        if muted:
            publication.media.set_muted(True)
        # Between the two, so that no packet of a track passes that last-N is about to withhold.
        self._last_n.publications_changed(self._owner(publication))
        if not muted:
            publication.media.set_muted(False)
        name = by.id if by is not None and by.id != publication.owner else ""
        self._members.broadcast(TrackMuted(publication.state, name), exclude=by)
        if by is None or name:
            owner = self._owner(publication)
            actor = by.identity if by is not None else ""
            self._members.observe(Moderated("track_muted", actor, owner.state, publication.state))

    def sync(self, participant: Participant) -> None:
        """Subscribes a participant to all current publications, if it subscribes automatically."""
        self._last_n.sync(participant)
        if _subscribes(participant):
            for publication in self._publications.values():
                if publication.owner != participant.id:
                    participant.subscriptions.subscribe(publication)

    def find_subscribable(self, track: str, subscriber: Participant) -> Publication | None:
        """None: no such track of another participant. Raises NotAuthorized when `subscriber` may not subscribe."""
        if not subscriber.permissions.subscribe:
            raise NotAuthorized("This token does not allow subscribing.")
        publication = self.find(track)
        return None if publication is None or publication.owner == subscriber.id else publication

    def _add(self, owner: Participant, publication: Publication) -> None:
        if publication.muted:
            publication.media.set_muted(True)
        self._publications[publication.id] = publication
        owner.publications[publication.id] = publication
        self._last_n.publications_changed(owner)
        self._members.broadcast(TrackPublished(publication.state), exclude=owner)
        for participant in self._members:
            if participant is not owner and _subscribes(participant):
                participant.subscriptions.subscribe(publication)
        self._members.observe(Published(owner.state, publication.state))

    def _owner(self, publication: Publication) -> Participant:
        """Publications end before their owner leaves, so the owner is always a member."""
        owner = self._members.find(publication.owner)
        if owner is None:
            raise RuntimeError("the owner of a publication is not in the room")
        return owner

    def _drop(self, owner: Participant, publication: Publication) -> None:
        del self._publications[publication.id]
        del owner.publications[publication.id]
        for participant in self._members:
            participant.subscriptions.forget(publication.id)
        self._last_n.publications_changed(owner)
        self._members.observe(Unpublished(owner.state, publication.state))


def _subscribes(participant: Participant) -> bool:
    """Whether it gets new publications automatically, from this node."""
    return participant.subscriptions.auto_subscribe and participant.permissions.subscribe and not participant.shadow
