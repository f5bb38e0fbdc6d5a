"""Decision log of one participant: layer changes, pauses, keyframes, loss and estimate changes, each with its cause.

The forwarding code appends to it; the statistics overlay (once a second) and the admin API read it. It keeps the last 64
entries and limits the rate per kind. Suppressed entries still count in the totals, which all logs of a server share. `now`
is monotonic seconds.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from sfu.bandwidth.policy import PolicyDecision
from sfu.forwarding.downlink import Downlink

KEPT: Final = 64
"""Entries kept per participant."""
ESTIMATE_DROP_RATIO: Final = 0.75
ESTIMATE_RISE_RATIO: Final = 1.5
"""An estimate is logged when it leaves this band around the last logged value."""
ESTIMATE_EVERY: Final = 5.0
"""Seconds between two estimate entries at least, unless the estimate halves."""
LOSS_CLEAR_RATIO: Final = 0.5
"""A loss episode ends when loss falls below this fraction of the threshold."""


class DecisionKind(Enum):
    """Kinds of entries, and the meaning of `before` and `after` in each."""

    LAYER_UP = "layer_up"
    "Lines of the picture."
    LAYER_DOWN = "layer_down"
    "Lines of the picture."
    PAUSED = "paused"
    "Lines of the picture; `after` is 0."
    RESUMED = "resumed"
    "Lines of the picture; `before` is 0."
    KEYFRAME = "keyframe"
    "A keyframe was requested. `before` and `after` are unused."
    LOSS = "loss"
    "Fraction of lost packets, 0–1. It begins if `after` is above `before`, else it ends."
    ESTIMATE = "estimate"
    "Estimated bits per second of the path."
    TIER = "tier"
    "Lines that the operator's rules allow for one picture."
    LIMITED = "limited"
    "The publisher's browser sends less than requested. `before` and `after` are unused."


class Cause(Enum):
    """Why it happened. For a step up, the cause that prevented it until now."""

    REQUESTED = "requested"
    "The subscriber's request: the tile size, or it pauses the track."
    BUDGET = "budget"
    "The path has no bandwidth for more."
    HOLD = "hold"
    "A better layer failed recently."
    TIER = "tier"
    "The operator's rules for paths of this kind."
    SETTLING = "settling"
    "A better layer has only just started."
    HIDDEN = "hidden"
    "The subscriber does not show the track."
    LAST_N = "last_n"
    "The room sends only the video of the last N speakers."
    SILENT = "silent"
    "The publisher sends nothing."
    PUBLISHER = "publisher"
    "The publisher sends other sizes than before."
    MUTED = "muted"
    CODEC = "codec"
    "The subscriber's browser does not support the codec."
    VIEWER = "viewer"
    "A subscriber's browser requested it."
    SWITCH = "switch"
    "The server requested it to switch a subscriber's layer."
    RETRY = "retry"
    "The server repeated a request without response."
    RECEIVING = "receiving"
    "Between the server and the participant, downstream."
    SENDING = "sending"
    "Between the participant and the server, upstream."
    ESTIMATE = "estimate"
    "The estimate of the path."
    DELAY = "delay"
    "The round trip grew."
    LOSS = "loss"
    "Packets are lost."
    CPU = "cpu"
    "The publisher's CPU is overloaded."
    UPLINK = "uplink"
    "The publisher's uplink has no bandwidth for more."
    NONE = "none"
    "The limitation ended."


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
"""Rate limit by kind: (entries per second, burst). A subscriber may lose two dozen pictures at once."""


@dataclass(frozen=True, slots=True)
class DecisionEntry:
    number: int
    "Counts the entries of a log from 1."
    at: float
    kind: DecisionKind
    cause: Cause
    track: str
    "The track's name for its subscribers; empty if the entry concerns the whole path."
    before: float
    after: float
    rate: float
    "Estimated bits per second of the path; 0 if not known."


class DecisionLog:
    """One per participant, for both its connections. `totals` counts (kind, cause) over all logs that share it."""

    __slots__ = ("_credit", "_entries", "_totals", "_written", "revision")

    def __init__(self, totals: Counter[tuple[DecisionKind, Cause]] | None = None) -> None:
        self._totals = Counter() if totals is None else totals
        self._entries: deque[DecisionEntry] = deque(maxlen=KEPT)
        self._credit: dict[DecisionKind, tuple[float, float]] = {}
        """(entries that fit the burst, time of that value)."""
        self._written = 0
        self.revision = 0
        """Changes with every `write` and `touch`: readers look for news only then."""

    def __iter__(self) -> Iterator[DecisionEntry]:
        """Oldest first."""
        return iter(self._entries)

    def touch(self) -> None:
        """Notifies readers of a change that has no entry."""
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
        """`counted` False: another participant's log has the same entry, and counts it."""
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
        """Number of the last entry; 0 if there is none."""
        return self._written

    def since(self, number: int) -> list[DecisionEntry]:
        """The kept entries after entry `number`."""
        if number >= self._written:
            return []
        return [entry for entry in self._entries if entry.number > number]


