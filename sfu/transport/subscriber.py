"""The subscribing connection: the server offers one m-line per track that the participant receives.

M-lines are recycled and never removed, so that they keep their order (RFC 9429 5.2.2). Changes within one turn of the loop
share one offer. While an offer is open, changes wait for its answer.
"""

import asyncio
import logging
import secrets
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from sfu.errors import AtCapacity, BadRequest
from sfu.forwarding.decision_log import Cause, DecisionKind, DecisionLog
from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.loop_budget import LoopBudget
from sfu.forwarding.selector import choose, size_of
from sfu.ids import TrackId
from sfu.rooms.media_stats import DownlinkStats, VideoStats
from sfu.rooms.ports import MediaSource, SubscriptionSettings
from sfu.sdp.capabilities import URI_TRANSPORT_CC, PayloadTypeTable
from sfu.sdp.description import ANSWER_MEDIA_LIMIT
from sfu.sdp.offer import AnsweredSection, Transceiver, make_offer, parse_answer
from sfu.transport.connection import Connection, State
from sfu.transport.downlink_scheduler import DownlinkScheduler
from sfu.transport.layer_control import LayerControl
from sfu.transport.reports import LinkReport
from sfu.transport.subscription import MediaSectionState, SentState, Subscription

if TYPE_CHECKING:
    from sfu.transport.webrtc_server import WebRtcServer

log = logging.getLogger(__name__)

FIRST_SEQUENCE = 1024
"""Lowest first sequence number: reordering cannot cross the wrap while the rollover counter is 0."""
SENT_KEPT = 256
"""Ended streams whose SRTP state is kept. libsrtp searches all streams for each packet (8 µs at 400),"""
SENT_FOR = 30.0
"""and minimum seconds for which it is kept, so that no delayed packet reuses a nonce."""
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class SubscriberListener(Protocol):
    def offer_made(self, offer_id: int, sdp: str, tracks: dict[str, TrackId]) -> None: ...

    def subscription_changed(
        self, track: TrackId, *, paused: bool, reason: str, layer: str, width: int, height: int
    ) -> None: ...

    def subscriber_lost(self) -> None: ...


