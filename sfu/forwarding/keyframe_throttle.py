"""When a publisher may be asked for a keyframe (PLI, RFC 4585 6.3.1).

One request makes a keyframe on every simulcast layer in libwebrtc, so the throttle belongs to the track and not to the
layer. However many subscribers ask, at most two requests a second go upstream; a request within the pause is not
forgotten but sent at its end, unless a keyframe came meanwhile.
"""

INTERVAL = 0.5


class KeyframeThrottle:
    """Merges requests. `now` is monotonic seconds."""

    __slots__ = ("last", "merged", "pending", "sent")

    def __init__(self) -> None:
        self.last = float("-inf")
        self.pending = False
        self.sent = 0
        self.merged = 0

    def request(self, now: float) -> bool:
        """True: send a request now."""
        if now - self.last < INTERVAL:
            self.pending = True
            self.merged += 1
            return False
        return self._send(now)

    def due(self, now: float) -> bool:
        """True: a request that had to wait is to be sent now."""
        if self.pending and now - self.last >= INTERVAL:
            return self._send(now)
        return False

    def satisfied(self) -> None:
        """A keyframe came: what waited is answered."""
        self.pending = False

    def _send(self, now: float) -> bool:
        self.last = now
        self.pending = False
        self.sent += 1
        return True
