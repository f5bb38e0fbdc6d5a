"""Why a participant's media are as they are: its diary, told to its page once a second, and what its browser says itself.

A client's reports are kept, shown to operators and summed up; nothing is decided by them.
"""

from sfu.forwarding.decision_log import Cause, DecisionLog, LossLogger
from sfu.ids import TrackId
from sfu.rooms.media_stats import ClientReport, MediaStats, QualityLimitation, VideoStats
from sfu.signaling.context import Context
from sfu.signaling.messages import DiagnosticsUpdate, Report, encode
from sfu.signaling.outbox import Outbox
from sfu.signaling.publishing import Publishing
from sfu.signaling.serialization import decision_state, video_state
from sfu.signaling.subscribing import Subscribing

UPDATE_INTERVAL = 1.0
MIN_REPORT_INTERVAL = 2.0
"""Seconds between reports that are taken; earlier ones are left out."""
TIMER_TOLERANCE = 0.1
"""Timers are not exact, neither ours nor a browser's."""
UPLINK_LOSS_THRESHOLD = 0.05
"""Share of lost packets on the way to us that is worth a word, as `bandwidth.loss` is on the way to the client."""


class Diagnostics:
    """One per session, for both its connections."""

    __slots__ = (
        "_context",
        "_due",
        "_limited",
        "_loss",
        "_outbox",
        "_pictures",
        "_publishing",
        "_report",
        "_revision",
        "_sent",
        "_subscribing",
        "decision_log",
    )  # fmt: skip

    def __init__(
        self,
        context: Context,
        decision_log: DecisionLog,
        publishing: Publishing,
        subscribing: Subscribing,
        outbox: Outbox,
    ) -> None:
        self._context = context
        self._publishing = publishing
        self._subscribing = subscribing
        self._outbox = outbox
        self.decision_log = decision_log
        self._loss = LossLogger(UPLINK_LOSS_THRESHOLD, Cause.SENDING)
        self._report: ClientReport | None = None
        self._limited: dict[TrackId, QualityLimitation] = {}
        "What the last report said: one alone may be no more than a beginning."
        self._due = float("-inf")
        self._revision = 0
        "Of the diary, when it was last told of."
        self._sent = 0
        "Number of the newest entry that was told."
        self._pictures: dict[TrackId, VideoStats] = {}
        "As they were last told."

    def resume(self) -> None:
        """A new socket: what was on its way through the old one may be lost."""
        self._revision = self._sent = 0
        self._pictures.clear()

    def handle_timer(self, now: float, wall: float) -> None:
        """By the clock. `wall`: seconds since 1970."""
        if now < self._due:
            return
        self._due = now + UPDATE_INTERVAL - TIMER_TOLERANCE
        uplink = self._publishing.report()
        if uplink is not None:
            self._loss.update(self.decision_log, uplink.loss, now)
        if self.decision_log.revision == self._revision or self._outbox.socket is None:
            return
        self._revision = self.decision_log.revision
        video_stats = {picture.track: picture for picture in self._subscribing.video_stats()}
        changed = [picture for track, picture in video_stats.items() if self._pictures.get(track) != picture]
        entries = self.decision_log.since(self._sent)
        self._pictures, self._sent = video_stats, self.decision_log.newest
        if not changed and not entries:
            return
        path = self._subscribing.path()
        told = DiagnosticsUpdate(
            estimate=round(path.estimate) if path else 0,
            rtt_ms=round((path.rtt or 0) * 1000, 1) if path else 0,
            loss=round(path.loss, 4) if path else 0,
            height=path.height if path else 0,
            rule=path.rule if path else Cause.ESTIMATE,
            video_stats=[video_state(picture) for picture in changed],
            events=[decision_state(entry, wall - now) for entry in entries],
        )
        self._outbox.send(encode(told))

    def receive(self, report: Report, now: float) -> None:
        if self._report is not None and now - self._report.at < MIN_REPORT_INTERVAL - TIMER_TOLERANCE:
            self._context.counters.rate_limited += 1
            return
        limited: dict[TrackId, QualityLimitation] = {
            TrackId(one.track): one.reason for one in report.limited if one.reason != "none"
        }
        self._report = ClientReport(
            now, report.rtt, report.jitter, report.loss, report.freezes, report.frozen, report.concealed, limited
        )
        lasting = {track: reason for track, reason in limited.items() if self._limited.get(track) == reason}
        self._publishing.quality_limitation_changed(lasting, exclude=limited)
        self._limited = limited
        client_stats = self._context.counters.client_stats
        client_stats.rtt.observe(report.rtt)
        client_stats.jitter.observe(report.jitter)
        client_stats.loss.observe(report.loss)
        client_stats.freezes += report.freezes
        client_stats.frozen += report.frozen

    def media_stats(self, now: float) -> MediaStats:
        subscribing = self._subscribing
        return MediaStats(subscribing.path(), subscribing.video_stats(), self._report, tuple(self.decision_log), now)
