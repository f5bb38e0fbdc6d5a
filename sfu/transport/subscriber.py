"""The subscribing connection: sends tracks to one participant.

`SubscriberConnection` is everything but the negotiation: the WebRTC connection, the down tracks, statistics and the end.
A subclass assigns subscriptions to m-lines. `OfferingSubscriber` lets the server offer one m-line per track.
"""

import asyncio
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from sfu.errors import BadRequest
from sfu.forwarding.decision_log import Cause, DecisionLog
from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.loop_budget import LoopBudget
from sfu.ids import TrackId
from sfu.rooms.media_stats import DownlinkStats, VideoStats
from sfu.rooms.ports import MediaSource, SubscriptionSettings
from sfu.transport.connection import Connection, State
from sfu.transport.down_tracks import DownTracks
from sfu.transport.downlink_scheduler import DownlinkScheduler
from sfu.transport.outbound_ssrcs import OutboundSsrcs
from sfu.transport.reports import LinkReport
from sfu.transport.subscriber_offers import SubscriberOffers
from sfu.transport.subscription import SendParameters, SentState, Subscription

if TYPE_CHECKING:
    from sfu.transport.webrtc_server import WebRtcServer

FIRST_SEQUENCE = 1024
"""Lowest first sequence number: reordering cannot cross the wrap while the rollover counter is 0."""


class SubscriptionListener(Protocol):
    def subscription_changed(
        self, track: TrackId, *, paused: bool, reason: str, layer: str, width: int, height: int
    ) -> None: ...

    def subscriber_lost(self) -> None: ...


class SubscriberListener(SubscriptionListener, Protocol):
    def offer_made(self, offer_id: int, sdp: str, tracks: dict[str, TrackId]) -> None: ...


class SubscriberConnection:
    """A MediaSink without negotiation. A subclass implements `_assign` and `_release` and calls `_open` and `_refuse`."""

    def __init__(
        self,
        webrtc_server: "WebRtcServer",
        name: str,
        listener: SubscriptionListener,
        downlinks: DownlinkScheduler,
        decision_log: DecisionLog,
        budget: LoopBudget,
    ) -> None:
        self._webrtc_server = webrtc_server
        self._name = name
        self._state_listener = listener
        self._decision_log = decision_log
        self._budget = budget
        self._connection: Connection | None = None
        self._ended = False
        self._ssrcs = OutboundSsrcs(secrets.randbits(31) | 1)
        self._down_tracks = DownTracks(webrtc_server.engine, downlinks, self._send_state, decision_log)

    # -- negotiation ------------------------------------------------------------------------------------------------

    def _assign(self, subscription: Subscription) -> None:
        """Assigns a new subscription to an m-line. Raises AtCapacity when none is available, and then it is not added."""
        raise NotImplementedError

    def _release(self, track: TrackId) -> None:
        """The subscription ended: its m-line is free."""
        raise NotImplementedError

    def _connect(self) -> Connection:
        """The connection; the first call creates it, so that a participant alone in a room has none."""
        if self._connection is None:
            self._connection = Connection(self._webrtc_server, self._name, self, self._decision_log, self._budget)
        return self._connection

    def _open(self, subscription: Subscription, parameters: SendParameters, now: float) -> None:
        """The subscription is negotiated. It is sent as soon as the connection is established."""
        first_sequence = FIRST_SEQUENCE + secrets.randbits(14)
        self._down_tracks.open(subscription, self._connect().peer, parameters, first_sequence, now)

    def _refuse(self, subscription: Subscription) -> None:
        """The client does not take the codec."""
        if subscription.down_track is None and not subscription.source.track.closed:
            self._send_state(subscription, SentState(True, "codec", cause=Cause.CODEC))

    # -- MediaSink --------------------------------------------------------------------------------------------------

    def subscribe(self, track: TrackId, source: MediaSource, settings: SubscriptionSettings) -> None:
        """Raises AtCapacity when all m-lines are in use."""
        if self._ended or self._down_tracks.update_same_source(track, source, settings, time.monotonic()):
            return
        known = self._down_tracks.get(track)
        if known is not None and known.down_track is not None and _same_codec(known.source, source):
            known.settings = settings
            self._down_tracks.rebind(known, source, self._connect().peer, time.monotonic())
            return
        self.unsubscribe(track)
        subscription = Subscription(track, source, settings)
        self._assign(subscription)
        self._down_tracks.add(subscription)

    def update(self, track: TrackId, settings: SubscriptionSettings) -> None:
        self._down_tracks.update(track, settings, time.monotonic())

    def unsubscribe(self, track: TrackId) -> None:
        subscription = self._down_tracks.remove(track)
        if subscription is None:
            return
        if subscription.down_track is not None:
            self._end_stream(subscription.down_track)
        self._release(track)

    def _end_stream(self, down_track: DownTrack) -> None:
        """The RTP stream ends: no other track may use its SSRCs."""
        now = time.monotonic()
        self._ssrcs.end(down_track.ssrc, down_track.rtx_ssrc, now=now)
        for ssrc in self._ssrcs.expired(now):
            self._connect().forget_sent(ssrc)

    def _send_state(self, subscription: Subscription, sent_state: SentState) -> None:
        before = subscription.sent_state
        if before == sent_state:
            if before.cause is not sent_state.cause or before.max_height != sent_state.max_height:
                subscription.sent_state = sent_state
                self._decision_log.touch()
            return
        if before is None and not sent_state.paused and subscription.source.kind == "audio":
            return
        subscription.log_change(self._decision_log, sent_state, self._down_tracks.rate, time.monotonic())
        subscription.sent_state = sent_state
        self._state_listener.subscription_changed(
            subscription.track,
            paused=sent_state.paused,
            reason=sent_state.reason,
            layer=sent_state.layer,
            width=sent_state.width,
            height=sent_state.height,
        )

    # -- state ------------------------------------------------------------------------------------------------------

    @property
    def established(self) -> bool:
        return self._connection is not None and self._connection.state is State.CONNECTED

    @property
    def sending_video(self) -> bool:
        """Whether video is being sent to the client."""
        return self._down_tracks.sending_video

    @property
    def remote_host(self) -> str:
        return self._connection.ice.remote_host if self._connection is not None else ""

    def report(self) -> LinkReport | None:
        connection = self._connection
        if connection is None or connection.connected_at is None:
            return None
        return LinkReport(
            connection.peer.clock.rtt,
            self._down_tracks.loss,
            connection.silent_for(time.monotonic()),
            connection.state is State.CONNECTED,
        )

    def video_stats(self) -> tuple[VideoStats, ...]:
        """Current layer of every video track, with the reason."""
        return self._down_tracks.video_stats()

    def path(self) -> DownlinkStats | None:
        """None: no video was sent yet, or bandwidth estimation is disabled."""
        path = self._down_tracks.path()
        return replace(path, transport=self._connection.ice.protocol) if path and self._connection else path

    def close(self) -> None:
        self._end()
        if self._connection is not None:
            self._connection.close()

    def _end(self) -> None:
        self._ended = True
        self._down_tracks.close()

    # -- ConnectionListener -----------------------------------------------------------------------------------------

    def connected(self) -> None:
        self._down_tracks.start(time.monotonic())

    def lost(self, reason: str) -> None:
        self._end()
        self._state_listener.subscriber_lost()


