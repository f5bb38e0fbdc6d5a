"""A production in its room: a hidden recorder that nobody sees or counts, what it subscribes to, and what the worker knows.

Its identity is random, so that nobody's token can name it and throw it out. Whatever happens in the room makes the next
turn of the loop tell the worker of everybody at once; what it shows comes back as wishes, and only that is subscribed to
with pictures.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from sfu.egress.protocol import Member, Members, Speakers, TileSize, ToWorker, Track
from sfu.ids import Identity, TrackId
from sfu.rooms.events import Delivery, LeaveReason, SpeakersChanged
from sfu.rooms.media_stats import MediaStats
from sfu.rooms.participant import Participant, Profile
from sfu.rooms.permissions import Permissions
from sfu.rooms.ports import SubscriptionSettings
from sfu.rooms.publication import Publication
from sfu.rooms.quality import Link
from sfu.rooms.room import Room
from sfu.transport.plain_transport import PlainTransport

PAUSED = SubscriptionSettings(paused=True)
PERMISSIONS = Permissions(publish=False, data=False, hidden=True, recorder=True)


class RecorderParticipant:
    """A ParticipantSink."""

    def __init__(
        self,
        room: Room,
        plain_transport: PlainTransport,
        tell: Callable[[ToWorker], None],
        removed: Callable[[], None],
        secret: str,
        *,
        all_video: bool = False,
    ) -> None:
        """`removed`: the room is over. `secret`: makes the identity. `all_video`: all pictures, as large as they come,
        not only what is wished for. Raises what `Room.join` raises."""
        self._room = room
        self._plain_transport = plain_transport
        self._tell = tell
        self._removed = removed
        self._default = SubscriptionSettings() if all_video else PAUSED
        self._refresh_soon: asyncio.Handle | None = None
        self._settings: dict[str, SubscriptionSettings] = {}
        self._told: Members | None = None
        self.excluded: set[str] = set()
        """Participants that are not shown: the programme itself, when it is in the room as a track."""
        profile = Profile(identity=Identity(f"egress-recorder:{secret}"), permissions=PERMISSIONS, auto_subscribe=False)
        seat = room.join(profile, self)
        assert isinstance(seat, Participant)  # recorders pass doors
        self.participant = seat
        self.participant.subscriptions.attach_sink(plain_transport)
        self._refresh()

    def set_tile_sizes(self, tracks: Mapping[str, TileSize]) -> None:
        """The pictures that are shown now; all others pause."""
        self._settings = {
            track: SubscriptionSettings(width=tile.width, height=tile.height, priority=255)
            for track, tile in tracks.items()
        }
        subscriptions = self.participant.subscriptions
        for publication in self._room.publications:
            if publication.media.kind == "video" and publication.id in subscriptions:
                settings = self._settings.get(publication.id, PAUSED)
                if subscriptions.settings(publication.id) != settings:
                    subscriptions.subscribe(publication, settings)

    def schedule_refresh(self) -> None:
        """Tells the worker of everybody, once, after what happens now."""
        if self._refresh_soon is None and not self._room.closed:
            self._refresh_soon = asyncio.get_running_loop().call_soon(self._refresh)

    def close(self) -> None:
        """Leaves the room. Idempotent."""
        if self._refresh_soon is not None:
            self._refresh_soon.cancel()
        self._room.leave(self.participant)

    def _refresh(self) -> None:
        self._refresh_soon = None
        members = Members(
            members=[
                Member(
                    id=participant.id,
                    identity=participant.identity,
                    name=participant.name or participant.identity,
                    tracks=[self._track(publication) for publication in participant.publications.values()],
                )
                for participant in self._room.members.visible()
                if participant.id not in self.excluded
            ]
        )
        if members != self._told:
            self._told = members
            self._tell(members)

    def _track(self, publication: Publication) -> Track:
        subscriptions = self.participant.subscriptions
        if publication.id not in subscriptions:
            video = publication.media.kind == "video"
            subscriptions.subscribe(
                publication, self._settings.get(publication.id, self._default) if video else SubscriptionSettings()
            )
        return Track(
            id=publication.id,
            ssrc=self._plain_transport.ssrc(TrackId(publication.id)),
            kind=publication.media.kind,
            codec=publication.media.codec,
            source=publication.description.source,
            muted=publication.muted,
        )

    # -- ParticipantSink --------------------------------------------------------------------------------------------

    def deliver(self, delivery: Delivery) -> None:
        event = delivery.event
        if isinstance(event, SpeakersChanged):
            speakers = {name: level for name, level in event.speakers if name not in self.excluded}
            self._tell(Speakers(dominant=event.dominant, levels=speakers))
        elif delivery.number:
            self.schedule_refresh()

    def relay_data(self, text: str, *, reliable: bool) -> None:
        pass

    def admitted(self, participant: Participant) -> None:
        pass

    def removed(self, reason: LeaveReason, message: str) -> None:
        asyncio.get_running_loop().call_soon(self._removed)

    def links(self) -> Sequence[Link]:
        return ()

    def media_stats(self) -> MediaStats | None:
        return None
