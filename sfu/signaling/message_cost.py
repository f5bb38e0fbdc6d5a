"""Cost of client messages in the rate limit of a session."""

from sfu.signaling.messages import Candidate, ClientMessage, Publish

MESSAGE_UNIT = 2048
"""Characters of a message that count as one additional message in the rate limit."""
OFFER_UNIT = 16_384
"""The same for an offer. 16 cameras with simulcast count as five messages and take about 2 ms of loop time."""
CANDIDATE_COST = 0.2
"""A trickled candidate as a fraction of a message. A client with many networks sends 140 at once; they have no effect."""


def message_cost(message: ClientMessage | None, size: int) -> float:
    """Cost of a message of `size` characters in the rate limit. None: it did not decode."""
    if isinstance(message, Candidate):
        return CANDIDATE_COST + size / MESSAGE_UNIT
    return 1 + size / (OFFER_UNIT if isinstance(message, Publish) else MESSAGE_UNIT)
