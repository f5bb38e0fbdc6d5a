"""Hidden participant through which an egress receives a room: its subscriptions, and the member list that the worker gets.

It is neither visible nor counted. Its identity is random, so that no token can name it and displace it. Any change in
the room schedules one update of the complete member list for the next iteration of the event loop. The worker answers
with the tracks that it shows, and only their video is unpaused.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from sfu.egress.protocol import Member, Members, Speakers, TileSize, ToWorker, Track
from sfu.ids import Identity, TrackId
from sfu.rooms.events import DataPacket, Delivery, LeaveReason, SpeakersChanged
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
    """A ParticipantSink that subscribes to the room's tracks and forwards members and speakers to the worker."""

    def __init__(
        self,
        room: Room,
        plain_transport: PlainTransport,
        send: Callable[[ToWorker], None],
        removed: Callable[[], None],
        secret: str,
        *,
        all_video: bool = False,
    ) -> None:
        """`removed` is called when the room has closed. `secret` is part of the identity. `all_video`: receive all
        video at full size, not only the tracks that the worker requests.

        Raises what `Room.join` raises.
        """
        self._room = room
        self._plain_transport = plain_transport
        self._send = send
        self._removed = removed
        self._default = SubscriptionSettings() if all_video else PAUSED
        self._refresh_handle: asyncio.Handle | None = None
        self._settings: dict[str, SubscriptionSettings] = {}
        self._members_sent: Members | None = None
        self.excluded: set[str] = set()
        """Ids of participants to leave out, such as the one that publishes the mix into the room."""
        profile = Profile(identity=Identity(f"egress-recorder:{secret}"), permissions=PERMISSIONS, auto_subscribe=False)
        participant = room.join(profile, self)
        assert isinstance(participant, Participant)  # recorders skip the lobby
        self.participant = participant
        self.participant.subscriptions.attach_sink(plain_transport)
        self._refresh()

    def set_tile_sizes(self, tracks: Mapping[str, TileSize]) -> None:
        """Sets the visible tracks and their tile sizes; pauses the video of all others."""
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
        """Sends the member list to the worker in the next iteration of the event loop, once for all changes until then."""
        if self._refresh_handle is None and not self._room.closed:
            self._refresh_handle = asyncio.get_running_loop().call_soon(self._refresh)

    def close(self) -> None:
        """Leaves the room. Idempotent."""
        if self._refresh_handle is not None:
            self._refresh_handle.cancel()
        self._room.leave(self.participant)

    def _refresh(self) -> None:
        self._refresh_handle = None
        members = Members(
            members=[
                Member(
                    id=participant.id,
                    identity=participant.identity,
                    name=participant.name or participant.identity,
                    tracks=[self._track(one) for one in participant.publications.values() if one.bound],
                )
                for participant in self._room.members.visible()
                if participant.id not in self.excluded
            ]
        )
        if members != self._members_sent:
            self._members_sent = members
            self._send(members)

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
            self._send(Speakers(dominant=event.dominant, levels=speakers))
        elif delivery.number:
            self.schedule_refresh()

    def relay_data(self, packet: DataPacket, *, reliable: bool) -> None:
        pass

    def admitted(self, participant: Participant) -> None:
        pass

    def removed(self, reason: LeaveReason, message: str) -> None:
        asyncio.get_running_loop().call_soon(self._removed)

    def links(self) -> Sequence[Link]:
        return ()

    def media_stats(self) -> MediaStats | None:
        return None
