"""Limits keyframe requests to a publisher (PLI, RFC 4585 6.3.1).

In libwebrtc one request makes a keyframe on every simulcast layer, so that a track has one throttle for all layers. At most
two requests per second go to the publisher, from any number of subscribers. A request within the interval is sent at its
end, unless a keyframe comes in the meantime.
"""

from typing import Final

INTERVAL: Final = 0.5
"""Seconds between two requests."""


class KeyframeThrottle:
    """Merges the requests of all subscribers of one track. `now` is monotonic seconds."""

    __slots__ = ("last", "merged", "pending", "sent")

    def __init__(self) -> None:
        self.last = float("-inf")
        self.pending = False
        self.sent = 0
        self.merged = 0

    def request(self, now: float) -> bool:
        """Whether to send a request now."""
        if now - self.last < INTERVAL:
            self.pending = True
            self.merged += 1
            return False
        return self._send(now)

    def due(self, now: float) -> bool:
        """Whether to send a delayed request now."""
        if self.pending and now - self.last >= INTERVAL:
            return self._send(now)
        return False

    def satisfied(self) -> None:
        """A keyframe came: drops the delayed request."""
        self.pending = False

    def _send(self, now: float) -> bool:
        self.last = now
        self.pending = False
        self.sent += 1
        return True
