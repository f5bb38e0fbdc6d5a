"""Send-side bandwidth estimation of one path (Google Congestion Control).

Delay (groups, trendline, overuse, AIMD) and loss each give a limit; the lower one applies. Probes raise the delay-based
limit, REMB can only lower the result. Without transport-wide feedback, the estimate comes from receiver reports and
REMB. draft-ietf-rmcat-gcc-02, draft-alvestrand-rmcat-remb-03. The feedback corresponds to RFC 8888 in the older format
that browsers use. Sans-IO: `now` in monotonic seconds, rates in bits per second. All work is done per feedback, none
per packet (tests/bench/estimator.py).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from sfu.bandwidth.acknowledged_bitrate import AcknowledgedBitrate
from sfu.bandwidth.aimd import Aimd
from sfu.bandwidth.bottleneck import EMPTY_QUEUE_DELAY, measure_bottleneck
from sfu.bandwidth.inter_arrival import InterArrival
from sfu.bandwidth.loss_based import LossLimit
from sfu.bandwidth.overuse import BandwidthUsage, OveruseDetector
from sfu.bandwidth.path_delay import PathDelay
from sfu.bandwidth.prober import SUCCESS_RATIO, ProbeCluster, Prober
from sfu.bandwidth.rate_recovery import RateRecovery
from sfu.bandwidth.remb import RembLimit
from sfu.bandwidth.report_rate import ReportRate
from sfu.bandwidth.send_time_history import LARGEST, SendTimeHistory
from sfu.bandwidth.settings import Settings
from sfu.bandwidth.trendline import Trendline
from sfu.bandwidth.twcc import TICKS_PER_SECOND, Feedback

WRAP_TICKS: Final = 0x1000000 * 256
"""The receiver's clock in feedback wraps after 12 days."""
FEEDBACK_TIMEOUT: Final = 1.0
"""Seconds without feedback on sent packets after which either direction of the path counts as congested."""
TIMEOUT_DECREASE: Final = 0.8
"""Factor by which the rate shrinks in each further second without feedback (libwebrtc's loss-report timeout)."""
DELAY_STATE_TIMEOUT: Final = 1.0
"""Seconds without feedback, while nothing is sent, after which the last delay state is outdated."""
OVERUSE_MEMORY: Final = 1.0
"""Seconds after overuse during which loss counts as a sign of the same congestion."""
CONGESTED_QUEUE_DELAY: Final = 0.05
"""Queue delay in seconds with which loss counts as congestion."""
LOSSY_LINK_RATIO: Final = 0.04
"""Loss ratio from which a link counts as lossy."""
EMPTY_QUEUE_TIME: Final = 0.5
"""A path looks free, so that a probe displaces no other traffic, when the queue delay stays below `EMPTY_QUEUE_DELAY` for
this time (seconds).
"""
DELIVERED_RATIO: Final = 0.95
DELIVERED_TIME: Final = 1.0
"""`DELIVERED_TIME` seconds of an acknowledged bitrate above the estimate, without queueing, prove a higher capacity and
raise the estimate to `DELIVERED_RATIO` of that bitrate.
"""
USED_RATIO: Final = 0.8
"""Fraction of the target from which it counts as used. The smoothed acknowledged bitrate is then the better measurement."""
OVERUSE_CONFIRMATIONS: Final = 3
"""Number of consecutive feedbacks with overuse before it counts."""
DRAINED_QUEUE_DELAY: Final = 0.02
"""A queue counts as drained below this delay in seconds and below half of the longest delay in the feedback."""
MAX_REPORTS_PER_PACKET: Final = 8
"""After a late packet, libwebrtc reports everything of the last 500 ms again, five times the usual amount."""
INITIAL_STATUSES: Final = 1024
DEFAULT_RTT: Final = 0.1


