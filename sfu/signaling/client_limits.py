"""Limits of one signalling client: rate of messages, and share of the event loop."""

from sfu.forwarding.loop_budget import LoopBudget, media_budget, signaling_budget
from sfu.signaling.settings import Settings
from sfu.signaling.token_bucket import TokenBucket


class ClientLimits:
    """`now` is monotonic seconds. `cost` of a message: see `message_cost`."""

    __slots__ = ("_bucket", "_flood_limit", "_refused_in_a_row", "media", "signaling")

    def __init__(self, settings: Settings, now: float) -> None:
        self._bucket = TokenBucket(settings.message_rate, settings.message_burst, now)
        self._flood_limit = settings.flood_limit
        self._refused_in_a_row = 0
        self.media = media_budget()
        "Loop time of the client's datagrams."
        self.signaling = signaling_budget()
        "Loop time of its messages."

    def admits(self, cost: float, now: float) -> bool:
        """Whether the rate limit admits a message."""
        if self._bucket.take(cost, now):
            self._refused_in_a_row = 0
            return True
        self._refused_in_a_row += 1
        return False

    def retry_after(self, cost: float) -> float:
        """Seconds until the rate limit admits the message that was just refused."""
        return self._bucket.wait(cost)

    @property
    def flooding(self) -> bool:
        """Whether more than `signaling.flood_limit` messages in a row were refused."""
        return self._refused_in_a_row > self._flood_limit

    @property
    def budgets(self) -> dict[str, LoopBudget]:
        """Loop budgets by source of the work."""
        return {"media": self.media, "signaling": self.signaling}

    def exceeds_loop_budget(self, now: float) -> bool:
        """Whether the client takes more than its share of the event loop in spite of throttling."""
        return self.media.exceeded(now) or self.signaling.exceeded(now)
