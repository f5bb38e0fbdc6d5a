"""Rate from receiver reports, for clients without transport-wide feedback. draft-ietf-rmcat-gcc-02 6.

Rates in bits per second, `now` in monotonic seconds.
"""

from typing import Final

MIN_REPORT_INTERVAL: Final = 0.2
HIGH_LOSS: Final = 0.1
"""Loss from which the rate shrinks, by half of the loss."""
LOW_LOSS: Final = 0.02
"""Loss below which the rate grows, and below which a report shows no congestion."""
GROWTH: Final = 1.08
"""Growth per second."""
REMB_RATIO: Final = 1.2
"""The rate stays below this multiple of the REMB."""
MIN_RTT_DRIFT: Final = 1.01
"""Growth of the minimum round-trip time per report, so that a permanently longer path does not count as congested."""
UNCONGESTED_RTT_RATIO: Final = 1.2
UNCONGESTED_RTT_RISE: Final = 0.06
"""A report with a round-trip time within this factor and this offset (seconds) of the minimum shows no congestion."""


class ReportRate:
    """Call `observe_rtt` and `update` per report; `rate` is between `least` and `most`."""

    __slots__ = ("_least", "_least_rtt", "_loss", "_most", "_rtt", "_updated_at", "rate")

    def __init__(self, start: float, least: float, most: float) -> None:
        self.rate = start
        self._least, self._most = least, most
        self._loss = 0.0
        self._rtt = self._least_rtt = float("inf")
        """Newest and minimum round-trip time."""
        self._updated_at = float("-inf")

    @property
    def uncongested(self) -> bool:
        """Whether the newest report shows no congestion. Without a round-trip time there is no sign of congestion."""
        return self._loss < LOW_LOSS and self._rtt <= UNCONGESTED_RTT_RATIO * self._least_rtt + UNCONGESTED_RTT_RISE

    def observe_rtt(self, rtt: float) -> None:
        self._rtt = rtt
        self._least_rtt = min(self._least_rtt * MIN_RTT_DRIFT, rtt)

    def observe_loss(self, loss: float) -> None:
        self._loss = loss

    def update(self, remb: float, now: float) -> None:
        """Adapts the rate to the newest loss, at most every `MIN_REPORT_INTERVAL`. `remb`: its current limit."""
        if now - self._updated_at < MIN_REPORT_INTERVAL:
            return
        if self._updated_at > 0:
            passed = min(now - self._updated_at, 1.0)
            if self._loss > HIGH_LOSS:
                self.rate *= 1 - self._loss / 2
            elif self._loss < LOW_LOSS:
                self.rate *= GROWTH**passed
        self.rate = min(max(self.rate, self._least), self._most, REMB_RATIO * remb)
        self._updated_at = now
