"""The subscribing connection of a participant, with its open offer and the state of each subscription."""

from typing import Literal, cast

from sfu.errors import BadRequest, NotAuthorized
from sfu.forwarding.decision_log import DecisionLog
from sfu.forwarding.loop_budget import LoopBudget
from sfu.ids import TrackId
from sfu.rooms.media_stats import DownlinkStats, VideoStats
from sfu.rooms.participant import Participant
from sfu.rooms.quality import Link
from sfu.signaling.context import Context
from sfu.signaling.messages import Offer, SubscriptionState
from sfu.signaling.ports import Client, Subscriber
from sfu.telemetry.join_trace import JoinTrace

Reason = Literal["", "requested", "muted", "no_layer", "congestion", "permission", "codec", "last_n"]


class _OpenOffer:
    """An offer without an answer. Its id is unique within the session, so that an answer to an offer of a lost connection
    does not fit an offer of the next one."""

    __slots__ = ("message", "subscriber_id")

    def __init__(self, message: Offer, subscriber_id: int) -> None:
        self.message = message
        self.subscriber_id = subscriber_id
        "The id that the Subscriber gave it."


class Subscribing:
    """A SubscriberListener. Opens the connection at join if the token allows it, and after a loss when the client asks."""

    __slots__ = (
        "_budget",
        "_client",
        "_context",
        "_decision_log",
        "_fresh",
        "_join_trace",
        "_offer",
        "_offers",
        "_participant",
        "_states",
        "_subscriber",
    )  # fmt: skip

    def __init__(
        self,
        context: Context,
        client: Client,
        participant: Participant,
        join_trace: JoinTrace,
        decision_log: DecisionLog,
        budget: LoopBudget,
    ) -> None:
        self._context = context
        self._client = client
        self._decision_log = decision_log
        self._budget = budget
        self._participant = participant
        self._join_trace = join_trace
        self._subscriber: Subscriber | None = None
        self._offer: _OpenOffer | None = None
        self._offers = 0
        self._fresh = True
        "The client has not answered an offer of this connection yet."
        self._states: dict[TrackId, SubscriptionState] = {}

    def open(self) -> None:
        """Idempotent."""
        if self._subscriber is not None or not self._participant.permissions.subscribe:
            return
        self._fresh = True
        self._subscriber = self._context.endpoint.open_subscriber(
            self._participant.id, self, self._decision_log, self._budget
        )
        self._participant.subscriptions.attach_sink(self._subscriber)

    def restart(self) -> None:
        """Sends an offer with new ICE credentials, on a new connection if the old one is lost. Raises NotAuthorized."""
        if not self._participant.permissions.subscribe:
            raise NotAuthorized("This token does not allow subscribing.")
        if self._subscriber is None:
            self.open()
        else:
            self._subscriber.restart()

    def accept_answer(self, offer_id: int, sdp: str) -> None:
        """Raises BadRequest (`bad_answer`)."""
        offer = self._offer
        if offer is None or self._subscriber is None or offer_id != offer.message.id:
            raise BadRequest("No offer with this id is open.", code="bad_answer")
        try:
            self._subscriber.accept_answer(offer.subscriber_id, sdp)
        except BadRequest as error:
            raise BadRequest(error.message, code="bad_answer") from error
        self._fresh = False
        self._join_trace.answered(self._subscriber)
        # Accepting the answer may have created the next offer.
        if self._offer is offer:
            self._offer = None

    @property
    def pending_offer_id(self) -> int:
        """Id of the open offer; 0: none."""
        return self._offer.message.id if self._offer is not None else 0

    def resume(self, *, states: bool) -> None:
        """Call it after the client attached again. Repeats the open offer, and with `states` all subscription states."""
        if self._offer is not None:
            self._client.send(self._offer.message)
        if states:
            for state in self._states.values():
                self._client.send(state)
        self.open()

    @property
    def remote_host(self) -> str:
        """IP address that the connection sends to; empty: none yet."""
        return self._subscriber.remote_host if self._subscriber is not None else ""

    def report(self) -> Link | None:
        return self._subscriber.report() if self._subscriber is not None else None

    def path(self) -> DownlinkStats | None:
        return self._subscriber.path() if self._subscriber is not None else None

    def video_stats(self) -> tuple[VideoStats, ...]:
        return self._subscriber.video_stats() if self._subscriber is not None else ()

    def close(self) -> None:
        subscriber, self._subscriber = self._subscriber, None
        self._offer = None
        self._states.clear()
        self._participant.subscriptions.detach_sink()
        if subscriber is not None:
            subscriber.close()

    def offer_made(self, offer_id: int, sdp: str, tracks: dict[str, TrackId]) -> None:
        self._offers += 1
        self._join_trace.offered()
        named = {mid: str(track) for mid, track in tracks.items()}
        message = Offer(id=self._offers, sdp=sdp, tracks=named, fresh=self._fresh)
        self._offer = _OpenOffer(message, offer_id)
        self._client.send(message)

    def subscription_changed(
        self, track: TrackId, *, paused: bool, reason: str, layer: str, width: int, height: int
    ) -> None:
        if track not in self._participant.subscriptions:
            self._states.pop(track, None)
            return
        number = self._client.next_event_number()
        state = SubscriptionState(
            n=number,
            track=track,
            paused=paused,
            reason=cast(Reason, reason),
            layer=layer,
            width=width,
            height=height,
        )
        self._states[track] = state
        self._client.send_event(number, state)

    def subscriber_lost(self) -> None:
        self._subscriber = None
        self._offer = None
        self._states.clear()
        self._participant.subscriptions.detach_sink()
