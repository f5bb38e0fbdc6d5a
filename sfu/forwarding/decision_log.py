"""Why somebody's media are as they are: a participant's newest decisions, each with its reason, for people to read.

Written where a decision is made, read once a second by whoever tells the person, and by operators when they ask. Bounded in
length and, per kind, in rate: what comes too thick is counted and not kept. Every decision counts, kept or not, in totals
that all diaries of a server share. `now` in monotonic seconds.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from sfu.bandwidth.policy import PolicyDecision
from sfu.forwarding.downlink import Downlink

KEPT: Final = 64
"""Entries of one participant."""
FELL: Final = 0.75
ROSE: Final = 1.5
"""An estimate that changes to less than the one or more than the other of what was written last is notable,"""
ESTIMATE_EVERY: Final = 5.0
"""but not sooner than this after that, in seconds, unless it fell to half."""
CALM: Final = 0.5
"""Loss that was seen is over below this share of what is called loss."""


class DecisionKind(Enum):
    """What happened. What `before` and `after` of an entry count depends on it."""

    LAYER_UP = "layer_up"
    "Lines of the picture."
    LAYER_DOWN = "layer_down"
    "The same."
    PAUSED = "paused"
    "The same; `after` is 0."
    RESUMED = "resumed"
    "The same; `before` is 0."
    KEYFRAME = "keyframe"
    "Somebody needed a whole picture: nothing is counted."
    LOSS = "loss"
    "Share of the packets that is lost, 0 to 1. `after` above `before`: it began; below: it is over."
    ESTIMATE = "estimate"
    "Bits per second that the path carries."
    TIER = "tier"
    "Lines that the operator's rules allow for one picture."
    LIMITED = "limited"
    "The publisher's own browser sends less than it was asked to: nothing is counted."


class Cause(Enum):
    """Why. Of a layer that rises or comes back, the cause is what held it down until then."""

    WISH = "wish"
    "The viewer's own: the size of its tile, or it does not want any."
    BUDGET = "budget"
    "The path does not carry more."
    HOLD = "hold"
    "It carried more once and failed: a while has to pass."
    TIER = "tier"
    "The operator's rules for such a path."
    SETTLING = "settling"
    "A better layer has only just begun."
    HIDDEN = "hidden"
    "Nobody looks at it."
    LAST_N = "last_n"
    "The room sends only the pictures of those who spoke last."
    SILENT = "silent"
    "The publisher sends nothing."
    PUBLISHER = "publisher"
    "The publisher sends other sizes than before."
    MUTED = "muted"
    CODEC = "codec"
    "The viewer's browser cannot show it."
    VIEWER = "viewer"
    "A viewer's browser asked."
    SWITCH = "switch"
    "The server asked, so that a viewer's layer can change."
    RETRY = "retry"
    "The server asked again: it did not come."
    RECEIVING = "receiving"
    "On the way from the server."
    SENDING = "sending"
    "On the way to the server."
    ESTIMATE = "estimate"
    "By what the path carries."
    DELAY = "delay"
    "The round trip grew."
    LOSS = "loss"
    CPU = "cpu"
    "The publisher's computer is busy."
    UPLINK = "uplink"
    "The publisher's way to the server carries no more."
    NONE = "none"
    "Nothing any more."


BOUNDS: Final = {
    DecisionKind.LAYER_UP: (1.0, 32.0),
    DecisionKind.LAYER_DOWN: (1.0, 32.0),
    DecisionKind.PAUSED: (1.0, 32.0),
    DecisionKind.RESUMED: (1.0, 32.0),
    DecisionKind.KEYFRAME: (0.1, 4.0),
    DecisionKind.LOSS: (0.1, 4.0),
    DecisionKind.ESTIMATE: (0.2, 4.0),
    DecisionKind.TIER: (0.2, 4.0),
    DecisionKind.LIMITED: (0.5, 8.0),
}
"""Entries per second and at once. A viewer of two dozen pictures may lose all of them in one moment."""


@dataclass(frozen=True, slots=True)
class DecisionEntry:
    number: int
    "Grows with every entry of a diary, from 1 on."
    at: float
    kind: DecisionKind
    cause: Cause
    track: str
    "As its viewers know it; empty: the whole path."
    before: float
    after: float
    rate: float
    "Bits per second that the path was thought to carry; 0: not known."


class DecisionLog:
    """One per participant, for both its connections. `totals` counts (kind, cause) of every diary that shares it."""

    __slots__ = ("_credit", "_entries", "_totals", "_written", "revision")

    def __init__(self, totals: Counter[tuple[DecisionKind, Cause]] | None = None) -> None:
        self._totals = Counter() if totals is None else totals
        self._entries: deque[DecisionEntry] = deque(maxlen=KEPT)
        self._credit: dict[DecisionKind, tuple[float, float]] = {}
        """(entries that may still come at once, when that was)."""
        self._written = 0
        self.revision = 0
        """Changes with everything that is written or touched: whoever tells of it looks only then."""

    def __iter__(self) -> Iterator[DecisionEntry]:
        """Oldest first."""
        return iter(self._entries)

    def touch(self) -> None:
        """Something that is told along with the entries changed."""
        self.revision += 1

    def write(
        self,
        now: float,
        kind: DecisionKind,
        cause: Cause,
        *,
        track: str = "",
        before: float = 0.0,
        after: float = 0.0,
        rate: float = 0.0,
        counted: bool = True,
    ) -> None:
        """`counted` False: it stands in somebody else's diary as well, where it counts."""
        self.revision += 1
        if counted:
            self._totals[kind, cause] += 1
        rise, most = BOUNDS[kind]
        credit, since = self._credit.get(kind, (most, now))
        credit = min(most, credit + (now - since) * rise)
        self._credit[kind] = (max(0.0, credit - 1.0) if credit >= 1.0 else credit, now)
        if credit >= 1.0:
            self._written += 1
            self._entries.append(DecisionEntry(self._written, now, kind, cause, track, before, after, rate))

    @property
    def newest(self) -> int:
        """Number of the last entry, 0: none."""
        return self._written

    def since(self, number: int) -> list[DecisionEntry]:
        """What was written after entry `number` and is still there."""
        if number >= self._written:
            return []
        return [entry for entry in self._entries if entry.number > number]