class SubscriberConnection:
    """Implements the Subscriber port of signalling, which includes the MediaSink of rooms."""

    def __init__(
        self,
        webrtc_server: "WebRtcServer",
        name: str,
        listener: SubscriberListener,
        downlinks: DownlinkScheduler,
        decision_log: DecisionLog,
        budget: LoopBudget,
    ) -> None:
        self._webrtc_server = webrtc_server
        self._name = name
        self._listener = listener
        self._decision_log = decision_log
        self._budget = budget
        self._layer_control = LayerControl(webrtc_server, downlinks, self._send_state, decision_log)
        self._connection: Connection | None = None
        """Created with the first subscription: a participant alone in a room has no subscribing connection."""
        self._ended = False
        self._payload_types = PayloadTypeTable()
        self._media_sections: list[MediaSectionState] = []
        self._next_ssrc = secrets.randbits(31) | 1
        self._sent: deque[tuple[float, int]] = deque()
        """Streams of ended subscriptions, and when they ended."""
        self._subscriptions: dict[TrackId, Subscription] = {}
        self._offer_id = 0
        self._open_offer: list[Transceiver] | None = None
        self._changed = False
        self._scheduled: asyncio.Handle | None = None

    # -- MediaSink --------------------------------------------------------------------------------------------------

    def subscribe(self, track: TrackId, source: MediaSource, settings: SubscriptionSettings) -> None:
        """Raises AtCapacity when all m-lines are in use."""
        if self._ended:
            return
        known = self._subscriptions.get(track)
        if known is not None:
            if known.source is source:
                self.update(track, settings)
                return
            self.unsubscribe(track)
        subscription = Subscription(track, source, settings)
        subscription.line = self._line_for(subscription)
        self._subscriptions[track] = subscription
        source.add_consumer(track, self)
        self._schedule()

    def update(self, track: TrackId, settings: SubscriptionSettings) -> None:
        subscription = self._subscriptions.get(track)
        if subscription is not None and subscription.settings != settings:
            subscription.settings = settings
            subscription.source.touch()
            self._select(subscription, time.monotonic())

    def unsubscribe(self, track: TrackId) -> None:
        subscription = self._subscriptions.pop(track, None)
        if subscription is None:
            return
        subscription.source.remove_consumer(track, self)
        if subscription.down_track is not None:
            self._layer_control.remove(subscription.down_track)
            self._webrtc_server.engine.remove_down_track(subscription.down_track)
            self._retire(subscription.down_track, time.monotonic())
        line = subscription.line
        if line is not None:
            line.track = None
            line.accepted = None
            line.slot = line.slot._replace(active=False)
            self._schedule()

    def _retire(self, down_track: DownTrack, now: float) -> None:
        self._sent.extend((now, ssrc) for ssrc in (down_track.ssrc, down_track.rtx_ssrc) if ssrc)
        while len(self._sent) > SENT_KEPT and now - self._sent[0][0] > SENT_FOR:
            _, ssrc = self._sent.popleft()
            if self._connection is not None:
                self._connection.forget_sent(ssrc)

    def _take_ssrc(self) -> int:
        """Returns an SSRC that this connection has never used."""
        self._next_ssrc = (self._next_ssrc + 2) & 0xFFFFFFFF
        return self._next_ssrc

    # -- negotiation ------------------------------------------------------------------------------------------------

    def _line_for(self, subscription: Subscription) -> MediaSectionState:
        source = subscription.source
        parameters, codec = source.track.parameters, source.track.codec
        video = source.kind == "video"
        payload_type, rtx = self._payload_types.assign(codec, parameters, video)
        codecs = [(codec, source.track.clock_rate, 1 if video else 2, parameters, payload_type, rtx)]
        if codec == "opus":  # the server adds redundancy when the path to this subscriber loses packets
            inside = f"{payload_type}/{payload_type}"
            red, _ = self._payload_types.assign("red", inside, False)
            codecs.append(("red", source.track.clock_rate, 2, inside, red, None))
        mine = [line for line in self._media_sections if line.track is None and line.slot.kind == source.kind]
        if mine:
            line = mine[0]
        else:
            if len(self._media_sections) >= ANSWER_MEDIA_LIMIT:
                raise AtCapacity(f"A participant can receive at most {ANSWER_MEDIA_LIMIT} tracks at once.")
            number = len(self._media_sections)
            line = MediaSectionState(
                Transceiver(DIGITS[number // 36] + DIGITS[number % 36], source.kind, (), 0, None, "", "", False)
            )
            self._media_sections.append(line)
        line.track = subscription.track
        line.accepted = None
        line.slot = Transceiver(
            line.slot.mid,
            source.kind,
            tuple(codecs),
            self._take_ssrc(),
            self._take_ssrc() if rtx is not None else None,
            source.stream,
            str(subscription.track),
            True,
        )
        return line

    def _schedule(self) -> None:
        self._changed = True
        if self._scheduled is None and self._open_offer is None and not self._ended:
            self._scheduled = asyncio.get_running_loop().call_soon(self._offer)

    def _offer(self) -> None:
        self._scheduled = None
        if self._open_offer is not None or not self._media_sections or self._ended:
            return
        self._changed = False
        self._offer_id += 1
        slots = [line.slot for line in self._media_sections]
        self._open_offer = slots
        connection = self._connection
        if connection is None:
            connection = self._connection = Connection(
                self._webrtc_server, self._name, self, self._decision_log, self._budget
            )
        sdp = make_offer(
            slots, connection.local(), session_id=connection.session_id, session_version=connection.session_version
        )
        tracks = {line.slot.mid: line.track for line in self._media_sections if line.track is not None}
        self._listener.offer_made(self._offer_id, sdp, tracks)

    def accept_answer(self, offer_id: int, sdp: str) -> None:
        """Raises BadRequest when no offer of this id is open or the answer does not fit it."""
        if self._connection is None or self._open_offer is None or offer_id != self._offer_id:
            raise BadRequest("There is no open offer with this id.", code="no_open_offer")
        if self._ended:
            raise BadRequest("The subscribing connection is closed.", code="connection_closed")
        answer = parse_answer(sdp, self._open_offer)
        if answer.fingerprints:
            self._connection.start_dtls("server" if answer.setup == "active" else "client", answer.fingerprints)
        offered = {slot.mid: slot for slot in self._open_offer}
        self._open_offer = None
        now = time.monotonic()
        for line in self._media_sections:
            section = answer.sections.get(line.slot.mid)
            if section is None or line.track is None or line.slot.ssrc != offered[line.slot.mid].ssrc:
                continue  # changed since the offer: the next offer includes it
            line.accepted = section
            self._open_route(self._connection, self._subscriptions[line.track], line, section, now)
        if self._changed:
            self._schedule()

    @property
    def established(self) -> bool:
        return self._connection is not None and self._connection.state is State.CONNECTED

    @property
    def sending_video(self) -> bool:
        """Whether video is being sent to the client."""
        down_tracks = (subscription.down_track for subscription in self._subscriptions.values())
        return any(
            down_track is not None and down_track.current is not None and down_track.track.kind == "video"
            for down_track in down_tracks
        )

    def _open_route(
        self,
        connection: Connection,
        subscription: Subscription,
        line: MediaSectionState,
        section: AnsweredSection,
        now: float,
    ) -> None:
        if subscription.down_track is not None or subscription.source.track.closed:
            return
        codec = subscription.source.track.codec
        payload_type = next((number for number, name in section.payload_types.items() if name == codec), None)
        if not section.accepted or payload_type is None:
            self._send_state(subscription, SentState(True, "codec", cause=Cause.CODEC))
            return
        slot = line.slot
        subscription.down_track = self._webrtc_server.engine.add_down_track(
            subscription.source.track,
            connection.peer,
            mid=slot.mid,
            ssrc=slot.ssrc,
            rtx_ssrc=slot.rtx_ssrc or 0,
            payload_type=payload_type,
            red_payload_type=next((n for n, name in section.payload_types.items() if name == "red"), None),
            rtx_payload_type=next((n for n, apt in section.rtx.items() if apt == payload_type), None),
            first_sequence=FIRST_SEQUENCE + secrets.randbits(14),
            cname=slot.stream_id,
        )
        feedback = URI_TRANSPORT_CC in section.extensions
        self._layer_control.add(subscription, connection.peer, feedback=feedback, now=now)
        self._select(subscription, now)

    def restart(self) -> None:
        """Makes a new offer with fresh ICE credentials; withdraws an open one (its answer is refused)."""
        if self._ended or self._connection is None:
            return
        self._connection.restart_ice()
        self._open_offer = None
        self._schedule()

    # -- layers -----------------------------------------------------------------------------------------------------

    def reselect(self, track: TrackId, now: float) -> None:
        """Selects the layer again after a track's encodings changed."""
        subscription = self._subscriptions.get(track)
        if subscription is not None:
            self._select(subscription, now)

    def _select(self, subscription: Subscription, now: float) -> None:
        down_track, source = subscription.down_track, subscription.source
        if down_track is None or self._connection is None or self._connection.state is not State.CONNECTED:
            return
        layer_control = self._layer_control
        if subscription.settings.paused:
            self._webrtc_server.engine.clear_target(down_track)
            layer_control.update_request(subscription)
            self._send_state(subscription, SentState(True, "wish", cause=Cause.HIDDEN))
            return
        if subscription.settings.withheld:
            self._webrtc_server.engine.clear_target(down_track)
            layer_control.update_request(subscription)
            # No event for audio: which microphones are withheld changes constantly and does not matter to the client.
            video = source.kind == "video"
            self._send_state(subscription, SentState(True, "last_n", cause=Cause.LAST_N) if video else SentState(False))
            return
        if source.track.muted:
            layer_control.update_request(subscription)
            self._send_state(subscription, SentState(True, "muted", cause=Cause.MUTED))
            return
        if layer_control.downlink is not None:
            layer_control.update_request(subscription)
            if source.kind == "video":
                return
        best = choose(
            source.track.encodings.values(),
            source.declared,
            subscription.settings.width,
            subscription.settings.height,
            down_track.target or down_track.current,
            now,
        )
        if best is None:
            if source.kind == "video":
                self._send_state(subscription, SentState(True, "no_layer", cause=Cause.SILENT))
            return
        self._webrtc_server.engine.set_target(down_track, best, now)
        size = size_of(best, source.declared)
        sent = (encoding for encoding in source.track.encodings.values() if encoding.ssrc and encoding.alive)
        top = max((size_of(encoding, source.declared).height for encoding in sent), default=0)
        self._send_state(
            subscription, SentState(False, "", best.rid, size.width, size.height, max_height=source.max_height(top))
        )

    def settings_of(self, track: TrackId) -> SubscriptionSettings | None:
        subscription = self._subscriptions.get(track)
        return subscription.settings if subscription is not None else None

    def quality_limitation_changed(self, track: TrackId, cause: Cause, now: float) -> None:
        """A track's publisher reports a quality limitation."""
        self._decision_log.write(now, DecisionKind.LIMITED, cause, track=track, counted=False)

    def _send_state(self, subscription: Subscription, sent_state: SentState) -> None:
        before = subscription.sent_state
        if before == sent_state:
            if before.cause is not sent_state.cause or before.max_height != sent_state.max_height:
                subscription.sent_state = sent_state
                self._decision_log.touch()
            return
        if before is None and not sent_state.paused and subscription.source.kind == "audio":
            return
        downlink = self._layer_control.downlink
        rate = downlink.estimator.target if downlink is not None else 0.0
        subscription.log_change(self._decision_log, sent_state, rate, time.monotonic())
        subscription.sent_state = sent_state
        self._listener.subscription_changed(
            subscription.track,
            paused=sent_state.paused,
            reason=sent_state.reason,
            layer=sent_state.layer,
            width=sent_state.width,
            height=sent_state.height,
        )

    # -- state ------------------------------------------------------------------------------------------------------

    def report(self) -> LinkReport | None:
        if self._connection is None or self._connection.connected_at is None:
            return None
        now = time.monotonic()
        down_tracks = [
            subscription.down_track
            for subscription in self._subscriptions.values()
            if subscription.down_track is not None
        ]
        losses = [down_track.reported_loss for down_track in down_tracks if down_track.reported_loss is not None]
        return LinkReport(
            self._connection.peer.clock.rtt,
            max(losses, default=0.0),
            self._connection.silent_for(now),
            self._connection.state is State.CONNECTED,
        )

    def video_stats(self) -> tuple[VideoStats, ...]:
        """Current layer of every video track, with the reason."""
        found = (subscription.picture() for subscription in self._subscriptions.values())
        return tuple(picture for picture in found if picture is not None)

    def path(self) -> DownlinkStats | None:
        """None: no video was sent yet, or bandwidth estimation is disabled."""
        downlink = self._layer_control.downlink
        policy_decision = downlink.policy_decision if downlink is not None else None
        if downlink is None or policy_decision is None:
            return None
        estimator = downlink.estimator
        return DownlinkStats(
            estimator.target,
            estimator.path_rtt,
            estimator.loss,
            policy_decision.height,
            Cause(policy_decision.reason.value),
        )

    def connected(self) -> None:
        now = time.monotonic()
        for subscription in self._subscriptions.values():
            self._select(subscription, now)

    def lost(self, reason: str) -> None:
        self._end()
        self._listener.subscriber_lost()

    def close(self) -> None:
        self._end()
        if self._connection is not None:
            self._connection.close()

    def _end(self) -> None:
        self._ended = True
        self._layer_control.close()
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        for track, subscription in self._subscriptions.items():
            subscription.source.remove_consumer(track, self)
        self._subscriptions.clear()
