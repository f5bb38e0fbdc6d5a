"""Tickets: resume keys that any node of the cluster can open without a directory.

A ticket is encrypted, authenticated and opaque to clients. It is URL-safe and consists of characters of an HTTP token, so
that it is valid as part of a WebSocket subprotocol (RFC 6455 4.1, RFC 9110 5.6.2).
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from typing import Any

import msgspec

from sfu.cluster.sealing import Forged, Sealer

PREFIX = "t1."
"""Version of the format."""
TICKET_LIMIT = 4_096
"""Longest accepted ticket, in characters. A usual one has less than 512."""


class InvalidTicket(ValueError):
    """Text that is not a ticket of this cluster, or an expired ticket."""


class Ticket(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The stay of a participant in a room. New fields are appended with a default."""

    room: str
    participant: str
    "Id of the participant (`PA_…`). It names one stay, so a ticket of an older stay cannot end a newer one."
    identity: str
    issuer: str
    token_id: str
    "The `jti` of the token with which the participant joined."
    issued_at: float
    "Unix time. Compared with revocations like the `iat` of a token."
    token_expires_at: float
    expires_at: float
    grants: dict[str, Any] = {}  # msgspec copies an empty default
    "Grants of the token, as in its claims."


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Ticket)


class TicketSealer:
    """Seals and opens tickets with the secrets of the cluster."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._sealer = Sealer(secrets, "tickets")

    def seal(self, ticket: Ticket) -> str:
        """Raises ValueError when the ticket is longer than `TICKET_LIMIT`."""
        sealed = self._sealer.seal(_encoder.encode(ticket), PREFIX.encode())
        text = PREFIX + urlsafe_b64encode(sealed).rstrip(b"=").decode()
        if len(text) > TICKET_LIMIT:
            raise ValueError(f"a ticket of {len(text)} characters exceeds {TICKET_LIMIT}")
        return text

    def open(self, text: str, now: float) -> Ticket:
        """`now`: Unix time. Raises InvalidTicket."""
        if not is_ticket(text) or len(text) > TICKET_LIMIT or not text.isascii():
            raise InvalidTicket("the resume key is not a ticket")
        encoded = text.removeprefix(PREFIX).encode()
        try:
            sealed = urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))
            if urlsafe_b64encode(sealed).rstrip(b"=") != encoded:
                raise InvalidTicket("the ticket is not canonical base64url")
            ticket = _decoder.decode(self._sealer.open(sealed, PREFIX.encode()))
        except (Forged, Base64Error, msgspec.DecodeError):
            raise InvalidTicket("the ticket was not sealed by this cluster") from None
        if ticket.expires_at <= now:
            raise InvalidTicket("the ticket has expired")
        return ticket


def is_ticket(text: str) -> bool:
    """Whether a resume key has the form of a ticket. Other resume keys are random and known to one process only."""
    return text.startswith(PREFIX)