class Estimator:
    """Bandwidth estimator of one subscriber path. Feed it with `sent` and `receive_feedback`, then read `target`."""

    __slots__ = (
        "_acked", "_aimd", "_arrivals", "_bottleneck", "_delay", "_delivered_since", "_detector", "_feedback_at",
        "_history", "_loss", "_max_wait", "_over_at", "_queued_at", "_recovery", "_remb", "_reports", "_sent_since",
        "_statuses", "_ticks_offset", "_ticks_seen", "_timeout_at", "_trendline", "_unproven", "feedbacks", "prober",
        "sent_bytes", "settings",
    )  # fmt: skip

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._history = SendTimeHistory()
        self._arrivals = InterArrival()
        self._trendline = Trendline()
        self._detector = OveruseDetector()
        self._aimd = Aimd(settings.start, settings.least, settings.most)
        self._acked = AcknowledgedBitrate()
        self._loss = LossLimit()
        self.prober = Prober()
        self.sent_bytes = 0
        self._sent_since = 0
        """Bytes sent since the last feedback."""
        self._statuses = INITIAL_STATUSES
        """Number of packet statuses that feedback may still report."""
        self.feedbacks = 0
        self._feedback_at = self._timeout_at = float("-inf")
        self._over_at = self._queued_at = float("-inf")
        self._recovery = RateRecovery(settings.start)
        self._unproven = 0
        self._delivered_since = float("-inf")
        self._max_wait = 0.0
        """Longest queue delay of a packet in the last feedback, in seconds."""
        self._bottleneck = 0.0
        """Bottleneck rate in bits per second from the last feedback. 0: no queueing."""
        self._delay = PathDelay()
        self._ticks_offset = 0
        self._ticks_seen = -1
        self._remb = RembLimit()
        self._reports = ReportRate(settings.start, settings.least, settings.most)

    # -- state --------------------------------------------------------------------------------------------------------

    @property
    def target(self) -> float:
        rate = min(self._aimd.rate, self._loss.rate) if self.feedbacks else self._reports.rate
        return max(min(rate, self._remb.rate), self.settings.least)

    @property
    def rtt(self) -> float | None:
        """Smoothed round-trip time, including the receiver's feedback delay."""
        return self._delay.rtt

    @property
    def path_rtt(self) -> float | None:
        """Round-trip time of the path alone (`PathDelay.path_rtt`)."""
        return self._delay.path_rtt if self.feedbacks else self._delay.rtt

    @property
    def queue_delay(self) -> float:
        """Additional delay of the newest packet, relative to the fastest one, in seconds."""
        return self._delay.newest

    @property
    def acked(self) -> float | None:
        """Acknowledged bitrate in bits per second."""
        return self._acked.rate

    @property
    def loss(self) -> float:
        """Loss ratio of the last second."""
        return self._loss.share

    @property
    def is_lossy_link(self) -> bool:
        """Whether packets are lost without congestion. Sending a packet twice is then faster than a retransmission."""
        return (
            self._loss.share >= LOSSY_LINK_RATIO
            and self.queue_delay < CONGESTED_QUEUE_DELAY
            and self._detector.usage is not BandwidthUsage.OVER
        )

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do: no new packets since the last update and no probe."""
        return not self._history.has_pending and self.prober.probe_cluster is None

    @property
    def is_stable(self) -> bool:
        """Whether there is neither loss nor queueing."""
        return (
            self._detector.usage is not BandwidthUsage.OVER
            and self._delay.newest < CONGESTED_QUEUE_DELAY
            and not self._loss.share
        )

    @property
    def usage(self) -> BandwidthUsage:
        return self._detector.usage

    # -- inputs -------------------------------------------------------------------------------------------------------

    def sent(self, first: int, sizes: Sequence[int], now: float) -> None:
        """Records packets of these sizes, sent together with consecutive transport-wide numbers from `first`."""
        self._history.sent(first, sizes, now)

    @property
    def on_sent(self) -> Callable[[tuple[int, Sequence[int], float]], None]:
        """`sent` as a single cheap call for the packet path."""
        return self._history.on_sent

    def accepts_feedback(self, count: int, now: float) -> bool:
        """Whether feedback on `count` packets is plausible: each packet may be reported at most
        `MAX_REPORTS_PER_PACKET` times.
        """
        self._process_sent(now)
        if count > self._statuses:
            return False
        self._statuses -= count
        return True

    def receive_feedback(self, feedback: Feedback, now: float) -> None:
        """Processes transport-wide feedback. It may be of any age and may contain any claim."""
        history = self._history
        self._process_sent(now)
        first, times, sizes = history.find(feedback.base, feedback.count)
        ticks: Sequence[int | None] = feedback.ticks
        if not times:
            return
        if len(times) < len(ticks):
            ticks = ticks[: len(times)]
        ticks, last_tick = self._unwrapped(ticks)
        total = len(sizes) - sizes.count(0)
        if not total:
            return
        lost = 0
        acked_bytes = sum(sizes)
        if None in ticks:
            missing = [size for size, tick in zip(sizes, ticks, strict=True) if tick is None and size]
            lost = len(missing)
            acked_bytes -= sum(missing)
        history.acknowledge(first, ticks, all_of_them=not lost)
        self.feedbacks += 1
        self._feedback_at = self._timeout_at = now
        self._sent_since = 0
        if last_tick is None:
            self._limit_by_loss(lost, total, now)
            return
        self._update_trend(times, ticks)
        if self.prober.probe_cluster is not None:
            self.prober.probe_cluster.add(times, sizes, ticks)
        self._acked.update(acked_bytes, last_tick / TICKS_PER_SECOND)
        self._delay.update(times, ticks, now)
        if self._delay.newest > EMPTY_QUEUE_DELAY:
            self._queued_at = now
        queued = self._detector.usage is BandwidthUsage.OVER or self._delay.newest > EMPTY_QUEUE_DELAY
        self._bottleneck = 0.0
        if queued:
            self._bottleneck, self._max_wait = measure_bottleneck(times, sizes, ticks, self._delay.base)
        self._limit_by_delay(now)
        self._limit_by_loss(lost, total, now)

    def receive_remb(
        self, bitrate: float, now: float, ssrcs: Collection[int] = (), octets: Mapping[int, int] | None = None
    ) -> None:
        """Processes a REMB for `ssrcs`, which can only lower the target (draft-alvestrand-rmcat-remb-03 2.2).

        `octets`: bytes sent so far on each stream. None: unknown.
        """
        uncongested = not self.feedbacks and self._reports.uncongested
        self._remb.receive(bitrate, ssrcs, octets or {}, now, uncongested=uncongested)

    def receive_report(self, loss: float, rtt: float | None, now: float) -> None:
        """Processes a receiver report, the only input without transport-wide feedback (draft-ietf-rmcat-gcc-02 6)."""
        if self.feedbacks:
            return
        if rtt is not None:
            self._delay.rtt = rtt
            self._reports.observe_rtt(rtt)
        self._reports.observe_loss(loss)
        self._reports.update(self._remb.rate, now)

    def handle_timer(self, now: float, *, desired_rate: float = 0.0, ceiling: float = 0.0) -> None:
        """Call up to 20 times a second. `desired_rate`: rate to probe for (`rate_to_probe`). 0: no probe needed."""
        self._process_sent(now)
        self._remb.handle_timer(now)
        if self.feedbacks and self._sent_since and now - self._timeout_at > FEEDBACK_TIMEOUT:
            self._timeout_at = now
            self._aimd.lower_to(self._aimd.rate * TIMEOUT_DECREASE)
            self.prober.congested(now)
        prober = self.prober
        rtt = self.rtt or DEFAULT_RTT
        probe_cluster = prober.take_result(now, rtt)
        if probe_cluster is not None:
            self._apply_probe(probe_cluster, now)
        if self._recovery.active(now) and ceiling and now - self._queued_at > EMPTY_QUEUE_TIME:
            desired_rate = max(desired_rate, self._recovery.rate_to_probe(self.target, ceiling))
        uncongested = self._detector.usage is BandwidthUsage.NORMAL or now - self._feedback_at > DELAY_STATE_TIMEOUT
        if desired_rate and self.feedbacks and uncongested and not self._is_feedback_overdue(now):
            prober.handle_timer(
                now,
                target=self.target,
                desired_rate=desired_rate,
                ceiling=ceiling,
                sent=self.sent_bytes,
                start=self.settings.start,
            )

    def padding(self, now: float, ahead: float) -> int:
        """Bytes of padding that a probe needs now; ask again in `ahead` seconds."""
        probe_cluster = self.prober.probe_cluster
        if probe_cluster is None:
            return 0
        self._process_sent(now)
        return probe_cluster.padding(self.sent_bytes, now, ahead)

    @property
    def probe_cluster(self) -> ProbeCluster | None:
        return self.prober.probe_cluster

    # -- processing of one feedback ------------------------------------------------------------------------------------

    def _process_sent(self, now: float) -> None:
        before = self._history.next
        size = self._history.process_batches()
        if before >= 0:
            self._statuses = min(LARGEST, self._statuses + MAX_REPORTS_PER_PACKET * (self._history.next - before))
        if size and not self._sent_since:
            self._feedback_at = self._timeout_at = max(self._timeout_at, now)  # feedback is expected from now on
        self.sent_bytes += size
        self._sent_since += size

    def _is_feedback_overdue(self, now: float) -> bool:
        return self._sent_since > 0 and now - self._feedback_at > FEEDBACK_TIMEOUT / 2

    def _unwrapped(self, ticks: Sequence[int | None]) -> tuple[Sequence[int | None], int | None]:
        """Returns the arrivals without clock wraps, and the newest tick."""
        last = ticks[-1]
        if last is None:
            last = next((tick for tick in reversed(ticks) if tick is not None), None)
            if last is None:
                return ticks, None
        seen = self._ticks_seen
        offset = self._ticks_offset
        if seen >= 0 and not -WRAP_TICKS // 2 < last + offset - seen < WRAP_TICKS // 2:
            offset = self._ticks_offset = offset + (WRAP_TICKS if last + offset < seen else -WRAP_TICKS)
        self._ticks_seen = last + offset
        if offset:
            return [None if tick is None else tick + offset for tick in ticks], last + offset
        return ticks, last

    def _update_trend(self, times: Sequence[float], ticks: Sequence[int | None]) -> None:
        trendline, detector = self._trendline, self._detector
        for sent, arrived, when in self._arrivals.add(times, ticks):
            slope = trendline.update(sent, arrived, when)
            detector.update(slope, trendline.count, sent, when)

    def _is_drained(self) -> bool:
        """Whether a burst (usually a keyframe) was queued but has drained by now: no reason to lower the rate."""
        return self.queue_delay < min(DRAINED_QUEUE_DELAY, self._max_wait / 2)

    def _is_unproven(self) -> bool:
        """Whether overuse rests on too little queued traffic to measure the path. It then counts only if it persists."""
        acked = self._acked.rate
        if self._bottleneck or (acked is not None and acked >= USED_RATIO * self._aimd.rate):
            return False
        self._unproven += 1
        return self._unproven < OVERUSE_CONFIRMATIONS

    def _limit_by_delay(self, now: float) -> None:
        aimd = self._aimd
        before = aimd.rate
        usage = self._detector.usage  # at the end of the feedback
        if usage is BandwidthUsage.OVER and (self._is_drained() or self._is_unproven()):
            usage = BandwidthUsage.UNDER
        elif usage is not BandwidthUsage.OVER:
            self._unproven = 0
        if usage is BandwidthUsage.OVER:
            self._over_at = now
        acked = self._acked.rate
        if self._bottleneck and (
            acked is None or acked < USED_RATIO * aimd.rate or self._bottleneck < USED_RATIO * acked
        ):
            acked = self._bottleneck  # sent below capacity, or the capacity dropped: the smoothed rate would lag
        aimd.update(usage, acked, self.rtt or DEFAULT_RTT, now)
        if (
            acked is None
            or DELIVERED_RATIO * acked <= aimd.rate
            or usage is not BandwidthUsage.NORMAL
            or self._delay.standing > EMPTY_QUEUE_DELAY
        ):
            self._delivered_since = now
        elif now - self._delivered_since > DELIVERED_TIME:
            aimd.raise_to(DELIVERED_RATIO * acked, now)
        if aimd.rate < before:
            self.prober.congested(now)
            if self._recovery.lowered(aimd.rate, now):
                self.prober.on_rate_drop(now)
        else:
            self._recovery.raised(aimd.rate)

    def _limit_by_loss(self, lost: int, total: int, now: float) -> None:
        if self.prober.probe_cluster is not None:
            return  # a probe above the capacity loses packets, which its result covers
        delayed = now - self._over_at < OVERUSE_MEMORY or self.queue_delay > CONGESTED_QUEUE_DELAY
        before = self._loss.rate
        rate = self._loss.update(
            lost,
            total,
            target=self._aimd.rate,
            acked=self._bottleneck or self._acked.rate,
            delayed=delayed,
            now=now,
        )
        if rate < before:
            self.prober.congested(now)

    def _apply_probe(self, probe_cluster: ProbeCluster, now: float) -> None:
        rate = probe_cluster.result()
        if rate is None:
            return
        if rate < SUCCESS_RATIO * probe_cluster.rate:  # part of it may be borrowed from other traffic
            rate = (rate + self.target) / 2
        self._aimd.raise_to(rate, now)
        self._recovery.raised(self._aimd.rate)
