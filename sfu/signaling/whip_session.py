"""A WHIP session (RFC 9725): a participant whose only connection publishes, signalled by HTTP requests.

It implements `ParticipantSink` for the room and `Client` for the publishing connection, and has no channel to its client:
events and messages end here. Close order: the room, so that the others get the event, then the media connection.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sfu.auth.tokens import Claims
from sfu.errors import Conflict, NotFound, RemoteError
from sfu.forwarding.decision_log import DecisionLog
from sfu.forwarding.loop_budget import LoopBudget, media_budget
from sfu.ids import SessionId
from sfu.rooms.events import DataPacket, Delivery, LeaveReason
from sfu.rooms.lobby import WaitingParticipant
from sfu.rooms.media_stats import MediaStats
from sfu.rooms.participant import Participant, Profile
from sfu.rooms.quality import Link
from sfu.rooms.room import Room
from sfu.sdp.answer import AcceptedOffer
from sfu.sdp.ice_fragment import fragment_of
from sfu.sdp.ingest_offer import IngestOffer
from sfu.signaling.context import Context
from sfu.signaling.dialect import Dialect
from sfu.signaling.http_sessions import HttpSessions
from sfu.signaling.json_dialect import JsonDialect
from sfu.signaling.messages import ServerMessage, TrackSpec
from sfu.signaling.publishing import Publishing
from sfu.signaling.token_bucket import TokenBucket

logger = logging.getLogger(__name__)

IN_LOBBY = "The room has a lobby, in which an encoder cannot wait. Use a token with roomAdmin, or disable the lobby."


class WhipSession:
    """An HttpSession. `open` joins and publishes."""

    protocol = "whip"
    attached = False
    dialect: Dialect = JsonDialect()
    "The connection has no data channels, so nothing is encoded with it."

    __slots__ = (
        "_answered",
        "_context",
        "_decision_log",
        "_offer",
        "_participant",
        "_publishing",
        "_restarts",
        "_room",
        "_sessions",
        "_tracks",
        "address",
        "bucket",
        "budgets",
        "claims",
        "ended",
        "etag",
        "id",
        "key",
        "token_digest",
    )

    def __init__(self, context: Context, sessions: HttpSessions, claims: Claims, token: str, address: str) -> None:
        self._context = context
        self._sessions = sessions
        self.claims = claims
        self.token_digest = hashlib.sha256(token.encode()).digest()
        self.address = address
        self.id = SessionId(context.ids("SE"))
        "For logs."
        self.key = context.secret()
        self.etag = self._new_etag()
        self.bucket = TokenBucket(context.settings.message_rate, context.settings.message_burst, context.now())
        self.budgets: Mapping[str, LoopBudget] = {"media": media_budget()}
        self.ended = False
        self._decision_log = DecisionLog(context.counters.decisions)
        self._room: Room | None = None
        self._participant: Participant | None = None
        self._publishing: Publishing | None = None
        self._offer: IngestOffer | None = None
        self._tracks: list[TrackSpec] = []
        self._answered = ""
        "The last answer."
        self._restarts = 0

    def open(self, profile: Profile, offer: IngestOffer, tracks: list[TrackSpec]) -> str:
        """Joins the room, publishes and returns the answer. Raises RemoteErrors, and then the participant has left."""
        context = self._context
        room_name = self.claims.video.room
        profile = replace(profile, kind="ingress")
        self._check_lobby(profile)
        entry = context.rooms.join(room_name, profile, self)
        self._room = room = context.rooms.find(room_name)
        if isinstance(entry, WaitingParticipant):
            room.leave_lobby(entry)
            raise Conflict(IN_LOBBY, code="lobby")
        self._participant = entry
        self._offer, self._tracks = offer, tracks
        self._publishing = Publishing(context, self, room, entry, self._decision_log, self.budgets["media"])
        try:
            self._answered = self._publish(offer.accepted)
        except RemoteError:
            self._leave_room("left")
            self._end("refused")
            raise
        self._sessions.add(self)
        context.counters.joins += 1
        self._log("WHIP session opened")
        return self._answered

    @property
    def connected(self) -> bool:
        return self._publishing is not None and self._publishing.report() is not None

    def restart_ice(self, ufrag: str, pwd: str) -> str:
        offer, publishing = self._offer, self._publishing
        if offer is None or publishing is None:
            raise NotFound("The session has ended.")
        if offer.accepted.ufrag != ufrag:
            self._answered = self._publish(replace(offer.accepted, ufrag=ufrag, pwd=pwd))
            self._restarts += 1
            self.etag = self._new_etag()
            self._log("WHIP session restarts ICE")
        return fragment_of(self._answered) if self._restarts else ""

    def leave(self) -> None:
        """Idempotent."""
        if not self.ended:
            self._leave_room("left")
            self._end("left")

    def disconnect(self, reason: LeaveReason, message: str) -> None:
        if not self.ended:
            self._leave_room(reason)
            self._end(reason)

    # -- ParticipantSink --------------------------------------------------------------------------------------------

    def deliver(self, delivery: Delivery) -> None: ...

    def relay_data(self, packet: DataPacket, *, reliable: bool) -> None: ...

    def admitted(self, participant: Participant) -> None:
        """Never called: `open` leaves the lobby at once."""

    def removed(self, reason: LeaveReason, message: str) -> None:
        """The room has already removed the participant."""
        if not self.ended:
            if reason == "kicked":
                self._context.access.revoke(self.claims)
            self._end(reason)

    def links(self) -> Sequence[Link]:
        report = self._publishing.report() if self._publishing is not None else None
        return () if report is None else (report,)

    def media_stats(self) -> MediaStats | None:
        return MediaStats(None, (), None, tuple(self._decision_log), self._context.now())

    # -- Client -----------------------------------------------------------------------------------------------------

    def send(self, message: ServerMessage) -> None: ...

    def send_event(self, number: int, message: ServerMessage) -> None: ...

    def next_event_number(self) -> int:
        raise RuntimeError("a WHIP client receives no events")

    def publisher_lost(self) -> None:
        self.disconnect("timeout", "The media connection was lost.")

    # ---------------------------------------------------------------------------------------------------------------

    def _check_lobby(self, profile: Profile) -> None:
        """Raises Conflict before the room shows the encoder in its lobby."""
        try:
            room = self._context.rooms.find(self.claims.video.room)
        except NotFound:
            return
        rejoins = room.members.find_by_identity(profile.identity) is not None
        if room.lobby_enabled and not (rejoins or profile.permissions.bypasses_lobby):
            raise Conflict(IN_LOBBY, code="lobby")

    def _publish(self, accepted: AcceptedOffer) -> str:
        """The answer. Raises RemoteErrors and then changes nothing."""
        if self._publishing is None or self._offer is None:
            raise RuntimeError("the session has not joined")
        answer, _ = self._publishing.answer(accepted, self._tracks)
        self._offer = replace(self._offer, accepted=accepted)
        return self._offer.adapt(answer)

    def _new_etag(self) -> str:
        return f'"{self._context.secret()}"'

    def _leave_room(self, reason: str) -> None:
        if self._room is not None and self._participant is not None:
            self._room.leave(self._participant, reason)

    def _end(self, reason: str) -> None:
        self.ended = True
        self._sessions.remove(self)
        for source, budget in self.budgets.items():
            self._context.counters.loop_seconds[source] += budget.used
            self._context.counters.throttled[source] += budget.throttled
        self._log("WHIP session ended", reason=reason)
        if self._publishing is not None:
            self._publishing.close()
        # Break reference cycles, so that memory is freed without the garbage collector.
        self._room = self._participant = self._publishing = None

    def _log(self, text: str, **fields: object) -> None:
        room = self._room
        logger.info(text, extra={"session": self.id, "room_id": room.id if room else "", **fields})
