"""Cost of messages in the rate limit: by length, cheaper for offers and candidates."""

import pytest

from sfu.signaling.message_cost import CANDIDATE_COST, MESSAGE_UNIT, OFFER_UNIT, message_cost
from sfu.signaling.messages import Candidate, Chat, ClientMessage, Publish

OFFER = Publish(id=1, sdp="v=0", tracks=[])
CHAT = Chat(id=1, text="hi")
CANDIDATE = Candidate(connection="publish")


@pytest.mark.parametrize(
    ("message", "size", "cost"),
    [
        (CHAT, 0, 1.0),
        (CHAT, MESSAGE_UNIT, 2.0),
        (None, 4 * MESSAGE_UNIT, 5.0),
        (OFFER, MESSAGE_UNIT, 1 + MESSAGE_UNIT / OFFER_UNIT),
        (OFFER, 4 * OFFER_UNIT, 5.0),
        (CANDIDATE, 0, CANDIDATE_COST),
        (CANDIDATE, MESSAGE_UNIT, 1 + CANDIDATE_COST),
    ],
)
def test_long_messages_cost_more(message: ClientMessage | None, size: int, cost: float) -> None:
    assert message_cost(message, size) == pytest.approx(cost)
