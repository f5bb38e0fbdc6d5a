"""A WHEP session (draft-ietf-wish-whep): a hidden participant that watches one resource, signalled by HTTP requests.

It implements `SubscriptionListener` for the connection. When the watched participant publishes again, the new track takes the
m-line of the old one.
"""

import asyncio
import logging
from collections.abc import Sequence

from sfu.errors import BadRequest, Conflict, NotFound, RemoteError
from sfu.ids import Identity, TrackId
from sfu.rooms.events import (
    Delivery,
    ParticipantLeft,
    TrackMuted,
    TrackPublished,
    TrackUnpublished,
)
from sfu.rooms.lobby import WaitingParticipant
from sfu.rooms.media_stats import MediaStats
from sfu.rooms.participant import Profile
from sfu.rooms.permissions import Permissions
from sfu.rooms.ports import SubscriptionSettings
from sfu.rooms.publication import Publication
from sfu.rooms.quality import Link
from sfu.rooms.room import Room
from sfu.sdp.ice_fragment import fragment_of
from sfu.sdp.receive_offer import ReceiveOffer
from sfu.signaling.context import Context
from sfu.signaling.event_stream import EventStream
from sfu.signaling.http_session import HttpSession, HttpSessionTable, Requester
from sfu.signaling.ports import AnsweringSubscriber
from sfu.signaling.whep_resource import Kind, NotLive, WhepResource, carries
from sfu.signaling.whep_viewers import WhepViewers

logger = logging.getLogger(__name__)

PERMISSIONS = Permissions(publish=False, data=False, update_metadata=False, hidden=True)
EVENTS = ("active", "inactive", "layers", "viewercount")
CHANGES = (TrackPublished, TrackUnpublished, TrackMuted, ParticipantLeft)
"""Room events after which another publication may have to be watched."""


