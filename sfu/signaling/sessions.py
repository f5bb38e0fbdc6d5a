"""The open sessions of a server: join, resume and periodic checks."""

import logging
from collections.abc import Iterator

from sfu.errors import AtCapacity, NotAuthorized
from sfu.rooms.lobby import WaitingParticipant
from sfu.signaling.context import Context
from sfu.signaling.dialect import Dialect
from sfu.signaling.landing import AcceptedJoin
from sfu.signaling.messages import Join, Ping
from sfu.signaling.outbox import Socket
from sfu.signaling.profile import profile_of
from sfu.signaling.session import Session
from sfu.signaling.session_state import CLOSE_REFUSED, CLOSE_SILENT, State

logger = logging.getLogger(__name__)

PONG_GRACE = 5.0
"""Seconds allowed for the answer to the second ping (at most a quarter of the heartbeat)."""


class Sessions:
    """A SessionTable. Sessions are found by their secret resume key."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._by_key: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Session]:
        """Iterates over a copy, so that sessions may end meanwhile."""
        return iter(list(self._by_key.values()))

    def find(self, resume_key: str) -> Session | None:
        return self._by_key.get(resume_key)

    def add(self, session: Session) -> None:
        self._by_key[session.resume_key] = session

    def remove(self, session: Session) -> None:
        self._by_key.pop(session.resume_key, None)

    def join(
        self, socket: Socket, dialect: Dialect, join: Join, token: str, accepted: AcceptedJoin | None = None
    ) -> Session:
        """Resumes a session or creates one. `token`: from the message or the subprotocol, may be empty. `accepted`: another
        node is the home of the room and lets the client in.

        Raises RemoteErrors.
        """
        context = self.context
        dialect.negotiate(join)
        if join.resume:
            known = self.find(join.resume)
            if known is not None and known.state is State.JOINED and known.dialect is dialect:
                known.attach(socket)
                known.resume(join.id, join.last)
                return known
            rebuilt = self._rebuild(socket, dialect, join)
            if rebuilt is not None:
                return rebuilt
            if not token:
                raise NotAuthorized("The session is gone.", code="resume_failed")
        claims = context.access.authenticate(token)
        profile = profile_of(claims, join)
        if context.draining:
            raise AtCapacity("This server is going down; try another.", code="draining")
        context.access.admit("" if accepted is not None else claims.video.room)
        session = Session(context, self, dialect, claims, join.id, join.client)
        session.attach(socket)
        room = claims.video.room
        entry = accepted.take(session) if accepted is not None else context.rooms.join(room, profile, session)
        if isinstance(entry, WaitingParticipant):
            session.wait(entry)
        else:
            session.admitted(entry)
        return session

    def _rebuild(self, socket: Socket, dialect: Dialect, join: Join) -> Session | None:
        """A new session of a participant that is away since this node took its room over. None: the key does not name one.

        Raises AtCapacity."""
        context = self.context
        opened = context.resume_keys.open(join.resume) if context.resume_keys is not None else None
        if opened is None:
            return None
        identifier, claims = opened
        if context.draining or context.access.is_revoked(claims):
            return None
        if context.access.check_home is not None:
            context.access.check_home(claims.video.room)
        session = Session(context, self, dialect, claims, join.id, join.client)
        participant = context.rooms.take_back(claims.video.room, identifier, session)
        if participant is None:
            return None
        session.attach(socket)
        session.admitted(participant, rebuild=True)
        context.counters.rebuilds += 1
        return session

    def check(self, now: float, wall: float) -> None:
        """Sends pings, closes silent sockets, and ends absent, expired and overloading sessions.

        `now`: monotonic seconds. `wall`: seconds since 1970, the clock of token expiry.
        """
        context, settings = self.context, self.context.settings
        ping = Ping(at=round(now, 3))
        patience = 2 * settings.heartbeat + min(PONG_GRACE, settings.heartbeat / 4)
        for session in self:
            if session.diagnostics is not None:
                session.diagnostics.handle_timer(now, wall)
            if session.limits.exceeds_loop_budget(now):
                context.counters.overloads += 1
                used = {source: round(budget.used, 3) for source, budget in session.limits.budgets.items()}
                logger.warning("participant takes too much loop time", extra={"session": session.id, **used})
                session.disconnect(
                    "protocol_error", "This connection takes too much of the server's time.", CLOSE_REFUSED
                )
            elif settings.end_with_token and session.claims.expires_at <= wall:
                session.disconnect("token_expired", "Your access has expired.")
            elif session.detached_at is not None:
                if now - session.detached_at >= settings.resume_window:
                    context.counters.timeouts += 1
                    session.leave("timeout")
            elif now - session.last_received_at > patience:
                session.close_socket("timeout", "The server received nothing from you.", CLOSE_SILENT)
            elif now - session.pinged_at >= settings.heartbeat:
                session.pinged_at = now
                session.send(ping)
