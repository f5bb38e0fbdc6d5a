"""The server's side of one socket: text frames in, a session found or made, requests carried out, errors as messages.

Knows no network: websocket.py feeds it, tests do as well.
"""

import logging
from contextlib import suppress

import msgspec

from sfu.errors import RateLimited, RemoteError
from sfu.signaling import messages
from sfu.signaling.context import Context
from sfu.signaling.join import join
from sfu.signaling.messages import ClientMessage, Error, Join, Ok, decode, encode
from sfu.signaling.outbox import Socket
from sfu.signaling.requests import HANDLERS, UNANSWERED
from sfu.signaling.session import CLOSE_REFUSED, Session, State, message_cost

logger = logging.getLogger(__name__)


class _Numbered(msgspec.Struct):
    """All that is read of a message which does not parse as its type."""

    id: int = -1


_decode_number = msgspec.json.Decoder(_Numbered).decode
_UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)


class Connection:
    __slots__ = ("_context", "_socket", "_token", "session")

    def __init__(self, context: Context, socket: Socket, token: str = "") -> None:
        """`token`: what came as a subprotocol, if anything."""
        self._context = context
        self._socket = socket
        self._token = token
        self.session: Session | None = None

    def receive(self, text: str) -> float:
        """Carries a message out and charges its loop time to the session. Returns the seconds for which the socket must
        not be read, because none is left."""
        self._context.counters.received += 1
        began = self._context.cpu()
        answers = self._receive(text)
        session, now = self.session, self._context.now()
        budget = session.signaling_budget if session is not None else self._context.unauthenticated_budget
        budget.charge(self._context.cpu() - began, now)
        if not answers:  # the server's own offers cause answers: they wait for credit, but do not lead to a disconnect
            budget.admits(now)
        return budget.delay(now)

    def _receive(self, text: str) -> bool:
        """Whether the message answers an open offer."""
        session, answers = self.session, False
        if session is None:
            self._receive_first(text)
            return False
        # A session that ended, or that another socket carries now, hears nothing more from this one.
        if session.outbox.socket is not self._socket or session.state is State.ENDED:
            return False
        session.last_received_at = self._context.now()
        try:
            message = decode(text)
        except _UNREADABLE as error:
            session.admit_message(message_cost(None, len(text)))
            self._context.counters.invalid += 1
            session.send(unreadable(text, error))
        else:
            # Of our own offer, and as long as that made it: it counts as any message.
            answers = isinstance(message, messages.Answer) and session.awaits_answer(message.id)
            cost = message_cost(message, 0 if answers else len(text))
            allowed = session.admit_message(cost)
            identifier = getattr(message, "id", -1)
            if allowed:
                self._carry_out(session, message, -1 if isinstance(message, messages.Answer) else identifier)
            else:
                wait = session.retry_after(cost)
                refusal = RateLimited("Too many messages; this one was not carried out.", retry_after=wait)
                session.refuse(identifier, refusal)
        if session.flooding:
            session.disconnect("protocol_error", "This connection sent too much.", CLOSE_REFUSED)
        return answers

    def closed(self) -> None:
        """The socket is gone."""
        if self.session is not None:
            self.session.socket_lost(self._socket)

    def _receive_first(self, text: str) -> None:
        identifier = -1
        try:
            message = decode(text)
            identifier = getattr(message, "id", -1)
            if not isinstance(message, Join):
                self._refuse(Error(id=identifier, code="join_first", message="The first message must be a join."))
                return
            self.session = join(self._context, self._socket, message, message.token or self._token)
        except _UNREADABLE as error:
            self._context.counters.invalid += 1
            self._refuse(unreadable(text, error))
        except RemoteError as error:
            self._context.counters.refused += 1
            logger.info("join refused", extra={"code": error.code})
            self._refuse(Error(id=identifier, code=error.code, message=error.message))
        except Exception:
            logger.exception("join failed")
            self._refuse(Error(id=identifier, code="internal", message="The server made a mistake; it is noted."))

    def _refuse(self, error: Error) -> None:
        self._socket.write(encode(error))
        self._socket.close(CLOSE_REFUSED)

    def _carry_out(self, session: Session, message: ClientMessage, identifier: int) -> None:
        participant = session.participant
        try:
            if participant is None:
                self._while_waiting(session, message, identifier)
                return
            reply = HANDLERS[type(message)](session, participant, message)
        except RemoteError as error:
            session.refuse(identifier, error)
        except Exception:
            # The last resort of this socket's task: one message's bug is not the session's end.
            logger.exception(
                "request failed", extra={"session": session.id, "request": type(message).__struct_config__.tag}
            )
            session.send(Error(id=identifier, code="internal", message="The server made a mistake; it is noted."))
        else:
            if reply is not None:
                session.send(reply)
            elif not isinstance(message, UNANSWERED):
                session.send(Ok(id=identifier))

    def _while_waiting(self, session: Session, message: ClientMessage, identifier: int) -> None:
        if isinstance(message, messages.ClientLeave):
            session.leave("left")
        elif not isinstance(message, UNANSWERED):
            session.send(Error(id=identifier, code="conflict", message="You are still waiting to be let in."))


def unreadable(text: str, error: Exception) -> Error:
    """What was wrong, by place and kind; never the content."""
    identifier = -1
    with suppress(*_UNREADABLE):
        identifier = _decode_number(text).id
    reason = str(error) if isinstance(error, msgspec.ValidationError) else "This is not a JSON object."
    return Error(id=identifier, code="bad_request", message=reason[:300])
