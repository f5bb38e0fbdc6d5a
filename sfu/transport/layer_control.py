"""What one subscriber's downlink decides, carried out on its routes: layers follow what the path carries.

The downlink (sfu.forwarding.downlink) decides and knows no route; this aims, parks and pads, and says what became of it.
A subscription takes part once it has a route, from the first picture on: sound alone is not allocated.
"""

from collections.abc import Hashable
from typing import TYPE_CHECKING, Final

from sfu.forwarding.allocator import Decision, Layer, Rank, Reason
from sfu.forwarding.control import TICK
from sfu.forwarding.decision_log import Cause, Diary, PathWatch
from sfu.forwarding.down_track import Route
from sfu.forwarding.downlink import Downlink, Want
from sfu.forwarding.layer_filter import thinned
from sfu.forwarding.peer import EnginePeer
from sfu.transport.subscription import Outbound, Tell, Told

if TYPE_CHECKING:
    from sfu.transport.downlinks import Downlinks
    from sfu.transport.webrtc_server import Hub

ON_STAGE: Final = 255
"""The priority that a page gives what it shows largest."""
SLOW: Final = (Reason.BUDGET, Reason.HOLD, Reason.TIER)
"""What a client is told as congestion: its path, or the operator's rules for such a path."""


LOSS_EVERY: Final = 1.0
"""Seconds between two looks at how redundant sound has to be."""


class Steering:
    """One per subscribing connection. `tell`: called when what the client should know of a subscription changed."""

    def __init__(self, hub: "Hub", downlinks: "Downlinks", tell: Tell, diary: Diary) -> None:
        self._hub = hub
        self._diary = diary
        self._watch = PathWatch(downlinks.settings.loss)
        self._downlinks = downlinks
        self._tell: Tell = tell
        self._peer: EnginePeer | None = None
        self.downlink: Downlink | None = None
        """Made with the first picture."""
        self._by_ssrc: dict[Hashable, Outbound] = {}
        """What has a route, as the downlink calls it."""
        self._stale: dict[int, None] = {}
        """SSRCs of which the decision is carried out again whether it changed or not."""
        self._loss_at = float("-inf")
        self._feedback: set[int] = set()
        """SSRCs of which the client tells what arrived."""

    def add(self, outbound: Outbound, peer: EnginePeer, *, feedback: bool, now: float) -> None:
        """A subscription got its route. `feedback`: the client said that it sends transport-wide feedback for it."""
        route = outbound.route
        assert route is not None
        self._by_ssrc[route.ssrc] = outbound
        if feedback:
            self._feedback.add(route.ssrc)
        if self.downlink is not None:
            self._follow_feedback(route)
        elif outbound.source.kind == "video":
            self._peer = peer
            self.downlink = peer.downlink = self._downlinks.open(self, self._layers, now)
            for other in self._by_ssrc.values():
                assert other.route is not None
                self._follow_feedback(other.route)
                self.want(other)

    def remove(self, route: Route) -> None:
        self._by_ssrc.pop(route.ssrc, None)
        self._stale.pop(route.ssrc, None)
        self._feedback.discard(route.ssrc)
        if self.downlink is not None:
            self.downlink.wants.pop(route.ssrc, None)
            self.downlink.touch()
            self._downlinks.touch(self)

    def close(self) -> None:
        self._downlinks.close(self)
        self.downlink = self._peer = None
        self._by_ssrc.clear()
        self._stale.clear()
        self._tell = _tell_nobody

    def want(self, outbound: Outbound) -> None:
        """The downlink learns what is wished now, and decides anew in the next tick."""
        downlink, route, wish, source = self.downlink, outbound.route, outbound.wish, outbound.source
        if downlink is None or route is None:
            return
        downlink.wants[route.ssrc] = Want(
            source.kind,
            Rank.SCREEN if source.screen else Rank.STAGE if wish.priority >= ON_STAGE else Rank.OTHER,
            wish.priority,
            wish.width,
            wish.height,
            wish.fps,
            wish.stopped or source.track.muted,
        )
        downlink.touch()
        self._stale[route.ssrc] = None
        self._downlinks.touch(self)

    def look(self, now: float, *, allocate: bool) -> None:
        """By the clock: decisions are renewed and carried out; a probe under way gets its padding."""
        downlink, peer = self.downlink, self._peer
        if downlink is None or peer is None or peer.tx is None:
            return
        if allocate:
            urgent = set()
            changes = downlink.handle_timer(now)
            self._watch.look(self._diary, downlink, now)
            for change in changes:
                assert isinstance(change.key, int)
                self._stale[change.key] = None
                if change.urgent:
                    urgent.add(change.key)
            stale, self._stale = self._stale, {}
            decisions = downlink.allocation.decisions if downlink.allocation is not None else {}
            for ssrc in stale:
                decision, outbound = decisions.get(ssrc), self._by_ssrc.get(ssrc)
                if decision is not None and outbound is not None and outbound.source.kind == "video":
                    self._carry_out(outbound, decision, ssrc in urgent, now)
            if now >= self._loss_at:
                self._loss_at = now + LOSS_EVERY
                for outbound in self._by_ssrc.values():
                    if outbound.source.kind == "audio" and outbound.route is not None:
                        outbound.route.hear_of_loss(downlink.estimator.loss, now)
        if downlink.probing:
            self._hub.engine.pad(peer, downlink.padding(now, TICK), now)

    def charge(self, seconds: float, now: float) -> None:
        """Loop time that `look` took."""
        if self._peer is not None:
            self._peer.budget.charge_elapsed(seconds, now)

    def _follow_feedback(self, route: Route) -> None:
        """All that the client tells about has to be known here, or its numbers would be taken for something else."""
        if self.downlink is not None and route.ssrc in self._feedback:
            note, log = self.downlink.estimator.note, self._hub.engine.log
            route.note = note if log is None else log.noting(route.peer, note)

    def _layers(self, key: Hashable) -> tuple[Layer, ...]:
        source = self._by_ssrc[key].source
        return self._downlinks.rates.layers(source.track, source.declared)

    def _carry_out(self, outbound: Outbound, decision: Decision, urgent: bool, now: float) -> None:
        route, layer = outbound.route, decision.layer
        if route is None or outbound.wish.stopped or outbound.source.track.muted:
            return
        if layer is None:
            if decision.reason is Reason.SILENT:
                self._tell(outbound, Told(True, "no_layer", cause=Cause.SILENT))
            else:
                route.park()
                cause = Cause(decision.reason.value)
                self._tell(outbound, Told(True, "congestion", cause=cause, top_height=self._top_height(outbound)))
            return
        stream = thinned(outbound.source.track.encodings[layer.name], layer.spatial, layer.temporal)
        if urgent and not route.has(stream.origin):
            route.pause()  # the path is flooded: the new layer's keyframe would come behind a queue
        self._hub.engine.aim(route, stream, now)
        reason = "congestion" if decision.reason in SLOW else ""
        cause = Cause(decision.reason.value)
        told = Told(False, reason, layer.name, layer.width, layer.height, cause, self._top_height(outbound))
        self._tell(outbound, told)

    def _top_height(self, outbound: Outbound) -> int:
        source = outbound.source
        layers = self._downlinks.rates.layers(source.track, source.declared)
        return source.top_height(layers[-1].height if layers else 0)


def _tell_nobody(outbound: Outbound, told: Told) -> None:
    """The subscriber is gone."""
