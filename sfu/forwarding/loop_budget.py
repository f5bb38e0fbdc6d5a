"""Limits the event loop time that one source of input may use: a token bucket of seconds.

Size and count limits bound each input; this bounds the sum of all inputs of a source. The driver measures the work that a
datagram or message causes, charges it here, and asks `admits` before it takes the next one. A source without credit is
throttled: its datagrams are dropped, its WebSocket is not read. `exceeded` is true when throttling has lasted so long that
the source has to be disconnected. Publishers are not charged for forwarding, which subscribers cause, nor for the usual
cost of an RTP packet, which `rtc.publish_packets_per_second` bounds. Pure: `now` is monotonic seconds.
"""

from typing import Final

MEDIA_SHARE: Final = 0.055
"""Fraction of the loop's time for the datagrams of one participant, both connections together: feedback for 25 lossy streams
takes up to 5 %. With `SIGNALING_SHARE` and `ACKNOWLEDGEMENTS_SHARE` it makes the 10 % that one participant may take."""
MEDIA_BURST: Final = 0.03
"""Burst in seconds: two DTLS handshakes cost 6 ms."""
SIGNALING_SHARE: Final = 0.025
SIGNALING_BURST: Final = 0.1
"""Burst in seconds: a renegotiation in a room of 90 tracks costs about 10 ms, and several coincide when many people join."""
ACKNOWLEDGEMENTS_SHARE: Final = 0.02
"""Fraction for SCTP packets that acknowledge messages of others. The senders of the messages cause them, so the receiver is
not disconnected for them. It is enough for about 6 Mbit/s of messages to one participant."""
ACKNOWLEDGEMENTS_BURST: Final = 0.03
RELAY_SHARE: Final = 0.25
"""Fraction for the copies of one participant's data messages: 60 small messages a second to 50 others take 18 %."""
RELAY_BURST: Final = 0.25
RELAY_COST: Final = 0.00006
"""Seconds that one SCTP packet of a copy takes, measured."""
UNAUTHENTICATED_SHARE: Final = 0.35
"""Fraction of the loop's time for all input without credentials: datagrams, requests, sockets before their join."""
UNAUTHENTICATED_BURST: Final = 0.5
"""Burst in seconds: about fifty people open the page at the same time."""
USUAL_PACKET: Final = 10e-6
"""Seconds of an RTP packet that are not charged. The packet path takes 8 to 10 µs in Python and 1 µs in C. Otherwise a
publisher of many cameras would run out of credit on a slow machine."""
EVENT_LIMIT: Final = 0.002
"""Seconds charged at most for one input measured by the wall clock: a longer one was preempted by the kernel."""
CALM: Final = 2.0
"""Seconds without throttling that end an episode."""
PATIENCE: Final = 5.0
"""Seconds of continuous throttling before the source is disconnected."""
REFUSED: Final = 0.5
"""Least fraction of refused inputs in an episode for that: the source requests twice its share or more. One that requests
less loses the surplus and stays, because an honest source may do so on a slow machine."""
DEBT_LIMIT: Final = 1.0
"""Seconds of debt at most."""


class LoopBudget:
    """A token bucket of loop time with the history of its throttling."""

    __slots__ = (
        "_at",
        "_burst",
        "_credit",
        "_inputs",
        "_share",
        "_since",
        "_throttled_at",
        "_throttled_before",
        "throttled",
        "used",
    )

    def __init__(self, share: float, burst: float, now: float = 0.0) -> None:
        """`share`: seconds per second on average; `burst`: credit limit in seconds."""
        self._share, self._burst = share, burst
        self._credit, self._at = burst, now
        self._since = self._throttled_at = float("-inf")
        self.used = 0.0
        "Seconds charged since the start."
        self.throttled = 0
        "Inputs refused since the start."
        self._inputs = self._throttled_before = 0
        """Inputs in the current episode; value of `throttled` at its beginning."""

    def charge(self, seconds: float, now: float) -> None:
        """Charges measured CPU time."""
        self.used += seconds
        credit = self._credit + (now - self._at) * self._share
        if credit > self._burst:
            credit = self._burst
        credit -= seconds
        self._credit = credit if credit > -DEBT_LIMIT else -DEBT_LIMIT
        self._at = now

    def charge_elapsed(self, seconds: float, now: float) -> None:
        """Charges wall-clock time, at most `EVENT_LIMIT`. Reading it costs a tenth of reading the CPU time."""
        self.charge(seconds if seconds < EVENT_LIMIT else EVENT_LIMIT, now)

    def admits(self, now: float) -> bool:
        """Whether the source has credit for one more input; a refusal counts as throttling."""
        self._inputs += 1
        if self._credit > 0:
            return True
        self.charge(0.0, now)
        if self._credit > 0:
            return True
        if now - self._throttled_at > CALM:
            self._since = now
            self._inputs, self._throttled_before = 1, self.throttled
        self.throttled += 1
        self._throttled_at = now
        return False

    def delay(self, now: float) -> float:
        """Seconds until there is credit again; 0 if there is."""
        credit = self._credit + (now - self._at) * self._share
        return 0.0 if credit > 0 else -credit / self._share + 0.001

    def exceeded(self, now: float) -> bool:
        """Whether the source has been throttled for `PATIENCE`, still is, and requests far more than its share."""
        lasting = now - self._throttled_at <= CALM and self._throttled_at - self._since >= PATIENCE
        return lasting and self.throttled - self._throttled_before >= REFUSED * self._inputs


def media_budget() -> LoopBudget:
    """For the datagrams of one participant."""
    return LoopBudget(MEDIA_SHARE, MEDIA_BURST)


def node_budget() -> LoopBudget:
    """For another node of the cluster: its media are those of many participants, whose nodes have limited them."""
    return LoopBudget(1.0, 1.0)


def make_unauthenticated_budget() -> LoopBudget:
    """For all input without credentials."""
    return LoopBudget(UNAUTHENTICATED_SHARE, UNAUTHENTICATED_BURST)


def signaling_budget() -> LoopBudget:
    """For the messages of one participant."""
    return LoopBudget(SIGNALING_SHARE, SIGNALING_BURST)
