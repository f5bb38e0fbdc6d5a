"""What one path can carry, estimated where the packets are sent from (send-side GCC).

Delay (groups, trendline, overuse, AIMD) and loss each have a limit, the lower one holds; probes raise it when they prove
more; REMB may only lower it. A receiver without transport-wide feedback is judged by its receiver reports and its REMB.
draft-ietf-rmcat-gcc-02, draft-alvestrand-rmcat-remb-03; the feedback is what RFC 8888 describes, in the older format that
browsers speak. Sans-IO: `now` in monotonic seconds, rates in bits per second. Per packet nothing is done here; per
feedback, everything (tests/bench/estimator.py).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from sfu.bandwidth.acknowledged_bitrate import AcknowledgedBitrate
from sfu.bandwidth.aimd import Aimd
from sfu.bandwidth.inter_arrival import InterArrival
from sfu.bandwidth.loss_based import LossLimit
from sfu.bandwidth.overuse import BandwidthUsage, OveruseDetector
from sfu.bandwidth.path_delay import PathDelay
from sfu.bandwidth.prober import FOUND, LEAST_GAIN, ProbeCluster, Prober
from sfu.bandwidth.remb import RembLimit
from sfu.bandwidth.send_time_history import LARGEST, SendTimeHistory
from sfu.bandwidth.settings import Settings
from sfu.bandwidth.trendline import Trendline
from sfu.bandwidth.twcc import TICKS_PER_SECOND, Feedback

WRAP_TICKS: Final = 0x1000000 * 256
"""The receiver's clock as feedback tells it begins anew after 12 days."""
SILENCE: Final = 1.0
"""Seconds without feedback on what is sent, after which the way back (or the way there) counts as congested;"""
SILENCE_DECREASE: Final = 0.8
"""for each such second the rate shrinks by so much (libwebrtc's loss-report timeout)."""
STALE: Final = 1.0
"""Seconds without feedback, nothing being sent, after which what the delay said last means nothing."""
DELAYED_FOR: Final = 1.0
"""Seconds after overuse in which loss is taken for the same congestion."""
DELAYED_BY: Final = 0.05
"""Seconds in the queue with which loss is congestion."""
LOSSY_LINK: Final = 0.04
"""Share of lost packets from which a line is bad."""
FELL: Final = 0.7
"""A decrease below this share of the best rate of late is a change of the path."""
RECOVERY: Final = 0.85
"""Of the rate before a fall: what is tried again soon, for falls are often somebody else's short download,"""
RECOVERY_STEP: Final = 1.5
"""in steps of what is sent now,"""
EMPTY: Final = 0.01
EMPTY_FOR: Final = 0.5
"""Seconds in the queue, and for how long no more, that make a path look free: nobody is pushed aside by trying."""
FORGIVEN: Final = 0.95
RECOVERY_FOR: Final = 30.0
"""for so many seconds (libwebrtc's recovery probing); a fall meanwhile keeps most of what was known before."""
DELIVERED: Final = 0.95
DELIVERED_FOR: Final = 1.0
"""Of what arrives without a queue for so many seconds: the path carries it, whatever was estimated."""
USED: Final = 0.8
"""A target of which this share arrives is used: the smoothed rate of arrival is then the better measure."""
BELIEVED: Final = 3
"""Feedbacks in a row."""
DRAINED: Final = 0.02
"""Seconds of waiting, and half of the longest of the feedback, below which the queue is on its way to nothing."""
QUEUED_PACKETS: Final = 5
QUEUED_TICKS: Final = 100
"""25 ms: what a radio link delivers at once is shorter."""
REPEATS: Final = 8
"""A late packet makes libwebrtc report all that it received in the 500 ms before, five times as much as usual."""
FIRST_STATUSES: Final = 1024
REPORT_GATE: Final = 0.2
LEAST_RTT_DRIFT: Final = 1.01
"""Per report: a longer way is no congestion for ever."""
CALM_LOSS: Final = 0.02
CALM_RTT: Final = 1.2
CALM_RTT_RISE: Final = 0.06
"""A report of less loss, and of a round trip that grew by less than this factor and these seconds, shows no congestion."""
DEFAULT_RTT: Final = 0.1


