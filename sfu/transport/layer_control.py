"""Selects the layers of one subscriber's down tracks and reports the result.

The downlink (sfu.forwarding.downlink) allocates bandwidth from the first video subscription on; it decides and knows no down
track. Without a downlink (audio alone, estimation disabled, a plain transport) the tile size decides (sfu.forwarding.selector).
"""

from collections.abc import Hashable
from typing import Final

from sfu.forwarding.allocator import AllocationReason, Layer, LayerAllocation, LayerRequest, Rank
from sfu.forwarding.decision_log import Cause, DecisionLog, DownlinkLogger
from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.downlink import Downlink
from sfu.forwarding.engine import Engine
from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.rtcp_handler import TICK
from sfu.forwarding.selector import choose, live_height, size_of
from sfu.rooms.ports import FOCUS_PRIORITY
from sfu.transport.downlink_scheduler import DownlinkScheduler
from sfu.transport.subscription import SentState, StateListener, Subscription

SLOW: Final = (AllocationReason.BUDGET, AllocationReason.HOLD, AllocationReason.TIER)
"""Reasons that the client receives as congestion."""
LOSS_EVERY: Final = 1.0
"""Seconds between updates of the audio redundancy."""


class LayerControl:
    """One per subscriber. Calls `send_state` when the state of a subscription may have changed."""

    def __init__(
        self,
        engine: Engine,
        downlinks: DownlinkScheduler | None,
        send_state: StateListener,
        decision_log: DecisionLog,
    ) -> None:
        """`downlinks` None: the path needs no congestion control."""
        self._engine = engine
        self._decision_log = decision_log
        self._downlink_logger = DownlinkLogger(downlinks.settings.loss) if downlinks is not None else None
        self._downlink_scheduler = downlinks
        self._send_state: StateListener = send_state
        self._started = False
        self._peer: EnginePeer | None = None
        self.downlink: Downlink | None = None
        """Created with the first video subscription."""
        self._by_ssrc: dict[Hashable, Subscription] = {}
        """Subscriptions with a down track, by the downlink's key (the SSRC)."""
        self.changed: dict[Hashable, None] = {}
        """SSRCs whose request changed: the next tick allocates, and applies their decisions even if they are the same."""
        self._loss_at = float("-inf")
        self._feedback: set[int] = set()
        """SSRCs that the client covers with transport-wide feedback."""

    def start(self, now: float) -> None:
        """The path to the subscriber is open: selects the layers of all subscriptions, and of later ones when added."""
        self._started = True
        for subscription in list(self._by_ssrc.values()):
            self.select(subscription, now)

    def add(self, subscription: Subscription, peer: EnginePeer, *, feedback: bool, now: float) -> None:
        """Adds a subscription that has a down track. `feedback`: the client negotiated transport-wide feedback for it."""
        down_track = subscription.down_track
        assert down_track is not None
        self._by_ssrc[down_track.ssrc] = subscription
        if feedback:
            self._feedback.add(down_track.ssrc)
        if self.downlink is not None:
            self._follow_feedback(down_track)
        elif subscription.source.kind == "video" and self._downlink_scheduler is not None:
            self._peer = peer
            self.downlink = self._downlink_scheduler.open(self, self._layers, now)
            self._engine.set_downlink(peer, self.downlink)
            for other in self._by_ssrc.values():
                assert other.down_track is not None
                self._follow_feedback(other.down_track)
                self._request(other)
        self.select(subscription, now)

    def remove(self, down_track: DownTrack) -> None:
        self._by_ssrc.pop(down_track.ssrc, None)
        self._feedback.discard(down_track.ssrc)
        if self.downlink is not None:
            self.downlink.requests.pop(down_track.ssrc, None)
            self.changed[down_track.ssrc] = None

    def close(self) -> None:
        if self._downlink_scheduler is not None:
            self._downlink_scheduler.close(self)
        self._started = False
        self.downlink = self._peer = None
        self._by_ssrc.clear()
        self.changed.clear()
        self._send_state = ignore_state

    def select(self, subscription: Subscription, now: float) -> None:
        """Selects again after the settings or the source's encodings changed. A downlink decides on video in the next tick."""
        down_track, source, settings = subscription.down_track, subscription.source, subscription.settings
        if down_track is None or not self._started:
            return
        self._request(subscription)
        if settings.paused:
            self._engine.clear_target(down_track)
            self._send_state(subscription, SentState(True, "requested", cause=Cause.HIDDEN))
        elif settings.withheld:
            self._engine.clear_target(down_track)
            # No event for audio: which microphones are withheld changes constantly and does not matter to the client.
            video = source.kind == "video"
            self._send_state(subscription, SentState(True, "last_n", cause=Cause.LAST_N) if video else SentState(False))
        elif source.track.muted:
            self._send_state(subscription, SentState(True, "muted", cause=Cause.MUTED))
        elif self.downlink is None or source.kind == "audio":
            self._select_by_size(subscription, down_track, now)

    def _select_by_size(self, subscription: Subscription, down_track: DownTrack, now: float) -> None:
        source, settings = subscription.source, subscription.settings
        encodings = source.track.encodings.values()
        best = choose(encodings, source.declared, settings.width, settings.height, down_track.selected, now)
        if best is None:
            if source.kind == "video":
                self._send_state(subscription, SentState(True, "no_layer", cause=Cause.SILENT))
            return
        self._engine.set_target(down_track, best, now)
        size = size_of(best, source.declared)
        max_height = source.max_height(live_height(encodings, source.declared))
        self._send_state(subscription, SentState(False, "", best.rid, size.width, size.height, max_height=max_height))

    def _request(self, subscription: Subscription) -> None:
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
        self.changed[down_track.ssrc] = None

    def update(self, now: float, *, allocate: bool) -> None:
        """Called by the scheduler: renews and applies decisions and sends padding for an active probe."""
        downlink, peer = self.downlink, self._peer
        if downlink is None or peer is None or not self._started:
            return
        if allocate:
            self._allocate(downlink, now)
        if downlink.probing:
            self._engine.send_padding(peer, downlink.padding(now, TICK), now)

    def _allocate(self, downlink: Downlink, now: float) -> None:
        changed, self.changed = self.changed, {}
        if changed:
            downlink.touch()
        urgent = set()
        for change in downlink.handle_timer(now):
            changed[change.key] = None
            if change.urgent:
                urgent.add(change.key)
        if self._downlink_logger is not None:
            self._downlink_logger.update(self._decision_log, downlink, now)
        tracks = downlink.allocation.tracks if downlink.allocation is not None else {}
        for ssrc in changed:
            decision, subscription = tracks.get(ssrc), self._by_ssrc.get(ssrc)
            if decision is not None and subscription is not None and subscription.source.kind == "video":
                self._apply(subscription, decision, ssrc in urgent, now)
        if now >= self._loss_at:
            self._loss_at = now + LOSS_EVERY
            for subscription in self._by_ssrc.values():
                if subscription.source.kind == "audio" and subscription.down_track is not None:
                    self._engine.update_loss(subscription.down_track, downlink.estimator.loss, now)

    def charge(self, seconds: float, now: float) -> None:
        """Charges the loop time of `update`."""
        if self._peer is not None:
            self._peer.budget.charge_elapsed(seconds, now)

    def _follow_feedback(self, down_track: DownTrack) -> None:
        """Registers the stream for transport-wide feedback: every packet that the client reports must be known."""
        if self.downlink is not None and down_track.ssrc in self._feedback:
            self._engine.set_sent_callback(down_track, self.downlink.estimator.on_sent)

    def _layers(self, key: Hashable) -> tuple[Layer, ...]:
        return self._live_layers(self._by_ssrc[key])

    def _live_layers(self, subscription: Subscription) -> tuple[Layer, ...]:
        assert self._downlink_scheduler is not None
        source = subscription.source
        return self._downlink_scheduler.rates.layers(source.track, source.declared)

    def _apply(self, subscription: Subscription, decision: LayerAllocation, urgent: bool, now: float) -> None:
        down_track, layer = subscription.down_track, decision.layer
        if down_track is None or subscription.settings.stopped or subscription.source.track.muted:
            return
        if layer is None:
            if decision.reason is AllocationReason.SILENT:
                self._send_state(subscription, SentState(True, "no_layer", cause=Cause.SILENT))
            else:
                self._engine.clear_target(down_track)
                cause = Cause(decision.reason.value)
                self._send_state(
                    subscription, SentState(True, "congestion", cause=cause, max_height=self._top_height(subscription))
                )
            return
        self._engine.set_layer(
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
        layers = self._live_layers(subscription)
        return subscription.source.max_height(layers[-1].height if layers else 0)


def ignore_state(subscription: Subscription, sent_state: SentState) -> None:
    """A StateListener for subscribers that are not informed: processes, and those that have left."""
