"""Which packets of an inbound stream are missing and when to ask for them again (RFC 4585 6.2.1).

Starting values as the field has them: at most 5 requests per packet, spaced by the round-trip time times 1.25ⁿ within
20–400 ms (LiveKit pkg/sfu/buffer), so that a request is not repeated before its answer could have come.
"""

MAX_TRIES = 5
MIN_INTERVAL = 0.020
MAX_INTERVAL = 0.400
GROWTH = 1.25
MAX_GAP = 256
"""A larger jump is a restart or an attack, not loss: nothing is asked for (and a jump costs nothing)."""
MAX_MISSING = 512
PEER_MISSING = 1024
"""Packets that all streams of one sender may miss at a time: at 6,000 packets a second, a sixth of them for a second."""
PEER_RATE = 200.0
"""Packets a second that a sender may miss beside as many as it sends,"""
PEER_BURST = 512.0
"""and at once."""


class NackBudget:
    """Bounds what is missing of all streams of one sender: each missing packet costs time until it comes or is given up."""

    __slots__ = ("_at", "_credit", "_held", "_packets")

    def __init__(self) -> None:
        self._credit = PEER_BURST
        self._at = float("inf")
        """When credit was last given."""
        self._packets = 0
        self._held = 0

    def refill(self, packets: int, held: int, now: float) -> None:
        """Call it in each tick. `packets`: all that the sender has sent; `held`: what its streams miss."""
        earned = packets - self._packets + max(0.0, now - self._at) * PEER_RATE
        self._credit = min(PEER_BURST, self._credit + max(0.0, earned))
        self._packets, self._held, self._at = packets, held, now

    def admit(self, count: int) -> bool:
        """Whether so many more packets may be missed."""
        if count > self._credit or self._held + count > PEER_MISSING:
            return False
        self._credit -= count
        self._held += count
        return True


class NackGenerator:
    """Holds the missing sequence numbers of one stream. `now` is monotonic seconds.

    `budget`: shared by all streams of the sender; None where the sender is trusted.
    """

    __slots__ = ("_budget", "missing", "requested")

    def __init__(self, budget: NackBudget | None = None) -> None:
        self._budget = budget
        self.missing: dict[int, tuple[int, float]] = {}
        """Sequence number → (times asked, when to ask next)."""
        self.requested = 0

    def gap(self, last: int, sequence: int, now: float) -> None:
        """The stream went from `last` to `sequence` (both 16 bit), skipping what lies between."""
        skipped = ((sequence - last) & 0xFFFF) - 1
        if skipped > MAX_GAP:
            self.missing.clear()
            return
        if self._budget is not None and not self._budget.admit(skipped):
            return
        for step in range(1, skipped + 1):
            self.missing[(last + step) & 0xFFFF] = (0, now)
        while len(self.missing) > MAX_MISSING:
            del self.missing[next(iter(self.missing))]

    def arrived(self, sequence: int) -> bool:
        """True when this packet was missing."""
        return self.missing.pop(sequence, None) is not None

    def due(self, now: float, rtt: float, limit: int = MAX_MISSING) -> list[int]:
        """At most `limit` sequence numbers to ask for now, oldest first; forgets those asked for often enough."""
        wanted: list[int] = []
        for sequence, (tries, when) in list(self.missing.items()):
            if when > now:
                continue
            if len(wanted) >= limit:
                break
            if tries >= MAX_TRIES:
                del self.missing[sequence]
                continue
            wait = min(MAX_INTERVAL, max(MIN_INTERVAL, rtt * GROWTH**tries))
            self.missing[sequence] = (tries + 1, now + wait)
            wanted.append(sequence)
        self.requested += len(wanted)
        return wanted