class OfferingSubscriber(SubscriberConnection):
    """The server offers one m-line per track. Implements the Subscriber port of signalling.

    Changes within one turn of the loop share one offer.
    """

    def __init__(
        self,
        webrtc_server: "WebRtcServer",
        name: str,
        listener: SubscriberListener,
        downlinks: DownlinkScheduler,
        decision_log: DecisionLog,
        budget: LoopBudget,
    ) -> None:
        super().__init__(webrtc_server, name, listener, downlinks, decision_log, budget)
        self._listener = listener
        self._offers = SubscriberOffers(self._ssrcs.take)
        self._scheduled: asyncio.Handle | None = None

    def _assign(self, subscription: Subscription) -> None:
        self._offers.assign(subscription.track, subscription.source)
        self._schedule()

    def _release(self, track: TrackId) -> None:
        self._offers.release(track)
        self._schedule()

    def _schedule(self) -> None:
        if self._scheduled is None and self._offers.due and not self._ended:
            self._scheduled = asyncio.get_running_loop().call_soon(self._offer)

    def _offer(self) -> None:
        self._scheduled = None
        connection = self._connect()
        offer = self._offers.make(
            connection.local(), session_id=connection.session_id, session_version=connection.session_version
        )
        self._listener.offer_made(offer.offer_id, offer.sdp, offer.tracks)

    def accept_answer(self, offer_id: int, sdp: str) -> None:
        """Raises BadRequest when no offer of this id is open or the answer does not fit it."""
        if self._connection is None or not self._offers.is_open(offer_id):
            raise BadRequest("There is no open offer with this id.", code="no_open_offer")
        if self._ended:
            raise BadRequest("The subscribing connection is closed.", code="connection_closed")
        answer = self._offers.parse_answer(sdp)
        if answer.fingerprints:
            self._connection.start_dtls("server" if answer.setup == "active" else "client", answer.fingerprints)
        now = time.monotonic()
        for track, parameters in self._offers.accept(answer):
            subscription = self._down_tracks.get(track)
            if subscription is None:
                continue
            if parameters is None:
                self._refuse(subscription)
            else:
                self._open(subscription, parameters, now)
        self._schedule()

    def restart(self) -> None:
        """Makes a new offer with fresh ICE credentials; withdraws an open one (its answer is refused)."""
        if self._ended or self._connection is None:
            return
        self._connection.ice.restart()
        self._offers.withdraw()
        self._schedule()

    def _end(self) -> None:
        super()._end()
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None


def _same_codec(one: MediaSource, other: MediaSource) -> bool:
    return one.kind == other.kind and one.codec == other.codec and one.track.parameters == other.track.parameters
