"""Event-loop time that one source of input may use: a token bucket of seconds.

Limits on sizes and counts bound each input; this bounds their sum, whatever the inputs are. The driver measures the work
that a datagram or a message causes, charges it here, and asks `admits` before it takes the next one. A source without
credit is throttled: datagrams are dropped, a WebSocket is not read. `exceeded` says when throttling has lasted so long
that the source has to be disconnected. Forwarding is not charged to a publisher: subscribers cause it. Neither is the
usual cost of an RTP packet: `rtc.publish_packets_per_second` bounds it. Pure: `now` is monotonic seconds.
"""

from typing import Final

MEDIA_SHARE: Final = 0.055
"""Fraction of the loop's time for the datagrams of one participant, both connections together: feedback for 25 lossy streams
takes up to 5 %. With `SIGNALING_SHARE` and `ACKNOWLEDGEMENTS_SHARE` it makes the 10 % that one participant may take."""
MEDIA_BURST: Final = 0.03
"""Seconds at once: two DTLS handshakes cost 6 ms."""
SIGNALING_SHARE: Final = 0.025
SIGNALING_BURST: Final = 0.1
"""Seconds at once: a renegotiation in a room of 90 tracks costs about 10 ms, and several come together when many join."""
ACKNOWLEDGEMENTS_SHARE: Final = 0.02
"""Fraction for SCTP packets that acknowledge messages of others. Those who send the messages cause them, so nobody is
disconnected for them. It carries some 6 Mbit/s of messages to one participant."""
ACKNOWLEDGEMENTS_BURST: Final = 0.03
RELAY_SHARE: Final = 0.25
"""Fraction for the copies of one participant's data messages: 60 small messages a second to 50 others take 18 %."""
RELAY_BURST: Final = 0.25
RELAY_COST: Final = 0.00006
"""Seconds that one SCTP packet of a copy takes, measured."""
UNAUTHENTICATED_SHARE: Final = 0.35
"""Fraction of the loop's time for all that comes without credentials: datagrams, requests, sockets before their join."""
UNAUTHENTICATED_BURST: Final = 0.5
"""Seconds at once: some fifty people open the page together."""
USUAL_PACKET: Final = 10e-6
"""Seconds of an RTP packet that are not charged; the packet path in Python takes 8 to 10 µs for one, that in C 1 µs. A
publisher of many cameras would have no credit left on a slow machine."""
EVENT_LIMIT: Final = 0.002
"""Seconds charged at most for one input that is measured by the wall clock: a longer one was preempted by the kernel."""
CALM: Final = 2.0
"""Seconds without throttling that end an episode."""
PATIENCE: Final = 5.0
"""Seconds of continuous throttling before the source is disconnected,"""
REFUSED: Final = 0.5
"""if at least this fraction of its inputs was refused in the meantime: it asks for twice its share or more. A source that
asks for less loses the surplus and stays: on a slow machine an honest one may."""
DEBT_LIMIT: Final = 1.0


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
        """`share`: seconds per second in the long run; `burst`: seconds at once."""
        self._share, self._burst = share, burst
        self._credit, self._at = burst, now
        self._since = self._throttled_at = float("-inf")
        self.used = 0.0
        "Seconds charged since the start."
        self.throttled = 0
        "Inputs refused since the start."
        self._inputs = self._throttled_before = 0
        """All inputs of the episode; `throttled` at its beginning."""

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
        """Charges time by the wall clock, which costs a tenth of a look at the CPU time: `EVENT_LIMIT` at most."""
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
        """Whether the source has been throttled for `PATIENCE`, still is, and asks for far more than its share."""
        lasting = now - self._throttled_at <= CALM and self._throttled_at - self._since >= PATIENCE
        return lasting and self.throttled - self._throttled_before >= REFUSED * self._inputs


def media_budget() -> LoopBudget:
    """For the datagrams of one participant."""
    return LoopBudget(MEDIA_SHARE, MEDIA_BURST)


def make_unauthenticated_budget() -> LoopBudget:
    """For all that comes without credentials."""
    return LoopBudget(UNAUTHENTICATED_SHARE, UNAUTHENTICATED_BURST)


def signaling_budget() -> LoopBudget:
    """For the messages of one participant."""
    return LoopBudget(SIGNALING_SHARE, SIGNALING_BURST)