class LossLogger:
    """Whether loss crossed what is called so: once when it begins, once when it is over."""

    __slots__ = ("_cause", "_seen", "_threshold")

    def __init__(self, threshold: float, cause: Cause) -> None:
        self._threshold = threshold
        self._cause = cause
        self._seen = 0.0
        """The share with which it began; 0: none now."""

    def update(self, decision_log: DecisionLog, loss: float, now: float, rate: float = 0.0) -> None:
        """`loss` 0 to 1, over the last second or so."""
        if not self._seen and loss > self._threshold:
            decision_log.write(now, DecisionKind.LOSS, self._cause, after=loss, rate=rate)
            self._seen = loss
        elif self._seen and loss < CALM * self._threshold:
            decision_log.write(now, DecisionKind.LOSS, self._cause, before=self._seen, after=loss, rate=rate)
            self._seen = 0.0


class DownlinkLogger:
    """Of what a downlink measures and judges twenty times a second, writes what a person would call a change."""

    __slots__ = ("_estimate", "_estimated_at", "_loss", "_verdict")

    def __init__(self, threshold: float) -> None:
        """`threshold`: the share of lost packets that is worth a word."""
        self._loss = LossLogger(threshold, Cause.RECEIVING)
        self._estimate = 0.0
        self._estimated_at = float("-inf")
        self._verdict: PolicyDecision | None = None

    def update(self, decision_log: DecisionLog, downlink: Downlink, now: float) -> None:
        """After each `handle_timer` of the downlink."""
        estimate = downlink.estimator.target
        self._loss.update(decision_log, downlink.estimator.loss, now, estimate)
        self._look_at_estimate(decision_log, estimate, now)
        policy_decision = downlink.policy_decision
        if policy_decision is not None:
            self._look_at_verdict(decision_log, policy_decision, estimate, now)

    def _look_at_estimate(self, decision_log: DecisionLog, estimate: float, now: float) -> None:
        known = self._estimate
        if not known:
            self._estimate, self._estimated_at = estimate, now  # what it begins with is no news
            return
        if FELL * known <= estimate <= ROSE * known:
            return
        if now - self._estimated_at < ESTIMATE_EVERY and estimate > known / 2:
            return
        decision_log.write(now, DecisionKind.ESTIMATE, Cause.ESTIMATE, before=known, after=estimate, rate=estimate)
        self._estimate, self._estimated_at = estimate, now

    def _look_at_verdict(
        self, decision_log: DecisionLog, policy_decision: PolicyDecision, estimate: float, now: float
    ) -> None:
        known = self._verdict
        if known is None:
            self._verdict = policy_decision
        elif known.height != policy_decision.height:
            cause = Cause(policy_decision.reason.value)
            decision_log.write(
                now, DecisionKind.TIER, cause, before=known.height, after=policy_decision.height, rate=estimate
            )
            self._verdict = policy_decision
        elif known.reason is not policy_decision.reason:
            decision_log.touch()
            self._verdict = policy_decision
