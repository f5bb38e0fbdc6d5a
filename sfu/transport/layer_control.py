"""Applies the decisions of one subscriber's downlink to its down tracks.

The downlink (sfu.forwarding.downlink) decides and knows no down track. This module sets and clears their targets, sends
padding and reports the result. Bandwidth is allocated from the first video subscription on; audio alone is not allocated.
"""

from collections.abc import Hashable
from typing import TYPE_CHECKING, Final

from sfu.forwarding.allocator import AllocationReason, Layer, LayerAllocation, LayerRequest, Rank
from sfu.forwarding.decision_log import Cause, DecisionLog, DownlinkLogger
from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.downlink import Downlink
from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.rtcp_handler import TICK
from sfu.rooms.ports import FOCUS_PRIORITY
from sfu.transport.downlink_scheduler import DownlinkScheduler
from sfu.transport.subscription import SentState, StateListener, Subscription

if TYPE_CHECKING:
    from sfu.transport.webrtc_server import WebRtcServer

SLOW: Final = (AllocationReason.BUDGET, AllocationReason.HOLD, AllocationReason.TIER)
"""Reasons that the client receives as congestion."""


LOSS_EVERY: Final = 1.0
"""Seconds between updates of the audio redundancy."""


class LayerControl:
    """One per subscribing connection. Calls `send_state` when the state of a subscription changes."""

    def __init__(
        self,
        webrtc_server: "WebRtcServer",
        downlinks: DownlinkScheduler,
        send_state: StateListener,
        decision_log: DecisionLog,
    ) -> None:
        self._webrtc_server = webrtc_server
        self._decision_log = decision_log
        self._watch = DownlinkLogger(downlinks.settings.loss)
        self._downlink_scheduler = downlinks
        self._send_state: StateListener = send_state
        self._peer: EnginePeer | None = None
        self.downlink: Downlink | None = None
        """Created with the first video subscription."""
        self._by_ssrc: dict[Hashable, Subscription] = {}
        """Subscriptions with a down track, by the downlink's key (the SSRC)."""
        self._stale: dict[int, None] = {}
        """SSRCs whose decision is applied again even if it is unchanged."""
        self._loss_at = float("-inf")
        self._feedback: set[int] = set()
        """SSRCs that the client covers with transport-wide feedback."""

    def add(self, subscription: Subscription, peer: EnginePeer, *, feedback: bool, now: float) -> None:
        """Adds a subscription that has a down track. `feedback`: the client negotiated transport-wide feedback for it."""
        down_track = subscription.down_track
        assert down_track is not None
        self._by_ssrc[down_track.ssrc] = subscription
        if feedback:
            self._feedback.add(down_track.ssrc)
        if self.downlink is not None:
            self._follow_feedback(down_track)
        elif subscription.source.kind == "video":
            self._peer = peer
            self.downlink = self._downlink_scheduler.open(self, self._layers, now)
            self._webrtc_server.engine.set_downlink(peer, self.downlink)
            for other in self._by_ssrc.values():
                assert other.down_track is not None
                self._follow_feedback(other.down_track)
                self.update_request(other)

    def remove(self, down_track: DownTrack) -> None:
        self._by_ssrc.pop(down_track.ssrc, None)
        self._stale.pop(down_track.ssrc, None)
        self._feedback.discard(down_track.ssrc)
        if self.downlink is not None:
            self.downlink.requests.pop(down_track.ssrc, None)
            self.downlink.touch()
            self._downlink_scheduler.touch(self)

    def close(self) -> None:
        self._downlink_scheduler.close(self)
        self.downlink = self._peer = None
        self._by_ssrc.clear()
        self._stale.clear()
        self._send_state = _ignore_state

    def update_request(self, subscription: Subscription) -> None:
        """Passes the current settings to the downlink, which decides again in the next tick."""
        downlink, down_track, settings, source = (
            self.downlink,
            subscription.down_track,
            subscription.settings,
            subscription.source,
        )
        if downlink is None or down_track is None:
            return
        downlink.requests[down_track.ssrc] = LayerRequest(
            down_track.ssrc,
            source.kind,
            (),
            Rank.SCREEN if source.screen else Rank.STAGE if settings.priority >= FOCUS_PRIORITY else Rank.OTHER,
            settings.priority,
            settings.width,
            settings.height,
            settings.fps,
            settings.stopped or source.track.muted,
        )
        downlink.touch()
        self._stale[down_track.ssrc] = None
        self._downlink_scheduler.touch(self)

    def update(self, now: float, *, allocate: bool) -> None:
        """Called by the scheduler: renews and applies decisions and sends padding for an active probe."""
        downlink, peer = self.downlink, self._peer
        if downlink is None or peer is None or peer.tx is None:
            return
        engine = self._webrtc_server.engine
        if allocate:
            urgent = set()
            changes = downlink.handle_timer(now)
            self._watch.update(self._decision_log, downlink, now)
            for change in changes:
                assert isinstance(change.key, int)
                self._stale[change.key] = None
                if change.urgent:
                    urgent.add(change.key)
            stale, self._stale = self._stale, {}
            tracks = downlink.allocation.tracks if downlink.allocation is not None else {}
            for ssrc in stale:
                decision, subscription = tracks.get(ssrc), self._by_ssrc.get(ssrc)
                if decision is not None and subscription is not None and subscription.source.kind == "video":
                    self._carry_out(subscription, decision, ssrc in urgent, now)
            if now >= self._loss_at:
                self._loss_at = now + LOSS_EVERY
                for subscription in self._by_ssrc.values():
                    if subscription.source.kind == "audio" and subscription.down_track is not None:
                        engine.update_loss(subscription.down_track, downlink.estimator.loss, now)
        if downlink.probing:
            engine.send_padding(peer, downlink.padding(now, TICK), now)

    def charge(self, seconds: float, now: float) -> None:
        """Charges the loop time of `update`."""
        if self._peer is not None:
            self._peer.budget.charge_elapsed(seconds, now)

    def _follow_feedback(self, down_track: DownTrack) -> None:
        """Registers the stream for transport-wide feedback: every packet that the client reports must be known."""
        if self.downlink is not None and down_track.ssrc in self._feedback:
            self._webrtc_server.engine.set_sent_callback(down_track, self.downlink.estimator.on_sent)

    def _layers(self, key: Hashable) -> tuple[Layer, ...]:
        source = self._by_ssrc[key].source
        return self._downlink_scheduler.rates.layers(source.track, source.declared)

    def _carry_out(self, subscription: Subscription, decision: LayerAllocation, urgent: bool, now: float) -> None:
        down_track, layer = subscription.down_track, decision.layer
        if down_track is None or subscription.settings.stopped or subscription.source.track.muted:
            return
        if layer is None:
            if decision.reason is AllocationReason.SILENT:
                self._send_state(subscription, SentState(True, "no_layer", cause=Cause.SILENT))
            else:
                self._webrtc_server.engine.clear_target(down_track)
                cause = Cause(decision.reason.value)
                self._send_state(
                    subscription, SentState(True, "congestion", cause=cause, max_height=self._top_height(subscription))
                )
            return
        self._webrtc_server.engine.set_layer(
            down_track,
            subscription.source.track,
            layer.name,
            now,
            spatial=layer.spatial,
            temporal=layer.temporal,
            urgent=urgent,
        )
        reason = "congestion" if decision.reason in SLOW else ""
        cause = Cause(decision.reason.value)
        sent_state = SentState(
            False, reason, layer.name, layer.width, layer.height, cause, self._top_height(subscription)
        )
        self._send_state(subscription, sent_state)

    def _top_height(self, subscription: Subscription) -> int:
        source = subscription.source
        layers = self._downlink_scheduler.rates.layers(source.track, source.declared)
        return source.max_height(layers[-1].height if layers else 0)


def _ignore_state(subscription: Subscription, sent_state: SentState) -> None:
    """Ignores the state: the subscriber has left."""
