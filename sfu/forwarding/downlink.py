"""Downlink of one subscriber: bandwidth estimation, the operator's policy, probes, and allocation of layers.

The engine reports the packets that it sends (`Estimator.on_sent`) and the subscriber's feedback. `handle_timer`, up to 20
times a second, returns the changed decisions; the driver applies them to down tracks. Sans-IO; `now` is monotonic seconds,
rates are bits per second.
"""

from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from sfu.bandwidth.estimator import Estimator
from sfu.bandwidth.policy import Policy, PolicyDecision, PolicyReason
from sfu.bandwidth.prober import rate_to_probe
from sfu.bandwidth.settings import Settings
from sfu.bandwidth.twcc import Feedback
from sfu.forwarding.allocator import Allocation, AllocationReason, Layer, LayerAllocation, LayerRequest, allocate

CHANGE: Final = 0.15
"""Relative change of the budget that causes a new allocation (Jitsi's allocator)."""
AGAIN: Final = 5.0
"""Seconds after which a new allocation is made in any case."""
AGAIN_UPWARDS: Final = 1.0
"""The same while a track waits for more bandwidth."""
BEGINNING: Final = 3.0
"""Seconds of initial exploration of the path: layers follow the estimate at once."""
REPAIRS: Final = 0.9
"""Least fraction of the budget for first transmissions. The rest is for retransmissions."""
FLOOD: Final = 1.3
"""A layer above this multiple of the budget fills any queue before a keyframe of a smaller one arrives."""
CEILING: Final = 1.1
"""Probes go up to this multiple of the bitrate of all best layers."""


@dataclass(frozen=True, slots=True)
class Change:
    """`decision` differs from the previous one in its layer or its reason."""

    key: Hashable
    decision: LayerAllocation
    switched: bool
    "Whether the layer differs."
    urgent: bool
    "The path is flooded: stop the old layer now, without waiting for the new one's keyframe."


LayerSource = Callable[[Hashable], tuple[Layer, ...]]
"""Returns the live layers of a track by its key, in rising order."""


class Downlink:
    """One per subscribing connection. The caller fills `requests` and calls `touch` after each change."""

    __slots__ = (
        "_allocated_at", "_begun", "_layers", "_touched", "allocation", "estimator", "policy", "policy_decision", "requests",
    )  # fmt: skip

    def __init__(self, settings: Settings, layers: LayerSource, now: float) -> None:
        self.estimator = Estimator(settings)
        self.policy = Policy(settings)
        self.requests: dict[Hashable, LayerRequest] = {}
        self.allocation: Allocation | None = None
        self.policy_decision: PolicyDecision | None = None
        self._layers = layers
        self._begun = now
        self._allocated_at = float("-inf")
        self._touched = True

    # -- input ------------------------------------------------------------------------------------------------------

    def touch(self) -> None:
        """Requests or encodings changed: the next `handle_timer` makes a new allocation."""
        self._touched = True

    def receive_feedback(self, feedback: Feedback, now: float) -> None:
        self.estimator.receive_feedback(feedback, now)

    def receive_remb(
        self, bitrate: float, now: float, ssrcs: Collection[int] = (), octets: Mapping[int, int] | None = None
    ) -> None:
        """A REMB for `ssrcs`. `octets`: bytes sent so far by SSRC."""
        self.estimator.receive_remb(bitrate, now, ssrcs, octets)

    def receive_report(self, loss: float, rtt: float | None, now: float) -> None:
        """The highest loss among a receiver report's blocks."""
        self.estimator.receive_report(loss, rtt, now)

    # -- time -------------------------------------------------------------------------------------------------------

    def handle_timer(self, now: float) -> list[Change]:
        """Call it up to 20 times a second, and soon after feedback that lowered the estimate."""
        estimator, before = self.estimator, self.allocation
        desired_rate, ceiling = self._desired_rate()
        estimator.handle_timer(now, desired_rate=desired_rate, ceiling=ceiling)
        policy_decision = self.policy_decision = self.policy.update(
            estimator.target, estimator.path_rtt, estimator.loss, now
        )
        budget = policy_decision.target * (1 - min(1 - REPAIRS, estimator.loss))
        if not self._due(before, budget, policy_decision, now):
            return []
        self._touched = False
        self._allocated_at = now
        requests = [replace(want, layers=self._layers(key)) for key, want in self.requests.items()]
        previous = before if now - self._begun > BEGINNING else None
        after = self.allocation = allocate(
            requests, budget, previous, now, picture=policy_decision.picture, height=policy_decision.height
        )
        changes = []
        for key, decision in after.tracks.items():
            old = before.tracks.get(key) if before is not None else None
            switched = old is None or _name(old.layer) != _name(decision.layer)
            if switched or old is None or old.reason is not decision.reason:
                flooded = old is not None and old.layer is not None and old.layer.bitrate > FLOOD * budget
                changes.append(Change(key, decision, switched, switched and flooded))
        return changes

    def padding(self, now: float, ahead: float) -> int:
        """Bytes of padding to send now. Call it again in `ahead` seconds while `probing`."""
        return self.estimator.padding(now, ahead)

    @property
    def is_satisfied(self) -> bool:
        """Whether all requests are fulfilled on a stable path, so that fewer updates are enough."""
        allocation, policy_decision = self.allocation, self.policy_decision
        return (
            allocation is not None
            and policy_decision is not None
            and not allocation.step
            and allocation.used < policy_decision.target * (1 - CHANGE)
            and self.estimator.is_stable
            and policy_decision.reason is PolicyReason.ESTIMATE
        )

    @property
    def probing(self) -> bool:
        return self.estimator.probe_cluster is not None

    def _due(self, before: Allocation | None, budget: float, policy_decision: PolicyDecision, now: float) -> bool:
        if before is None or self._touched or self._allocated_at + AGAIN <= now:
            return True
        if before.used > budget or abs(budget - before.budget) >= CHANGE * before.budget:
            return self._allocated_at + 0.1 <= now
        upwards = before.ceiling * 0.999 > before.used
        return upwards and self._allocated_at + AGAIN_UPWARDS <= now

    def _desired_rate(self) -> tuple[float, float]:
        """(rate that would allow a better layer, highest useful rate); 0 if no rate would."""
        allocation = self.allocation
        if allocation is None or not allocation.step:
            return 0.0, 0.0
        policy_decision = self.policy_decision
        if policy_decision is not None and policy_decision.reason is not PolicyReason.ESTIMATE:
            return 0.0, 0.0  # the operator's rules are the limit, not the path
        desired_rate = rate_to_probe(allocation.used, allocation.step)
        reasons = {decision.reason for decision in allocation.tracks.values()}
        if AllocationReason.TIER in reasons and AllocationReason.BUDGET not in reasons:
            desired_rate = max(desired_rate, self.policy.next_limit)
        return desired_rate, max(desired_rate, CEILING * allocation.ceiling)


def _name(layer: Layer | None) -> tuple[str, int, int] | None:
    return layer.key if layer is not None else None
