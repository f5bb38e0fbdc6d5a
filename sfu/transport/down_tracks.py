"""The subscriptions of one peer, with their down tracks and the selection of their layers.

Both kinds of sinks hold one: WebRTC connections to participants (subscriber.py) and plain transports to processes
(plain_transport.py). They decide when a subscription is sent and with which `SendParameters`.
"""

from collections.abc import Iterator

from sfu.forwarding.decision_log import Cause, DecisionKind, DecisionLog
from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.engine import Engine
from sfu.forwarding.peer import EnginePeer
from sfu.ids import TrackId
from sfu.rooms.media_stats import DownlinkStats, VideoStats
from sfu.rooms.ports import MediaSource, SubscriptionSettings
from sfu.sdp.capabilities import URI_TRANSPORT_CC
from sfu.transport.downlink_scheduler import DownlinkScheduler
from sfu.transport.layer_control import LayerControl
from sfu.transport.subscription import SendParameters, StateListener, Subscription


class DownTracks:
    """A MediaConsumer of every subscribed source. `add`, `open` and `remove` are the life of one subscription."""

    def __init__(
        self,
        engine: Engine,
        downlinks: DownlinkScheduler | None,
        send_state: StateListener,
        decision_log: DecisionLog,
    ) -> None:
        """`downlinks` None: no congestion control. `send_state` gets the state of subscriptions for the subscriber."""
        self._engine = engine
        self._decision_log = decision_log
        self._layer_control = LayerControl(engine, downlinks, send_state, decision_log)
        self._subscriptions: dict[TrackId, Subscription] = {}

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._subscriptions.values())

    def get(self, track: TrackId) -> Subscription | None:
        return self._subscriptions.get(track)

    def start(self, now: float) -> None:
        """The path to the subscriber is open: down tracks send from now on."""
        self._layer_control.start(now)

    def add(self, subscription: Subscription) -> None:
        """Adds a subscription; it is sent after `open`."""
        self._subscriptions[subscription.track] = subscription
        subscription.source.add_consumer(subscription.track, self)

    def open(
        self, subscription: Subscription, peer: EnginePeer, parameters: SendParameters, first_sequence: int, now: float
    ) -> None:
        """Opens the down track, unless it is open or the source has ended. `first_sequence`: see `Engine.add_down_track`."""
        if subscription.down_track is not None or subscription.source.track.closed:
            return
        subscription.down_track = self._engine.add_down_track(
            subscription.source.track,
            peer,
            mid=parameters.mid,
            ssrc=parameters.ssrc,
            rtx_ssrc=parameters.rtx_ssrc,
            payload_type=parameters.payload_type,
            red_payload_type=parameters.red_payload_type,
            rtx_payload_type=parameters.rtx_payload_type,
            first_sequence=first_sequence,
            cname=subscription.source.stream,
            extensions=parameters.extensions if parameters.client_ids else None,
            allow_mixed=parameters.allow_mixed,
            nack_without_rtx=parameters.nack_without_rtx,
            continues=parameters.continues,
        )
        subscription.parameters = parameters
        feedback = URI_TRANSPORT_CC in parameters.extensions
        self._layer_control.add(subscription, peer, feedback=feedback, now=now)

    def rebind(self, subscription: Subscription, source: MediaSource, peer: EnginePeer, now: float) -> None:
        """The media come from another source of the same codec, e.g. after the publisher moved to another node. The
        subscriber's RTP stream goes on without a negotiation, from the next keyframe on."""
        subscription.source.remove_consumer(subscription.track, self)
        ended, parameters = subscription.down_track, subscription.parameters
        if ended is not None:
            self._layer_control.remove(ended)
            self._engine.remove_down_track(ended)
        subscription.source, subscription.down_track = source, None
        source.add_consumer(subscription.track, self)
        if ended is not None and parameters is not None:
            self.open(subscription, peer, parameters._replace(continues=ended), 0, now)

    def update_same_source(
        self, track: TrackId, source: MediaSource, settings: SubscriptionSettings, now: float
    ) -> bool:
        """Updates the settings if `source` is subscribed as `track` already; False: it is not."""
        known = self._subscriptions.get(track)
        if known is None or known.source is not source:
            return False
        self.update(track, settings, now)
        return True

    def update(self, track: TrackId, settings: SubscriptionSettings, now: float) -> None:
        subscription = self._subscriptions.get(track)
        if subscription is not None and subscription.settings != settings:
            subscription.settings = settings
            subscription.source.touch()
            self._layer_control.select(subscription, now)

    def remove(self, track: TrackId) -> Subscription | None:
        """Returns the subscription that ended; None: there is none."""
        subscription = self._subscriptions.pop(track, None)
        if subscription is None:
            return None
        subscription.source.remove_consumer(track, self)
        if subscription.down_track is not None:
            self._layer_control.remove(subscription.down_track)
            self._engine.remove_down_track(subscription.down_track)
        return subscription

    def close(self) -> None:
        """Leaves all sources. Down tracks end with the peer. Idempotent."""
        self._layer_control.close()
        subscriptions, self._subscriptions = self._subscriptions, {}
        for track, subscription in subscriptions.items():
            subscription.source.remove_consumer(track, self)

    # -- MediaConsumer ----------------------------------------------------------------------------------------------

    def settings_of(self, track: TrackId) -> SubscriptionSettings | None:
        subscription = self._subscriptions.get(track)
        return subscription.settings if subscription is not None else None

    def reselect(self, track: TrackId, now: float) -> None:
        """Selects the layer again after a track's encodings changed."""
        subscription = self._subscriptions.get(track)
        if subscription is not None:
            self._layer_control.select(subscription, now)

    def quality_limitation_changed(self, track: TrackId, cause: Cause, now: float) -> None:
        """A track's publisher reports a quality limitation."""
        self._decision_log.write(now, DecisionKind.LIMITED, cause, track=track, counted=False)

    # -- statistics -------------------------------------------------------------------------------------------------

    @property
    def sending_video(self) -> bool:
        """Whether video is being sent to the subscriber."""
        return any(
            subscription.source.kind == "video" and subscription.down_track.is_sending
            for subscription in self
            if subscription.down_track is not None
        )

    @property
    def loss(self) -> float:
        """The highest loss that the subscriber reports, 0–1."""
        losses = (down_track.reported_loss for down_track in self._open())
        return max((loss for loss in losses if loss is not None), default=0.0)

    @property
    def rate(self) -> float:
        """Estimated bits per second of the path; 0: not estimated."""
        downlink = self._layer_control.downlink
        return downlink.estimator.target if downlink is not None else 0.0

    def video_stats(self) -> tuple[VideoStats, ...]:
        """Current layer of every video track, with the reason."""
        found = (subscription.picture() for subscription in self)
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

    def _open(self) -> Iterator[DownTrack]:
        return (subscription.down_track for subscription in self if subscription.down_track is not None)