class WhepSession(HttpSession):
    """A Viewer. `open` joins and subscribes."""

    protocol = "whep"

    __slots__ = (
        "_answered",
        "_counter_offer",
        "_refresh_handle",
        "_remote_ufrag",
        "_settings",
        "_subscriber",
        "_viewers",
        "_watched",
        "events",
        "events_key",
        "resource",
    )

    def __init__(
        self,
        context: Context,
        sessions: HttpSessionTable,
        requester: Requester,
        viewers: WhepViewers,
        resource: WhepResource,
    ) -> None:
        super().__init__(context, sessions, requester)
        self._viewers = viewers
        self.resource = resource
        self.events: EventStream | None = None
        "Server-sent events; None: the client does not want them."
        self.events_key = ""
        "The secret last part of their URL."
        self._subscriber: AnsweringSubscriber | None = None
        self._watched: dict[Kind, Publication] = {}
        self._settings: dict[Kind, SubscriptionSettings] = {}
        self._refresh_handle: asyncio.Handle | None = None
        self._remote_ufrag = ""
        self._answered = ""
        "The last description after an ICE restart."
        self._counter_offer = False
        "The client has not answered our offer yet."

    def open(self, offer: ReceiveOffer) -> str:
        """Joins the room and returns the answer, or our offer if `answers_offer`. Raises RemoteErrors; then nothing is left."""
        context = self._context
        try:
            room = context.rooms.find(self.resource.room)
        except NotFound:
            raise NotLive("This room is not open.") from None
        self._check_access(room)
        found = self.resource.find(room, self._mix(room))
        if not found:
            raise NotLive(self.resource.missing)
        self._viewers.admit(self.claims)
        profile = Profile(
            identity=Identity(f"{self.claims.identity}:{self.id}"),
            permissions=PERMISSIONS,
            name=self.claims.name or self.claims.identity,
            auto_subscribe=False,
        )
        participant = context.rooms.join(room.name, profile, self)
        if isinstance(participant, WaitingParticipant):
            raise RuntimeError("hidden participants skip the lobby")
        self._room, self._participant = room, participant
        self._subscriber = subscriber = context.endpoint.open_answering_subscriber(
            participant.id, self, self._decision_log, self.budgets["media"]
        )
        try:
            sdp = self._negotiate(subscriber, offer, found)
        except RemoteError:
            self._refused()
            raise
        participant.subscriptions.attach_sink(subscriber)
        self._refresh()
        self._viewers.add(self)
        self._opened(counter_offer=self._counter_offer)
        return sdp

    @property
    def awaits_answer(self) -> bool:
        """Whether `open` made an offer that the client has not answered."""
        return self._counter_offer

    def accept_answer(self, sdp: str) -> None:
        """Raises BadRequest, Conflict, NotFound."""
        subscriber = self._subscriber
        if subscriber is None:
            raise NotFound("The session has ended.")
        if not self._counter_offer:
            raise Conflict("No offer of the server is open.", code="no_open_offer")
        subscriber.accept_answer(sdp)
        self._counter_offer = False
        self._refresh()

    @property
    def connected(self) -> bool:
        return self._subscriber is not None and self._subscriber.established

    def restart_ice(self, ufrag: str, pwd: str) -> str:
        subscriber = self._subscriber
        if subscriber is None:
            raise NotFound("The session has ended.")
        if self._counter_offer:
            raise Conflict("Answer the offer of the server first.", code="no_answer")
        if ufrag != self._remote_ufrag:
            self._answered = fragment_of(subscriber.restart_ice())
            self._remote_ufrag = ufrag
            self._ice_restarted()
        return self._answered

    def select_layer(self, mid: str, settings: SubscriptionSettings) -> None:
        """Limits the picture of an m-line. Raises NotFound or BadRequest."""
        subscriber, participant = self._subscriber, self._participant
        if subscriber is None or participant is None:
            raise NotFound("The session has ended.")
        if mid not in ("", subscriber.mid("video")) or "video" not in subscriber.kinds:
            raise BadRequest("The session has no video m-line with this mid.")
        self._settings["video"] = settings
        publication = self._watched.get("video")
        if publication is not None:
            participant.subscriptions.subscribe(publication, settings)

    def layer(self, rid: str) -> SubscriptionSettings:
        """Settings that select a simulcast layer. Raises BadRequest."""
        publication = self._watched.get("video")
        size = publication.media.declared.get(rid) if publication is not None else None
        if size is None:
            raise BadRequest("The video has no layer with this encodingId.")
        return SubscriptionSettings(width=size.width, height=size.height)

    def open_events(self, types: Sequence[str]) -> EventStream:
        """Replaces an earlier stream."""
        if self.events is not None:
            self.events.close()
        self.events = EventStream(types)
        self.events_key = self._context.secret()
        return self.events

    def send_state(self) -> None:
        """Sends an event of each type."""
        self._send_activity()
        self._send_layers()
        self.count_changed(self._viewers.count(self.resource))

    def close_events(self) -> None:
        if self.events is not None:
            self.events.close()
        self.events, self.events_key = None, ""

    def count_changed(self, count: int) -> None:
        if self.events is not None:
            self.events.send("viewercount", {"viewercount": count})

    # -- ParticipantSink --------------------------------------------------------------------------------------------

    def deliver(self, delivery: Delivery) -> None:
        # A sink must not call back into the room.
        if isinstance(delivery.event, CHANGES) and self._refresh_handle is None:
            self._refresh_handle = asyncio.get_running_loop().call_soon(self._refresh)

    def links(self) -> Sequence[Link]:
        report = self._subscriber.report() if self._subscriber is not None else None
        return () if report is None else (report,)

    def media_stats(self) -> MediaStats | None:
        subscriber = self._subscriber
        if subscriber is None:
            return None
        entries = tuple(self._decision_log)
        return MediaStats(subscriber.path(), subscriber.video_stats(), None, entries, self._context.now())

    # -- SubscriptionListener ---------------------------------------------------------------------------------------

    def subscription_changed(
        self, track: TrackId, *, paused: bool, reason: str, layer: str, width: int, height: int
    ) -> None:
        self._send_layers()

    def subscriber_lost(self) -> None:
        self.disconnect("timeout", "The media connection was lost.")

    # ---------------------------------------------------------------------------------------------------------------

    def _check_access(self, room: Room) -> None:
        """Raises Conflict: hidden participants would pass the lobby and the lock."""
        video = self.claims.video
        if video.room_admin or video.hidden or video.recorder:
            return
        if room.locked:
            raise Conflict("The room is locked. Ask a participant to unlock it.", code="room_locked")
        if room.lobby_enabled:
            raise Conflict("The room has a lobby, in which a viewer cannot wait.", code="lobby")

    def _mix(self, room: Room) -> str:
        egress_jobs = self._context.egress_jobs
        return egress_jobs.mix_of(room.name) if egress_jobs is not None else ""

    def _negotiate(self, subscriber: AnsweringSubscriber, offer: ReceiveOffer, found: dict[Kind, Publication]) -> str:
        self._counter_offer = not carries(offer, found)
        if self._counter_offer:
            return subscriber.offer({kind: publication.media for kind, publication in found.items()})
        self._remote_ufrag = offer.ufrag
        media = {kind: publication.media for kind, publication in found.items()}
        return subscriber.answer(offer, {kind: media.get(kind) for kind in self.resource.sources})

    def _refresh(self) -> None:
        """Watches the publications that are live now."""
        self._refresh_handle = None
        room, participant, subscriber = self._room, self._participant, self._subscriber
        if room is None or participant is None or subscriber is None:
            return
        found = self.resource.find(room, self._mix(room))
        for kind in sorted(subscriber.kinds):
            publication, watched = found.get(kind), self._watched.get(kind)
            if publication is watched:
                continue
            if watched is not None:
                del self._watched[kind]
                participant.subscriptions.unsubscribe(watched.id)
            if publication is not None:
                self._watched[kind] = publication
                participant.subscriptions.subscribe(publication, self._settings.get(kind))
        self._send_activity()
        self._send_layers()

    def _send_activity(self) -> None:
        if self.events is not None:
            active = any(not publication.muted for publication in self._watched.values())
            self.events.withdraw("inactive" if active else "active")
            self.events.send("active" if active else "inactive", {})

    def _send_layers(self) -> None:
        subscriber, publication = self._subscriber, self._watched.get("video")
        if self.events is None or subscriber is None:
            return
        layers: dict[str, list[dict[str, object]]] = {"active": [], "inactive": []}
        if publication is not None:
            encodings = publication.media.track.encodings
            for rid, size in publication.media.declared.items():
                alive = rid in encodings and encodings[rid].alive and not publication.muted
                layer = {"id": rid, "width": size.width, "height": size.height}
                layers["active" if alive else "inactive"].append(layer)
        self.events.send("layers", {subscriber.mid("video"): layers} if "video" in subscriber.kinds else {})

    def _close_connection(self) -> None:
        self._viewers.remove(self)
        if self._refresh_handle is not None:
            self._refresh_handle.cancel()
        self.close_events()
        self._watched.clear()
        if self._participant is not None:
            self._participant.subscriptions.detach_sink()
        subscriber, self._subscriber = self._subscriber, None
        if subscriber is not None:
            subscriber.close()