class Estimator:
    """One per subscriber path. `sent` and `receive_feedback`, then look at `target`."""

    __slots__ = (
        "_acked", "_aimd", "_arrivals", "_best", "_bottleneck", "_delay", "_delivered_since", "_detector",
        "_feedback_at", "_fell_at", "_fell_from", "_history", "_least_rtt", "_longest", "_loss", "_over_at", "_punished",
        "_queued_at", "_remb", "_report_at", "_report_loss", "_report_rate", "_report_rtt", "_sent_since", "_statuses",
        "_ticks_offset", "_ticks_seen", "_trendline", "_unproven", "feedbacks", "prober", "sent_bytes", "settings",
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
        self._statuses = FIRST_STATUSES
        """Packet statuses that feedback may still tell."""
        self.feedbacks = 0
        self._feedback_at = self._punished = float("-inf")
        self._over_at = self._queued_at = float("-inf")
        self._best = settings.start
        """Highest rate since the last fall."""
        self._unproven = 0
        self._delivered_since = float("-inf")
        self._longest = 0.0
        """Seconds that a packet of the last feedback had to wait, at most."""
        self._bottleneck = 0.0
        """Bits per second that the last feedback showed to come out of a queue; 0: nothing had to wait."""
        self._fell_at = float("-inf")
        self._fell_from = 0.0
        self._delay = PathDelay()
        self._ticks_offset = 0
        self._ticks_seen = -1
        self._remb = RembLimit()
        self._report_loss = 0.0
        self._report_rtt = self._least_rtt = float("inf")
        """Newest and least round trip that reports measured."""
        self._report_rate = settings.start
        self._report_at = float("-inf")

    # -- what is known ----------------------------------------------------------------------------------------------

    @property
    def target(self) -> float:
        rate = min(self._aimd.rate, self._loss.rate) if self.feedbacks else self._report_rate
        return max(min(rate, self._remb.rate), self.settings.least)

    @property
    def rtt(self) -> float | None:
        """Round trip with the time that the receiver takes to answer; smoothed."""
        return self._delay.rtt

    @property
    def path_rtt(self) -> float | None:
        """Round trip of the path alone (`PathDelay.path_rtt`)."""
        return self._delay.path_rtt if self.feedbacks else self._delay.rtt

    @property
    def queue_delay(self) -> float:
        """Seconds that the newest packet was on its way longer than the quickest."""
        return self._delay.newest

    @property
    def acked(self) -> float | None:
        """Bits per second that arrive."""
        return self._acked.rate

    @property
    def loss(self) -> float:
        """Share of the last second's packets."""
        return self._loss.share

    @property
    def is_lossy_link(self) -> bool:
        """Packets are lost, and not for want of room in a queue: what is sent twice comes sooner than what is asked twice."""
        return (
            self._loss.share >= LOSSY_LINK
            and self.queue_delay < DELAYED_BY
            and self._detector.usage is not BandwidthUsage.OVER
        )

    @property
    def idle(self) -> bool:
        """Nothing was sent since the last look, and nothing has to be."""
        return not self._history.has_pending and self.prober.probe_cluster is None

    @property
    def is_stable(self) -> bool:
        """Nothing is lost and nothing waits."""
        return (
            self._detector.usage is not BandwidthUsage.OVER and self._delay.newest < DELAYED_BY and not self._loss.share
        )

    @property
    def usage(self) -> BandwidthUsage:
        return self._detector.usage

    # -- what comes in ----------------------------------------------------------------------------------------------

    def sent(self, first: int, sizes: Sequence[int], now: float) -> None:
        """Packets of these sizes went out together, under the transport-wide numbers from `first` on."""
        self._history.sent(first, sizes, now)

    @property
    def on_sent(self) -> Callable[[tuple[int, Sequence[int], float]], None]:
        """`sent` as one bare call, to be kept by the packet path."""
        return self._history.on_sent

    def accepts_feedback(self, count: int, now: float) -> bool:
        """Whether feedback about `count` packets can be honest: it reports each packet `REPEATS` times at most."""
        self._take_in(now)
        if count > self._statuses:
            return False
        self._statuses -= count
        return True

    def receive_feedback(self, feedback: Feedback, now: float) -> None:
        """What a receiver says of our packets; it may be of any age and may claim anything."""
        history = self._history
        self._take_in(now)
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
        told = sum(sizes)
        if None in ticks:
            missing = [size for size, tick in zip(sizes, ticks, strict=True) if tick is None and size]
            lost = len(missing)
            told -= sum(missing)
        history.acknowledge(first, ticks, all_of_them=not lost)
        self.feedbacks += 1
        self._feedback_at = self._punished = now
        self._sent_since = 0
        if last_tick is None:
            self._limit_by_loss(lost, total, now)
            return
        self._take_delays(times, ticks)
        if self.prober.probe_cluster is not None:
            self.prober.probe_cluster.add(times, sizes, ticks)
        self._acked.update(told, last_tick / TICKS_PER_SECOND)
        self._delay.update(times, ticks, now)
        if self._delay.newest > EMPTY:
            self._queued_at = now
        queued = self._detector.usage is BandwidthUsage.OVER or self._delay.newest > EMPTY
        self._bottleneck = self._out_of_queue(times, sizes, ticks) if queued else 0.0
        self._limit_by_delay(now)
        self._limit_by_loss(lost, total, now)

    def receive_remb(
        self, bitrate: float, now: float, ssrcs: Collection[int] = (), octets: Mapping[int, int] | None = None
    ) -> None:
        """What the receiver estimates for `ssrcs`; it may only lower (draft-alvestrand-rmcat-remb-03 2.2).

        `octets`: what was sent on each stream so far; None: not known.
        """
        calm = (
            not self.feedbacks
            and self._report_loss < CALM_LOSS
            and self._report_rtt <= CALM_RTT * self._least_rtt + CALM_RTT_RISE
        )
        self._remb.receive(bitrate, ssrcs, octets or {}, now, calm=calm)

    def receive_report(self, loss: float, rtt: float | None, now: float) -> None:
        """A receiver report: all that there is without transport-wide feedback (rule of draft-ietf-rmcat-gcc-02 6)."""
        if rtt is not None and not self.feedbacks:
            self._delay.rtt = self._report_rtt = rtt
            self._least_rtt = min(self._least_rtt * LEAST_RTT_DRIFT, rtt)
        self._report_loss = loss
        if self.feedbacks or now - self._report_at < REPORT_GATE:
            return
        if self._report_at > 0:
            passed = min(now - self._report_at, 1.0)
            if loss > 0.1:
                self._report_rate *= 1 - loss / 2
            elif loss < 0.02:
                self._report_rate *= 1.08**passed
        self._report_rate = min(max(self._report_rate, self.settings.least), self.settings.most, 1.2 * self._remb.rate)
        self._report_at = now

    def handle_timer(self, now: float, *, desired_rate: float = 0.0, ceiling: float = 0.0) -> None:
        """Up to 20 times a second. `desired_rate`: rate at which something could be gained (probe.wanted_rate), 0: none."""
        self._take_in(now)
        self._remb.handle_timer(now)
        if self.feedbacks and self._sent_since and now - self._punished > SILENCE:
            self._punished = now
            self._aimd.lower_to(self._aimd.rate * SILENCE_DECREASE)
            self.prober.congested(now)
        prober = self.prober
        rtt = self.rtt or DEFAULT_RTT
        probe_cluster = prober.take_result(now, rtt)
        if probe_cluster is not None:
            self._proved(probe_cluster, now)
        if now - self._fell_at < RECOVERY_FOR and ceiling and now - self._queued_at > EMPTY_FOR:
            step = max(RECOVERY_STEP * self.target, self.target + LEAST_GAIN)
            desired_rate = max(desired_rate, min(RECOVERY * self._fell_from, step, ceiling))
        calm = self._detector.usage is BandwidthUsage.NORMAL or now - self._feedback_at > STALE
        if desired_rate and self.feedbacks and calm and not self._sent_into_silence(now):
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
        self._take_in(now)
        return probe_cluster.padding(self.sent_bytes, now, ahead)

    @property
    def probe_cluster(self) -> ProbeCluster | None:
        return self.prober.probe_cluster

    # -- one feedback, step by step ---------------------------------------------------------------------------------

    def _take_in(self, now: float) -> None:
        before = self._history.next
        size = self._history.process_batches()
        if before >= 0:
            self._statuses = min(LARGEST, self._statuses + REPEATS * (self._history.next - before))
        if size and not self._sent_since:
            self._feedback_at = self._punished = max(self._punished, now)  # from now on an answer is due
        self.sent_bytes += size
        self._sent_since += size

    def _sent_into_silence(self, now: float) -> bool:
        return self._sent_since > 0 and now - self._feedback_at > SILENCE / 2

    def _unwrapped(self, ticks: Sequence[int | None]) -> tuple[Sequence[int | None], int | None]:
        """The receiver's clock without its wraps, and the newest tick."""
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

    def _take_delays(self, times: Sequence[float], ticks: Sequence[int | None]) -> None:
        trendline, detector = self._trendline, self._detector
        for sent, arrived, when in self._arrivals.add(times, ticks):
            slope = trendline.update(sent, arrived, when)
            detector.update(slope, trendline.count, sent, when)

    def _has_drained(self) -> bool:
        """A burst, a keyframe as a rule, that waited and is through by now is no reason to send less."""
        return self.queue_delay < min(DRAINED, self._longest / 2)

    def _is_unproven(self) -> bool:
        """Little is sent and too little of it waited to measure the path: only if that stays is it believed."""
        acked = self._acked.rate
        if self._bottleneck or (acked is not None and acked >= USED * self._aimd.rate):
            return False
        self._unproven += 1
        return self._unproven < BELIEVED

    def _out_of_queue(self, times: Sequence[float], sizes: Sequence[int], ticks: Sequence[int | None]) -> float:
        """Bits per second of what had to wait: it arrives at the speed of the bottleneck, whatever was sent before.

        0 when too little waited to say. The smoothed rate of arrival would follow a keyframe's burst too late, and a
        fall of the capacity as well.
        """
        latest = self._delay.base + EMPTY
        found = [
            (tick, size, tick / TICKS_PER_SECOND - send - self._delay.base)
            for send, size, tick in zip(times, sizes, ticks, strict=True)
            if tick is not None and size and tick / TICKS_PER_SECOND - send > latest
        ]
        self._longest = max((wait for _, _, wait in found), default=0.0)
        if len(found) < QUEUED_PACKETS:
            return 0.0
        first, last = min(found)[0], max(found)[0]
        if last - first < QUEUED_TICKS:
            return 0.0
        return sum(size for tick, size, _ in found if tick != first) * 8 * TICKS_PER_SECOND / (last - first)

    def _limit_by_delay(self, now: float) -> None:
        aimd = self._aimd
        before = aimd.rate
        usage = self._detector.usage  # at the end of the feedback
        if usage is BandwidthUsage.OVER and (self._has_drained() or self._is_unproven()):
            usage = BandwidthUsage.UNDER
        elif usage is not BandwidthUsage.OVER:
            self._unproven = 0
        if usage is BandwidthUsage.OVER:
            self._over_at = now
        acked = self._acked.rate
        if self._bottleneck and (acked is None or acked < USED * aimd.rate or self._bottleneck < USED * acked):
            acked = self._bottleneck  # less was sent than might be, or the capacity fell: smoothing would lag
        aimd.update(usage, acked, self.rtt or DEFAULT_RTT, now)
        if (
            acked is None
            or DELIVERED * acked <= aimd.rate
            or usage is not BandwidthUsage.NORMAL
            or self._delay.standing > EMPTY
        ):
            self._delivered_since = now
        elif now - self._delivered_since > DELIVERED_FOR:
            aimd.raise_to(DELIVERED * acked, now)
        if aimd.rate < before:
            self.prober.congested(now)
            if aimd.rate < FELL * self._best:
                known = self._fell_from * FORGIVEN if now - self._fell_at < RECOVERY_FOR else 0.0
                self._fell_at, self._fell_from = now, max(self._best, known)
                self.prober.on_rate_drop(now)
                self._best = aimd.rate
        elif aimd.rate > self._best:
            self._best = aimd.rate

    def _limit_by_loss(self, lost: int, total: int, now: float) -> None:
        if self.prober.probe_cluster is not None:
            return  # a probe that is too much loses packets: its result says so
        delayed = now - self._over_at < DELAYED_FOR or self.queue_delay > DELAYED_BY
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

    def _proved(self, probe_cluster: ProbeCluster, now: float) -> None:
        rate = probe_cluster.result()
        if rate is None:
            return
        if rate < FOUND * probe_cluster.rate:  # part of it may be what others had to give up for a moment
            rate = (rate + self.target) / 2
        self._aimd.raise_to(rate, now)
        self._best = max(self._best, self._aimd.rate)
