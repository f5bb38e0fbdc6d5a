"""A participant's subscribing connection: its open offer and what it sends of each track, kept for a resume."""

from typing import Literal, cast

from sfu.errors import BadRequest, NotAuthorized
from sfu.forwarding.decision_log import DecisionLog
from sfu.forwarding.loop_budget import LoopBudget
from sfu.ids import TrackId
from sfu.rooms.media_stats import DownlinkStats, VideoStats
from sfu.rooms.participant import Participant
from sfu.signaling.context import Context
from sfu.signaling.messages import Answer, Offer, SubscriptionState, encode
from sfu.signaling.outbox import Outbox
from sfu.signaling.ports import LinkReport, Subscriber
from sfu.telemetry.join_trace import JoinTrace

Reason = Literal["", "wish", "muted", "no_layer", "congestion", "permission", "codec", "last_n"]


class _OpenOffer:
    """An offer that waits for its answer. Ids are ours: those of a connection that was lost must not fit the next."""

    __slots__ = ("id", "inner_id", "payload")

    def __init__(self, identifier: int, inner_id: int, payload: bytes) -> None:
        self.id = identifier
        self.inner_id = inner_id
        "As the Subscriber numbers it."
        self.payload = payload


class Subscribing:
    """Opened at join, if the token allows it; after a loss when the client asks. A SubscriberListener."""

    __slots__ = (
        "_budget",
        "_context",
        "_decision_log",
        "_fresh",
        "_join_trace",
        "_offer",
        "_offers",
        "_outbox",
        "_participant",
        "_states",
        "_subscriber",
    )  # fmt: skip

    def __init__(
        self,
        context: Context,
        participant: Participant,
        outbox: Outbox,
        join_trace: JoinTrace,
        decision_log: DecisionLog,
        budget: LoopBudget,
    ) -> None:
        self._context = context
        self._decision_log = decision_log
        self._budget = budget
        self._participant = participant
        self._outbox = outbox
        self._join_trace = join_trace
        self._subscriber: Subscriber | None = None
        self._offer: _OpenOffer | None = None
        self._offers = 0
        self._fresh = True
        "Whether the client has not yet answered an offer of this connection."
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
        """A new offer with fresh ICE credentials, of a new connection if the old one is lost."""
        if not self._participant.permissions.subscribe:
            raise NotAuthorized("This token does not allow subscribing.")
        if self._subscriber is None:
            self.open()
        else:
            self._subscriber.restart()

    def accept_answer(self, answer: Answer) -> None:
        """Raises BadRequest (`bad_answer`)."""
        offer = self._offer
        if offer is None or self._subscriber is None or answer.id != offer.id:
            raise BadRequest("No offer of this id is open.", code="bad_answer")
        try:
            self._subscriber.accept_answer(offer.inner_id, answer.sdp)
        except BadRequest as error:
            raise BadRequest(error.message, code="bad_answer") from error
        self._fresh = False
        self._join_trace.answered(self._subscriber)
        # Accepting may have made the next offer already.
        if self._offer is offer:
            self._offer = None

    @property
    def pending_offer_id(self) -> int:
        """The id of the offer that is open; 0: none."""
        return self._offer.id if self._offer is not None else 0

    def resume(self, *, states: bool) -> None:
        """A new socket: the open offer again and, unless they were replayed, all states."""
        if self._offer is not None:
            self._outbox.send(self._offer.payload)
        if states:
            for state in self._states.values():
                self._outbox.send(encode(state))
        self.open()

    def report(self) -> LinkReport | None:
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
        payload = encode(Offer(id=self._offers, sdp=sdp, tracks=named, fresh=self._fresh))
        self._offer = _OpenOffer(self._offers, offer_id, payload)
        self._outbox.send(payload)

    def subscription_changed(
        self, track: TrackId, *, paused: bool, reason: str, layer: str, width: int, height: int
    ) -> None:
        if track not in self._participant.subscriptions:
            self._states.pop(track, None)
            return
        number = self._participant.room.members.next_number()
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
        self._outbox.send_event(number, encode(state))

    def subscriber_lost(self) -> None:
        self._subscriber = None
        self._offer = None
        self._states.clear()
        self._participant.subscriptions.detach_sink()