class LossLogger:
    """Logs the begin and the end of loss episodes."""

    __slots__ = ("_cause", "_seen", "_threshold")

    def __init__(self, threshold: float, cause: Cause) -> None:
        self._threshold = threshold
        self._cause = cause
        self._seen = 0.0
        """Loss at the begin of the episode; 0 outside of one."""

    def update(self, decision_log: DecisionLog, loss: float, now: float, rate: float = 0.0) -> None:
        """`loss`: fraction over about the last second, 0–1."""
        if not self._seen and loss > self._threshold:
            decision_log.write(now, DecisionKind.LOSS, self._cause, after=loss, rate=rate)
            self._seen = loss
        elif self._seen and loss < LOSS_CLEAR_RATIO * self._threshold:
            decision_log.write(now, DecisionKind.LOSS, self._cause, before=self._seen, after=loss, rate=rate)
            self._seen = 0.0


class DownlinkLogger:
    """Logs significant downlink changes: loss, the estimate, and the operator's tier."""

    __slots__ = ("_estimate", "_estimated_at", "_loss", "_policy_decision")

    def __init__(self, threshold: float) -> None:
        """`threshold`: fraction of lost packets that is logged."""
        self._loss = LossLogger(threshold, Cause.RECEIVING)
        self._estimate = 0.0
        self._estimated_at = float("-inf")
        self._policy_decision: PolicyDecision | None = None

    def update(self, decision_log: DecisionLog, downlink: Downlink, now: float) -> None:
        """Call it after each `handle_timer` of the downlink."""
        estimate = downlink.estimator.target
        self._loss.update(decision_log, downlink.estimator.loss, now, estimate)
        self._log_estimate(decision_log, estimate, now)
        policy_decision = downlink.policy_decision
        if policy_decision is not None:
            self._log_tier(decision_log, policy_decision, estimate, now)

    def _log_estimate(self, decision_log: DecisionLog, estimate: float, now: float) -> None:
        known = self._estimate
        if not known:
            self._estimate, self._estimated_at = estimate, now  # the initial value is not a change
            return
        if ESTIMATE_DROP_RATIO * known <= estimate <= ESTIMATE_RISE_RATIO * known:
            return
        if now - self._estimated_at < ESTIMATE_EVERY and estimate > known / 2:
            return
        decision_log.write(now, DecisionKind.ESTIMATE, Cause.ESTIMATE, before=known, after=estimate, rate=estimate)
        self._estimate, self._estimated_at = estimate, now

    def _log_tier(
        self, decision_log: DecisionLog, policy_decision: PolicyDecision, estimate: float, now: float
    ) -> None:
        known = self._policy_decision
        if known is None:
            self._policy_decision = policy_decision
        elif known.height != policy_decision.height:
            cause = Cause(policy_decision.reason.value)
            decision_log.write(
                now, DecisionKind.TIER, cause, before=known.height, after=policy_decision.height, rate=estimate
            )
            self._policy_decision = policy_decision
        elif known.reason is not policy_decision.reason:
            decision_log.touch()
            self._policy_decision = policy_decision
