"""A session that HTTP requests create (WHIP, RFC 9725; WHEP): a participant without a signalling channel to its client.

It implements `ParticipantSink` for the room. Close order: the room, so that the others get the event, then the media
connection.
"""

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, Self

from sfu.auth.tokens import Claims
from sfu.forwarding.decision_log import DecisionLog
from sfu.forwarding.loop_budget import LoopBudget, media_budget
from sfu.ids import SessionId
from sfu.rooms.events import DataPacket, Delivery, LeaveReason
from sfu.rooms.media_stats import MediaStats
from sfu.rooms.participant import Participant
from sfu.rooms.quality import Link
from sfu.rooms.room import Room
from sfu.signaling.context import Context
from sfu.signaling.token_bucket import TokenBucket

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Requester:
    """The client that creates a session."""

    claims: Claims
    token_digest: bytes
    "SHA-256 of its token."
    address: str

    @classmethod
    def of(cls, claims: Claims, token: str, address: str) -> Self:
        return cls(claims, digest_of(token), address)


def digest_of(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class HttpSessionTable(Protocol):
    """The open sessions of a server; a session adds and removes itself."""

    def add(self, session: "HttpSession") -> None: ...

    def remove(self, session: "HttpSession") -> None:
        """Idempotent."""


class HttpSession(ABC):
    """The part that WHIP and WHEP sessions share: identity, limits, and the end of the stay in the room."""

    protocol: str
    "`whip` or `whep`, for metrics."

    __slots__ = (
        "_context",
        "_decision_log",
        "_participant",
        "_room",
        "_sessions",
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

    def __init__(self, context: Context, sessions: HttpSessionTable, requester: Requester) -> None:
        self._context = context
        self._sessions = sessions
        self.claims = requester.claims
        self.token_digest = requester.token_digest
        self.address = requester.address
        self.id = SessionId(context.ids("SE"))
        "For logs."
        self.key = context.secret()
        "The secret last part of its URL."
        self.etag = ""
        "Identifies the ICE session; changes with each ICE restart."
        self.bucket = TokenBucket(context.settings.message_rate, context.settings.message_burst, context.now())
        "Rate limit of its requests."
        self.budgets: Mapping[str, LoopBudget] = {"media": media_budget()}
        "Loop budgets by source of the work."
        self.ended = False
        self._decision_log = DecisionLog(context.counters.decisions)
        self._room: Room | None = None
        self._participant: Participant | None = None
        self._renew_etag()

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether its media connection was established."""

    @abstractmethod
    def restart_ice(self, ufrag: str, pwd: str) -> str:
        """Takes the client's new credentials and returns the SDP fragment with those of the server; a repeated request gets
        the same fragment. Empty: the credentials are those of the offer, so nothing restarts.

        Raises RemoteErrors and then changes nothing.
        """

    @abstractmethod
    def _close_connection(self) -> None:
        """Closes the media connection and frees what belongs to it. Called once, after the participant has left."""

    def leave(self) -> None:
        """The client ends the session. Idempotent."""
        self.disconnect("left")

    def disconnect(self, reason: LeaveReason | Literal["left"], message: str = "") -> None:
        """The server ends the session. Idempotent. No channel carries the message to the client."""
        if not self.ended:
            self._leave_room(reason)
            self._end(reason)

    # -- ParticipantSink --------------------------------------------------------------------------------------------

    def deliver(self, delivery: Delivery) -> None: ...  # noqa: B027  # most sessions ignore events

    def relay_data(self, packet: DataPacket, *, reliable: bool) -> None: ...  # noqa: B027  # there is no data channel

    def admitted(self, participant: Participant) -> None:  # noqa: B027
        """Never called: these sessions do not wait in a lobby."""

    def removed(self, reason: LeaveReason, message: str) -> None:
        """The room has already removed the participant."""
        if not self.ended:
            if reason == "kicked":
                self._context.access.revoke(self.claims)
            self._end(reason)

    @abstractmethod
    def links(self) -> Sequence[Link]: ...

    @abstractmethod
    def media_stats(self) -> MediaStats | None: ...

    # ---------------------------------------------------------------------------------------------------------------

    def _opened(self, **fields: object) -> None:
        """The participant is in the room and its connection is negotiated."""
        self._sessions.add(self)
        self._context.counters.joins += 1
        self._log("HTTP session opened", **fields)

    def _refused(self) -> None:
        """The negotiation failed: takes the join back."""
        self._leave_room("left")
        self._end("refused")

    def _renew_etag(self) -> None:
        self.etag = f'"{self._context.secret()}"'

    def _ice_restarted(self) -> None:
        self._renew_etag()
        self._log("HTTP session restarts ICE")

    def _leave_room(self, reason: str) -> None:
        if self._room is not None and self._participant is not None:
            self._room.leave(self._participant, reason)

    def _end(self, reason: str) -> None:
        self.ended = True
        self._sessions.remove(self)
        for source, budget in self.budgets.items():
            self._context.counters.loop_seconds[source] += budget.used
            self._context.counters.throttled[source] += budget.throttled
        self._log("HTTP session ended", reason=reason)
        self._close_connection()
        # Break reference cycles, so that memory is freed without the garbage collector.
        self._room = self._participant = None

    def _log(self, text: str, **fields: object) -> None:
        room = self._room
        logger.info(
            text,
            extra={"protocol": self.protocol, "session": self.id, "room_id": room.id if room else "", **fields},
        )
