"""Tracks missing packets of inbound streams and schedules NACKs (RFC 4585 6.2.1).

Each packet is requested at most 5 times, at intervals of the round-trip time × 1.25ⁿ within 20–400 ms (values of
LiveKit pkg/sfu/buffer), so that a request is not repeated before its retransmission can arrive.
"""

MAX_TRIES = 5
MIN_INTERVAL = 0.020
MAX_INTERVAL = 0.400
GROWTH = 1.25
MAX_GAP = 256
"""A larger gap is a restart or an attack, not loss: nothing is requested."""
MAX_MISSING = 512
PEER_MISSING = 1024
"""Limit of missing packets over all streams of one sender: one second of 17 % loss at 6,000 packets a second."""
PEER_RATE = 200.0
"""Missing packets per second that a sender may have in addition to the number of packets it sends."""
PEER_BURST = 512.0
"""Maximum credit of missing packets."""


class NackBudget:
    """Limits the missing packets over all streams of one sender, because each one costs CPU until it arrives or expires."""

    __slots__ = ("_at", "_credit", "_held", "_packets")

    def __init__(self) -> None:
        self._credit = PEER_BURST
        self._at = float("inf")
        """Time of the last refill."""
        self._packets = 0
        self._held = 0

    def refill(self, packets: int, held: int, now: float) -> None:
        """Call once per tick. `packets`: total packets sent by the sender; `held`: packets currently missing in its streams."""
        earned = packets - self._packets + max(0.0, now - self._at) * PEER_RATE
        self._credit = min(PEER_BURST, self._credit + max(0.0, earned))
        self._packets, self._held, self._at = packets, held, now

    def admit(self, count: int) -> bool:
        """Returns whether `count` more missing packets fit the budget, and reserves them."""
        if count > self._credit or self._held + count > PEER_MISSING:
            return False
        self._credit -= count
        self._held += count
        return True


class NackGenerator:
    """Tracks the missing sequence numbers of one stream. `now` is monotonic seconds.

    `budget` is shared by all streams of the sender; None: a trusted sender without limit.
    """

    __slots__ = ("_budget", "missing", "requested")

    def __init__(self, budget: NackBudget | None = None) -> None:
        self._budget = budget
        self.missing: dict[int, tuple[int, float]] = {}
        """Sequence number → (number of requests, time of the next request)."""
        self.requested = 0

    def gap(self, last: int, sequence: int, now: float) -> None:
        """Marks the packets between `last` and `sequence` (both 16 bit, exclusive) as missing."""
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
        """Returns whether this packet was missing."""
        return self.missing.pop(sequence, None) is not None

    def due(self, now: float, rtt: float, limit: int = MAX_MISSING) -> list[int]:
        """Returns at most `limit` sequence numbers to request now, oldest first. Drops numbers that reached `MAX_TRIES`."""
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
