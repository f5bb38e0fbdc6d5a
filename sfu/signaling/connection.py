"""The server side of one socket: decodes messages, joins or resumes a session, executes requests, and answers errors.

It does no I/O; websocket.py and tests feed it.
"""

import logging

from sfu.errors import RateLimited, RemoteError
from sfu.signaling import messages
from sfu.signaling.dialect import Dialect, UnreadableMessage
from sfu.signaling.landing import AcceptedJoin
from sfu.signaling.message_cost import message_cost
from sfu.signaling.messages import ClientMessage, Error, Join, Ok
from sfu.signaling.outbox import Socket
from sfu.signaling.requests import HANDLERS, UNANSWERED, needs_home
from sfu.signaling.session import Session
from sfu.signaling.session_state import CLOSE_REFUSED, State
from sfu.signaling.sessions import Sessions

logger = logging.getLogger(__name__)

INTERNAL_ERROR = "Internal server error. It has been logged."


class Connection:
    __slots__ = ("_accepted", "_context", "_dialect", "_sessions", "_socket", "_token", "session")

    def __init__(self, sessions: Sessions, socket: Socket, dialect: Dialect, token: str = "") -> None:
        """`token`: from the WebSocket subprotocol; empty: none."""
        self._sessions = sessions
        self._context = sessions.context
        self._dialect = dialect
        self._socket = socket
        self._token = token
        self._accepted: AcceptedJoin | None = None
        self.session: Session | None = None

    def first_join(self, frame: str | bytes) -> Join | None:
        """The join in the first message. None: the message does not join, or it resumes a session of this node."""
        try:
            message = self._dialect.decode(frame)
        except UnreadableMessage:
            return None
        if not isinstance(message, Join) or (message.resume and self._sessions.find(message.resume) is not None):
            return None
        return message

    def accept(self, join: AcceptedJoin) -> None:
        """The home of the room, another node, has answered the join. Call `receive` with the message next."""
        self._accepted = join

    def receive(self, frame: str | bytes) -> float:
        """Executes a message and charges its loop time to the session. Returns the seconds for which the socket must not
        be read, because the loop budget is exhausted."""
        self._context.counters.received += 1
        began = self._context.cpu()
        answers = self._receive(frame)
        session, now = self.session, self._context.now()
        budget = session.limits.signaling if session is not None else self._context.unauthenticated_budget
        budget.charge(self._context.cpu() - began, now)
        if not answers:  # answers to the server's own offers are throttled, but never lead to a disconnect
            budget.admits(now)
        return budget.delay(now)

    def _receive(self, frame: str | bytes) -> bool:
        """Returns whether the message answers an open offer."""
        session, answers = self.session, False
        if session is None:
            self._receive_first(frame)
            return False
        # The session has ended, or another socket has taken it over.
        if session.outbox.socket is not self._socket or session.state is State.ENDED:
            return False
        session.last_received_at = self._context.now()
        try:
            message = self._dialect.decode(frame)
        except UnreadableMessage as error:
            session.admit_message(message_cost(None, len(frame)))
            self._context.counters.invalid += 1
            session.send(_error(error.request, error))
        else:
            # An answer is as long as the server's own offer makes it, so its length does not count.
            answers = isinstance(message, messages.Answer) and session.awaits_answer(message.id)
            cost = message_cost(message, 0 if answers else len(frame))
            allowed = session.admit_message(cost)
            identifier = getattr(message, "id", -1)
            if allowed:
                self._execute(session, message, -1 if isinstance(message, messages.Answer) else identifier)
            else:
                wait = session.limits.retry_after(cost)
                refusal = RateLimited("Too many messages. This one was ignored.", retry_after=wait)
                session.refuse(identifier, refusal)
        if session.limits.flooding:
            session.disconnect("protocol_error", "This connection sent too much.", CLOSE_REFUSED)
        return answers

    def refuse(self, frame: str | bytes, error: RemoteError) -> None:
        """Refuses the join in this frame before it is executed."""
        self._context.counters.refused += 1
        logger.info("join refused", extra={"code": error.code})
        self._refuse(_error(getattr(self._dialect.decode(frame), "id", -1), error))

    def closed(self) -> None:
        """Call it when the socket is closed."""
        if self._accepted is not None:
            self._accepted.abandon()
        if self.session is not None:
            self.session.socket_lost(self._socket)

    def _receive_first(self, frame: str | bytes) -> None:
        identifier = -1
        try:
            message = self._dialect.decode(frame)
            identifier = getattr(message, "id", -1)
            if not isinstance(message, Join):
                self._refuse(Error(id=identifier, code="join_first", message="The first message must be a join."))
                return
            token = message.token or self._token
            self.session = self._sessions.join(self._socket, self._dialect, message, token, self._accepted)
        except UnreadableMessage as error:
            self._context.counters.invalid += 1
            self._refuse(_error(error.request, error))
        except RemoteError as error:
            self._context.counters.refused += 1
            logger.info("join refused", extra={"code": error.code})
            self._refuse(_error(identifier, error))
        except Exception:
            logger.exception("join failed")
            self._refuse(Error(id=identifier, code="internal", message=INTERNAL_ERROR))

    def _refuse(self, error: Error) -> None:
        self._socket.write(self._dialect.frame([self._dialect.encode(error)]))
        self._socket.close(CLOSE_REFUSED)

    def _execute(self, session: Session, message: ClientMessage, identifier: int) -> None:
        room, participant = session.room, session.participant
        try:
            if room is None or participant is None:
                self._execute_in_lobby(session, message, identifier)
                return
            check_home = self._context.access.check_home
            if check_home is not None and needs_home(participant, message):
                check_home(room.name)
            reply = HANDLERS[type(message)](session, room, participant, message)
        except RemoteError as error:
            session.refuse(identifier, error)
        except Exception:
            # A bug in one request must not end the session.
            logger.exception(
                "request failed", extra={"session": session.id, "request": type(message).__struct_config__.tag}
            )
            session.send(Error(id=identifier, code="internal", message=INTERNAL_ERROR))
        else:
            if reply is not None:
                session.send(reply)
            elif not isinstance(message, UNANSWERED):
                session.send(Ok(id=identifier))

    def _execute_in_lobby(self, session: Session, message: ClientMessage, identifier: int) -> None:
        if isinstance(message, messages.ClientLeave):
            session.leave("left")
        elif not isinstance(message, UNANSWERED):
            session.send(Error(id=identifier, code="conflict", message="You are still waiting to be let in."))


def _error(request: int, error: RemoteError) -> Error:
    return Error(id=request, code=error.code, message=error.message)
