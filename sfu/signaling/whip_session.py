"""A WHIP session (RFC 9725): a participant whose only connection publishes, signalled by HTTP requests.

It implements `Client` for the publishing connection, and has no channel to its client: events and messages end here.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

from sfu.errors import Conflict, NotFound, RemoteError
from sfu.rooms.lobby import WaitingParticipant
from sfu.rooms.media_stats import MediaStats
from sfu.rooms.participant import Profile
from sfu.rooms.quality import Link
from sfu.sdp.answer import AcceptedOffer
from sfu.sdp.ice_fragment import fragment_of
from sfu.sdp.ingest_offer import IngestOffer
from sfu.signaling.context import Context
from sfu.signaling.dialect import Dialect
from sfu.signaling.http_session import HttpSession, HttpSessionTable, Requester
from sfu.signaling.json_dialect import JsonDialect
from sfu.signaling.messages import ServerMessage, TrackSpec
from sfu.signaling.publishing import Publishing

logger = logging.getLogger(__name__)

IN_LOBBY = "The room has a lobby, in which an encoder cannot wait. Use a token with roomAdmin, or disable the lobby."


class WhipSession(HttpSession):
    """`open` joins and publishes."""

    protocol = "whip"
    attached = False
    dialect: Dialect = JsonDialect()
    "The connection has no data channels, so nothing is encoded with it."

    __slots__ = ("_answered", "_offer", "_publishing", "_restarts", "_tracks")

    def __init__(self, context: Context, sessions: HttpSessionTable, requester: Requester) -> None:
        super().__init__(context, sessions, requester)
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
            self._refused()
            raise
        self._opened()
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
            self._ice_restarted()
        return fragment_of(self._answered) if self._restarts else ""

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

    def _close_connection(self) -> None:
        publishing, self._publishing = self._publishing, None
        if publishing is not None:
            publishing.close()
