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


class NackGenerator:
    """Holds the missing sequence numbers of one stream. `now` is monotonic seconds."""

    __slots__ = ("missing", "requested")

    def __init__(self) -> None:
        self.missing: dict[int, tuple[int, float]] = {}
        """Sequence number → (times asked, when to ask next)."""
        self.requested = 0

    def gap(self, last: int, sequence: int, now: float) -> None:
        """The stream went from `last` to `sequence` (both 16 bit), skipping what lies between."""
        skipped = ((sequence - last) & 0xFFFF) - 1
        if skipped > MAX_GAP:
            self.missing.clear()
            return
        for step in range(1, skipped + 1):
            self.missing[(last + step) & 0xFFFF] = (0, now)
        while len(self.missing) > MAX_MISSING:
            del self.missing[next(iter(self.missing))]

    def arrived(self, sequence: int) -> bool:
        """True when this packet was missing."""
        return self.missing.pop(sequence, None) is not None

    def due(self, now: float, rtt: float) -> list[int]:
        """Sequence numbers to ask for now, oldest first; forgets those asked for often enough."""
        wanted = []
        for sequence, (tries, when) in list(self.missing.items()):
            if when > now:
                continue
            if tries >= MAX_TRIES:
                del self.missing[sequence]
                continue
            wait = min(MAX_INTERVAL, max(MIN_INTERVAL, rtt * GROWTH**tries))
            self.missing[sequence] = (tries + 1, now + wait)
            wanted.append(sequence)
        self.requested += len(wanted)
        return wanted
