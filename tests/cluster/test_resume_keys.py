"""Resume keys that any node opens."""

from sfu.auth.grants import VideoGrants
from sfu.auth.tokens import Claims
from sfu.cluster.resume_keys import LIFETIME, TicketKeys
from sfu.cluster.tickets import Ticket, TicketSealer
from sfu.ids import ParticipantId

NOW = 1_700_000_000.0
SEALER = TicketSealer(["s" * 32])
CLAIMS = Claims(
    issuer="web",
    identity="alice@example.org",
    video=VideoGrants(room="standup", room_join=True, room_admin=True, can_publish_sources=("camera", "microphone")),
    issued_at=NOW - 100,
    expires_at=NOW + 50,
    token_id="0123456789abcdef0123456789abcdef",
)
PARTICIPANT = ParticipantId("PA_1")


def keys(now: float) -> TicketKeys:
    return TicketKeys(SEALER, lambda: now)


def test_the_claims_return_with_the_participant() -> None:
    key = keys(NOW).make(PARTICIPANT, CLAIMS)
    assert keys(NOW).open(key) == (PARTICIPANT, CLAIMS)
    assert len(key) <= 512


def test_a_key_outlives_its_token_but_not_a_day() -> None:
    key = keys(NOW).make(PARTICIPANT, CLAIMS)
    assert keys(NOW + LIFETIME - 1).open(key) is not None
    assert keys(NOW + LIFETIME).open(key) is None


def test_other_keys_are_refused() -> None:
    ticket = Ticket(
        room="standup", participant="PA_1", identity="a", issuer="web", token_id="t", issued_at=NOW,
        token_expires_at=NOW + 9, expires_at=NOW + 9, grants={"room_join": "maybe"},
    )  # fmt: skip
    for key in ("", "random-key-of-one-process", SEALER.seal(ticket)):
        assert keys(NOW).open(key) is None
