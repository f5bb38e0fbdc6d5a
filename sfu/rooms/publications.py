"""Who publishes what, and who receives it: publications meet subscriptions here.

A publication is offered to every other participant who may subscribe and subscribes automatically
(`Subscriptions.auto_subscribe`). Closing order: owner, subscribers, then the event to the others.
"""

from collections.abc import Callable, Iterator, Sequence

from sfu.errors import AtCapacity, BadRequest, NotAuthorized, NotFound
from sfu.ids import TrackId
from sfu.rooms.events import TrackMuted, TrackPublished, TrackUnpublished
from sfu.rooms.last_n import LastN
from sfu.rooms.members import Members
from sfu.rooms.participant import Participant
from sfu.rooms.ports import MediaSource
from sfu.rooms.publication import SOURCE_KINDS, Publication, TrackDescription, TrackSource
from sfu.rooms.settings import Settings


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
        """Whether `owner` may have exactly these publications. Raises NotAuthorized or AtCapacity."""
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
        """Raises BadRequest when the kind does not fit the source; what `check_publish` checks is not checked again."""
        if SOURCE_KINDS.get(description.source, media.kind) != media.kind:
            raise BadRequest(f"A {description.source} cannot be {media.kind}.")
        publication = Publication(TrackId(self._ids("TR")), owner, media, description, muted)
        if muted:
            media.set_muted(True)
        self._publications[publication.id] = publication
        owner.publications[publication.id] = publication
        self._last_n.publications_changed(owner)
        self._members.broadcast(TrackPublished(publication), exclude=owner)
        for participant in self._members:
            if (
                participant is not owner
                and participant.subscriptions.auto_subscribe
                and participant.permissions.subscribe
            ):
                participant.subscriptions.subscribe(publication)
        return publication

    def update_description(self, publication: Publication, description: TrackDescription) -> None:
        """The owner says something else of the track now."""
        if description != publication.description:
            publication.description = description
            self._last_n.publications_changed(publication.owner)
            self._members.broadcast(TrackPublished(publication), exclude=publication.owner)

    def unpublish(self, publication: Publication, *, notify_owner: bool = False) -> None:
        """`notify_owner`: it was not the owner's doing. Idempotent."""
        if not self._drop(publication):
            return
        event = TrackUnpublished(publication.owner.id, publication.id)
        self._members.broadcast(event, exclude=None if notify_owner else publication.owner)

    def clear(self, owner: Participant) -> None:
        """The owner has left; that event says it all."""
        for publication in list(owner.publications.values()):
            self._drop(publication)

    def find_own(self, owner: Participant, track: str) -> Publication:
        """Raises NotFound when it is not there or another's: alike."""
        publication = owner.publications.get(TrackId(track))
        if publication is None:
            raise NotFound("You publish no such track.")
        return publication

    def mute(self, publication: Publication, muted: bool, *, by: Participant | None) -> None:
        """`by` None: an operator. The packets stop at the server, whatever the owner sends."""
        if publication.muted == muted:
            return
        publication.muted = muted
        if muted:
            publication.media.set_muted(True)
        self._last_n.publications_changed(
            publication.owner
        )  # between the two, so that nothing flows that is withheld next
        if not muted:
            publication.media.set_muted(False)
        name = by.id if by is not None and by is not publication.owner else ""
        self._members.broadcast(TrackMuted(publication, name), exclude=by)

    def sync(self, participant: Participant) -> None:
        """Everything that is on already, for one who wants everything."""
        self._last_n.sync(participant)
        if participant.permissions.subscribe and participant.subscriptions.auto_subscribe:
            for publication in self._publications.values():
                if publication.owner is not participant:
                    participant.subscriptions.subscribe(publication)

    def find_subscribable(self, track: str, subscriber: Participant) -> Publication | None:
        """The publication, if `subscriber` can have it. Raises NotAuthorized when it can have none."""
        if not subscriber.permissions.subscribe:
            raise NotAuthorized("This token does not allow subscribing.")
        publication = self.find(track)
        return None if publication is None or publication.owner is subscriber else publication

    def _drop(self, publication: Publication) -> bool:
        if self._publications.pop(publication.id, None) is None:
            return False
        del publication.owner.publications[publication.id]
        for participant in self._members:
            participant.subscriptions.forget(publication.id)
        self._last_n.publications_changed(publication.owner)
        return True
