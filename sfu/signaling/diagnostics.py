"""Why a participant's media are as they are: its diary, told to its page once a second, and what its browser says itself.

A client's reports are kept, shown to operators and summed up; nothing is decided by them.
"""

from sfu.forwarding.decision_log import Cause, Diary, LossWatch
from sfu.ids import TrackId
from sfu.rooms.media_stats import Account, ClientReport, Limitation, Picture
from sfu.signaling.context import Environment
from sfu.signaling.messages import Explanation, Report, encode
from sfu.signaling.outbox import Outbox
from sfu.signaling.publishing import Publishing
from sfu.signaling.serialization import decision_state, picture_state
from sfu.signaling.subscribing import Subscribing

TELL_EVERY = 1.0
REPORT_EVERY = 2.0
"""Seconds between reports that are taken; earlier ones are left out."""
TIMING = 0.1
"""Timers are not exact, neither ours nor a browser's."""
LOSS = 0.05
"""Share of lost packets on the way to us that is worth a word, as `bandwidth.loss` is on the way to the client."""


class Explaining:
    """One per session, for both its connections."""

    __slots__ = (
        "_due", "_env", "_limited", "_loss", "_outbox", "_pictures", "_publishing", "_report", "_revision", "_sent",
        "_subscribing", "diary",
    )  # fmt: skip

    def __init__(
        self, env: Environment, diary: Diary, publishing: Publishing, subscribing: Subscribing, outbox: Outbox
    ) -> None:
        self._env = env
        self._publishing = publishing
        self._subscribing = subscribing
        self._outbox = outbox
        self.diary = diary
        self._loss = LossWatch(LOSS, Cause.SENDING)
        self._report: ClientReport | None = None
        self._limited: dict[TrackId, Limitation] = {}
        "What the last report said: one alone may be no more than a beginning."
        self._due = float("-inf")
        self._revision = 0
        "Of the diary, when it was last told of."
        self._sent = 0
        "Number of the newest entry that was told."
        self._pictures: dict[TrackId, Picture] = {}
        "As they were last told."

    def resume(self) -> None:
        """A new socket: what was on its way through the old one may be lost."""
        self._revision = self._sent = 0
        self._pictures.clear()

    def tell(self, now: float, wall: float) -> None:
        """By the clock. `wall`: seconds since 1970."""
        if now < self._due:
            return
        self._due = now + TELL_EVERY - TIMING
        uplink = self._publishing.report()
        if uplink is not None:
            self._loss.look(self.diary, uplink.loss, now)
        if self.diary.revision == self._revision or self._outbox.socket is None:
            return
        self._revision = self.diary.revision
        pictures = {picture.track: picture for picture in self._subscribing.pictures()}
        changed = [picture for track, picture in pictures.items() if self._pictures.get(track) != picture]
        entries = self.diary.since(self._sent)
        self._pictures, self._sent = pictures, self.diary.newest
        if not changed and not entries:
            return
        path = self._subscribing.path()
        told = Explanation(
            estimate=round(path.estimate) if path else 0,
            rtt_ms=round((path.rtt or 0) * 1000, 1) if path else 0,
            loss=round(path.loss, 4) if path else 0,
            height=path.height if path else 0,
            rule=path.rule if path else Cause.ESTIMATE,
            pictures=[picture_state(picture) for picture in changed],
            events=[decision_state(entry, wall - now) for entry in entries],
        )
        self._outbox.send(encode(told))

    def receive(self, report: Report, now: float) -> None:
        if self._report is not None and now - self._report.at < REPORT_EVERY - TIMING:
            self._env.counters.rate_limited += 1
            return
        limited: dict[TrackId, Limitation] = {
            TrackId(one.track): one.reason for one in report.limited if one.reason != "none"
        }
        self._report = ClientReport(
            now, report.rtt, report.jitter, report.loss, report.freezes, report.frozen, report.concealed, limited
        )
        lasting = {track: reason for track, reason in limited.items() if self._limited.get(track) == reason}
        self._publishing.limited(lasting, but=limited)
        self._limited = limited
        hearsay = self._env.counters.hearsay
        hearsay.rtt.observe(report.rtt)
        hearsay.jitter.observe(report.jitter)
        hearsay.loss.observe(report.loss)
        hearsay.freezes += report.freezes
        hearsay.frozen += report.frozen

    def account(self, now: float) -> Account:
        subscribing = self._subscribing
        return Account(subscribing.path(), subscribing.pictures(), self._report, tuple(self.diary), now)
