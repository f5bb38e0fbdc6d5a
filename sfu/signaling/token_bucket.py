"""A token bucket: limits the average rate and the burst."""


class TokenBucket:
    """`now` is monotonic seconds."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = now

    def take(self, cost: float, now: float) -> bool:
        """Returns False and takes nothing when too little is left. A cost above the burst empties a full bucket."""
        tokens = self._tokens + (now - self._at) * self._rate
        if tokens > self._burst:
            tokens = self._burst
        self._at = now
        if cost > self._burst:
            cost = self._burst
        if tokens < cost:
            self._tokens = tokens
            return False
        self._tokens = tokens - cost
        return True

    def wait(self, cost: float) -> float:
        """Seconds after the last `take` until `cost` can be taken."""
        return max(0.0, min(cost, self._burst) - self._tokens) / self._rate
