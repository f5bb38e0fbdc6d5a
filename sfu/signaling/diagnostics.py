"""Media diagnostics of a participant.

Sends the decision log and video statistics to the client once a second, and receives the reports of its browser. Reports
are shown to operators and aggregated; no decision depends on them.
"""

from sfu.forwarding.decision_log import Cause, DecisionLog, LossLogger
from sfu.ids import TrackId
from sfu.rooms.media_stats import ClientReport, MediaStats, QualityLimitation, VideoStats
from sfu.signaling.context import Context
from sfu.signaling.messages import DiagnosticsUpdate, Report
from sfu.signaling.ports import Client
from sfu.signaling.publishing import Publishing
from sfu.signaling.serialization import decision_state, video_state
from sfu.signaling.subscribing import Subscribing

UPDATE_INTERVAL = 1.0
MIN_REPORT_INTERVAL = 2.0
"""Minimum seconds between two reports; the server ignores earlier ones."""
TIMER_TOLERANCE = 0.1
"""Seconds by which timers of the server and of browsers may be early."""
UPLINK_LOSS_THRESHOLD = 0.05
"""Packet loss from the client that is logged. `bandwidth.loss` is the equivalent towards the client."""


class Diagnostics:
    """One per session, for both of its connections."""

    __slots__ = (
        "_client",
        "_context",
        "_due",
        "_limited",
        "_loss",
        "_publishing",
        "_report",
        "_revision",
        "_sent",
        "_subscribing",
        "_video_stats",
        "decision_log",
    )  # fmt: skip

    def __init__(
        self,
        context: Context,
        client: Client,
        decision_log: DecisionLog,
        publishing: Publishing,
        subscribing: Subscribing,
    ) -> None:
        self._context = context
        self._client = client
        self._publishing = publishing
        self._subscribing = subscribing
        self.decision_log = decision_log
        self._loss = LossLogger(UPLINK_LOSS_THRESHOLD, Cause.SENDING)
        self._report: ClientReport | None = None
        self._limited: dict[TrackId, QualityLimitation] = {}
        "Limitations in the last report. Only those in two reports in a row count, since one may be brief."
        self._due = float("-inf")
        self._revision = 0
        "Revision of the decision log at the last update."
        self._sent = 0
        "Number of the newest entry that was sent."
        self._video_stats: dict[TrackId, VideoStats] = {}
        "As last sent."

    def resume(self) -> None:
        """Call it after the client attached again: updates on the old socket may be lost."""
        self._revision = self._sent = 0
        self._video_stats.clear()

    def handle_timer(self, now: float, wall: float) -> None:
        """`now`: monotonic seconds. `wall`: seconds since 1970."""
        if now < self._due:
            return
        self._due = now + UPDATE_INTERVAL - TIMER_TOLERANCE
        uplink = self._publishing.report()
        if uplink is not None:
            self._loss.update(self.decision_log, uplink.loss, now)
        if self.decision_log.revision == self._revision or not self._client.attached:
            return
        self._revision = self.decision_log.revision
        video_stats = {video.track: video for video in self._subscribing.video_stats()}
        changed = [video for track, video in video_stats.items() if self._video_stats.get(track) != video]
        entries = self.decision_log.since(self._sent)
        self._video_stats, self._sent = video_stats, self.decision_log.newest
        if not changed and not entries:
            return
        path = self._subscribing.path()
        update = DiagnosticsUpdate(
            estimate=round(path.estimate) if path else 0,
            rtt_ms=round((path.rtt or 0) * 1000, 1) if path else 0,
            loss=round(path.loss, 4) if path else 0,
            height=path.height if path else 0,
            rule=path.rule if path else Cause.ESTIMATE,
            video_stats=[video_state(video) for video in changed],
            events=[decision_state(entry, wall - now) for entry in entries],
        )
        self._client.send(update)

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
