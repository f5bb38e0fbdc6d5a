"""Resume keys that are tickets: any node of the cluster recognizes the participant."""

from collections.abc import Callable
from dataclasses import asdict

import msgspec

from sfu.auth.grants import VideoGrants
from sfu.auth.tokens import Claims
from sfu.cluster.tickets import InvalidTicket, Ticket, TicketSealer
from sfu.ids import ParticipantId

LIFETIME = 86_400.0
"""Seconds after the join in which a ticket is valid, also after the end of the token. A ticket only opens the place of a
participant that is away."""

_DEFAULTS = asdict(VideoGrants())


class TicketKeys:
    """The ResumeKeys of signalling."""

    def __init__(self, sealer: TicketSealer, clock: Callable[[], float]) -> None:
        """`clock`: seconds since 1970."""
        self._sealer = sealer
        self._clock = clock

    def make(self, participant: ParticipantId, claims: Claims) -> str:
        grants = {name: value for name, value in asdict(claims.video).items() if value != _DEFAULTS[name]}
        return self._sealer.seal(
            Ticket(
                room=claims.video.room,
                participant=participant,
                identity=claims.identity,
                issuer=claims.issuer,
                token_id=claims.token_id,
                issued_at=claims.issued_at,
                token_expires_at=claims.expires_at,
                expires_at=max(claims.expires_at, self._clock() + LIFETIME),
                grants=grants,
            )
        )

    def open(self, key: str) -> tuple[ParticipantId, Claims] | None:
        try:
            ticket = self._sealer.open(key, self._clock())
            grants = msgspec.convert({**ticket.grants, "room": ticket.room}, VideoGrants)
        except (InvalidTicket, msgspec.ValidationError):
            return None
        claims = Claims(
            issuer=ticket.issuer,
            identity=ticket.identity,
            video=grants,
            issued_at=ticket.issued_at,
            expires_at=ticket.token_expires_at,
            token_id=ticket.token_id,
        )
        return ParticipantId(ticket.participant), claims
