"""Tickets: size, characters, rotation of secrets, and what is refused."""

import re

import pytest

from sfu.cluster.tickets import TICKET_LIMIT, InvalidTicket, Ticket, TicketSealer, is_ticket

OLD, NEW, FOREIGN = "o" * 32, "n" * 32, "f" * 32
NOW = 1_700_000_000.0
TICKET = Ticket(
    room="a-room-of-usual-length",
    participant="PA_0123456789abcdef",
    identity="alice@example.org",
    issuer="web",
    token_id="0123456789abcdef0123456789abcdef",
    issued_at=NOW - 100,
    token_expires_at=NOW + 50,
    expires_at=NOW + 100,
    grants={"room": "a-room-of-usual-length", "roomJoin": True, "canPublish": True, "canPublishSources": ["camera"]},
)


def test_round_trip() -> None:
    text = TicketSealer([NEW]).seal(TICKET)
    assert TicketSealer([NEW]).open(text, NOW) == TICKET
    assert is_ticket(text)
    assert len(text) <= 512
    assert re.fullmatch(r"[A-Za-z0-9._-]+", text)  # valid in a URL and in a WebSocket subprotocol
    assert TicketSealer([NEW]).seal(TICKET) != text
    assert "alice" not in text


def test_rotation() -> None:
    text = TicketSealer([OLD, NEW]).seal(TICKET)
    assert TicketSealer([NEW, OLD]).open(text, NOW) == TICKET
    with pytest.raises(InvalidTicket):
        TicketSealer([NEW]).open(text, NOW)


def test_invalid_tickets() -> None:
    sealer = TicketSealer([NEW])
    text = sealer.seal(TICKET)
    altered = [text[:i] + ("A" if text[i] != "A" else "B") + text[i + 1 :] for i in range(len(text))]
    for wrong in [
        *altered, "", "t1.", "t1.AAAA", "t1.\u00fc", "t1." + "A" * TICKET_LIMIT, text + "=", text + "A", text + "!",
        text.replace("t1.", "t2."), text[:-1], TicketSealer([FOREIGN]).seal(TICKET), "0123456789abcdef",
    ]:  # fmt: skip
        with pytest.raises(InvalidTicket):
            sealer.open(wrong, NOW)
    with pytest.raises(InvalidTicket, match="expired"):
        sealer.open(text, TICKET.expires_at)


def test_a_ticket_has_a_size_limit() -> None:
    ticket = Ticket(
        **{name: getattr(TICKET, name) for name in TICKET.__struct_fields__} | {"identity": "a" * TICKET_LIMIT}
    )
    with pytest.raises(ValueError, match="exceeds"):
        TicketSealer([NEW]).seal(ticket)
