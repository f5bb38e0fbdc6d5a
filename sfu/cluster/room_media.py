"""Media of a room on several nodes: publishes the tracks of this node to the others, and subscribes to theirs."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from sfu.errors import RemoteError
from sfu.ids import TrackId
from sfu.rooms.events import Event, ParticipantLeft, TrackPublished, TrackUnpublished
from sfu.rooms.lobby import WaitingParticipant
from sfu.rooms.participant import Participant
from sfu.rooms.ports import MediaSource
from sfu.rooms.room import Room
from sfu.rooms.state import PublicationState
from sfu.rooms.unbound_media import UnboundMedia

log = logging.getLogger(__name__)

RETRY: Final = 0.2
RETRY_LIMIT: Final = 2.0
"""Seconds between subscriptions to a track that the other node does not have (yet): doubled up to the limit."""


class Relay(Protocol):
    """Media between nodes; `transport.relay.Relay` implements it."""

    def publish(self, track: TrackId, source: MediaSource) -> None: ...

    def unpublish(self, track: TrackId) -> None: ...

    async def subscribe(self, node: str, track: TrackId, on_end: Callable[[TrackId], None]) -> MediaSource: ...

    def unsubscribe(self, track: TrackId) -> None: ...


class RoomMedia:
    """Implements RelayedMedia for the mirrors of a room, and Mirror to see which tracks this node publishes."""

    def __init__(self, room: Room, relay: Relay, home: str) -> None:
        """`home`: id of the home's node, for publications that name no node."""
        self._room = room
        self._relay = relay
        self._home = home
        self._published: dict[TrackId, MediaSource] = {}
        self._subscribing: dict[TrackId, asyncio.Task[None]] = {}
        self._nodes: dict[TrackId, str] = {}
        "The node of each open track; empty: the home."
        self._sources: dict[TrackId, MediaSource] = {}
        "The media of open tracks that have arrived."
        room.members.add_mirror(self)
        self._sync()

    def close(self) -> None:
        self._room.members.remove_mirror(self)
        for track in list(self._nodes):
            self.close_track(track)
        for track in self._published:
            self._relay.unpublish(track)
        self._published.clear()

    def home_changed(self, home: str) -> None:
        """Another node is the home of the room: participants that name no node are there now."""
        self._home = home
        for track, node in self._nodes.items():
            if not node:
                task = self._subscribing.pop(track, None)
                if task is not None:
                    task.cancel()
                self._subscribe(track)

    # -- tracks of other nodes --------------------------------------------------------------------------------------

    def open(self, publication: PublicationState, node: str) -> MediaSource:
        track = publication.id
        if self._nodes.get(track) == node:
            return self._sources.get(track) or UnboundMedia(publication.kind, publication.codec)
        self.close_track(track)
        self._nodes[track] = node
        self._subscribe(track)
        return UnboundMedia(publication.kind, publication.codec)

    def close_track(self, track: TrackId) -> None:
        """Idempotent."""
        if self._nodes.pop(track, None) is None:
            return
        self._sources.pop(track, None)
        task = self._subscribing.pop(track, None)
        if task is not None:
            task.cancel()
        self._relay.unsubscribe(track)

    def _subscribe(self, track: TrackId) -> None:
        task = self._subscribing[track] = asyncio.create_task(self._run(track, self._nodes[track] or self._home))

        def done(ended: asyncio.Task[None]) -> None:
            if self._subscribing.get(track) is ended:
                del self._subscribing[track]
            if not ended.cancelled() and ended.exception() is not None:
                log.error("a track is not relayed", exc_info=ended.exception(), extra={"track": track})

        task.add_done_callback(done)

    async def _run(self, track: TrackId, node: str) -> None:
        pause = RETRY
        while True:
            try:
                source = await self._relay.subscribe(node, track, self._ended)
            except RemoteError as error:
                log.info("a track is not relayed yet", extra={"track": track, "node": node, "reason": error.message})
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_LIMIT)
                continue
            self._sources[track] = source
            publication = self._room.publications.find(track)
            if publication is not None and publication.media is not source:
                self._room.publications.attach_media(publication, source)
            return

    def _ended(self, track: TrackId) -> None:
        """The other node ended the track, or its path is lost. It may come back."""
        self._sources.pop(track, None)
        publication = self._room.publications.find(track)
        if publication is not None and track in self._nodes:
            self._room.publications.unbind(publication)
            if track not in self._subscribing:
                self._subscribe(track)

    # -- tracks of this node ----------------------------------------------------------------------------------------

    def deliver(self, event: Event, receivers: Iterable[Participant] | None, exclude: Participant | None) -> None:
        if isinstance(event, TrackPublished | TrackUnpublished | ParticipantLeft):
            self._sync()

    def left_lobby(self, waiting: WaitingParticipant) -> None:
        pass

    def _sync(self) -> None:
        published = {
            publication.id: publication.media
            for member in self._room.members
            if not member.shadow
            for publication in member.publications.values()
            if publication.bound
        }
        for track in [track for track in self._nodes if self._room.publications.find(track) is None]:
            self.close_track(track)
        for track in self._published.keys() - published.keys():
            self._relay.unpublish(track)
        for track, media in published.items():
            if self._published.get(track) is not media:
                self._relay.publish(track, media)
        self._published = published
