"""One subscription: its source, its settings, its down track and the state that the subscriber knows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sfu.forwarding.decision_log import Cause, DecisionKind, DecisionLog
from sfu.forwarding.down_track import DownTrack
from sfu.ids import TrackId
from sfu.rooms.media_stats import VideoStats
from sfu.rooms.ports import MediaSource, SubscriptionSettings

HELD_DOWN: Final = (Cause.BUDGET, Cause.HOLD, Cause.TIER, Cause.SETTLING)
"""Causes whose end explains a better layer."""
NEWS_AT_ONCE: Final = (Cause.BUDGET, Cause.HOLD, Cause.TIER, Cause.CODEC)
"""Causes of a pause that are logged even if nothing was sent before."""


class SendParameters(NamedTuple):
    """How a subscription is sent: the result of a negotiation. Compare WebRTC's `RTCRtpSendParameters`."""

    mid: str
    ssrc: int
    rtx_ssrc: int
    "0: no retransmission."
    payload_type: int
    red_payload_type: int | None
    rtx_payload_type: int | None
    extensions: Mapping[str, int]
    "Negotiated ids of header extensions by URI."
    client_ids: bool = False
    "The client chose mid and ids, in an offer of its own."
    allow_mixed: bool = True
    "The client takes one-byte and two-byte header extensions in one stream (RFC 8285 6)."
    nack_without_rtx: bool = False
    continues: DownTrack | None = None
    "The ended down track whose RTP stream continues."


@dataclass(frozen=True, slots=True)
class SentState:
    """State of a subscription as last sent to the client: paused or not, the limiting reason, and the layer."""

    paused: bool
    reason: str = ""
    layer: str = ""
    width: int = 0
    height: int = 0
    cause: Cause = field(default=Cause.REQUESTED, compare=False)
    "The exact reason, for the decision log."
    max_height: int = field(default=0, compare=False)
    "Height of the largest layer that the publisher sends or can resume."


@dataclass(slots=True)
class Subscription:
    """One subscription: source, settings, and the engine's down track once it is negotiated."""

    track: TrackId
    source: MediaSource
    settings: SubscriptionSettings
    down_track: DownTrack | None = None
    parameters: SendParameters | None = None
    "Of the down track, once it was open."
    sent_state: SentState | None = field(default=None)
    "The state last sent to the client."

    def picture(self) -> VideoStats | None:
        """None: audio, or no decision yet."""
        sent_state = self.sent_state
        if sent_state is None or self.source.kind != "video":
            return None
        return VideoStats(
            self.track,
            sent_state.paused,
            sent_state.cause,
            sent_state.layer,
            sent_state.width,
            sent_state.height,
            sent_state.max_height,
            self.source.limitation,
        )

    def log_change(self, decision_log: DecisionLog, sent_state: SentState, rate: float, now: float) -> None:
        """Logs a change that a viewer notices. `rate`: estimated bits per second of the path."""
        before = self.sent_state
        if self.source.kind != "video":
            return
        if sent_state.paused:
            if before.reason != sent_state.reason if before is not None else sent_state.cause in NEWS_AT_ONCE:
                height = before.height if before is not None else 0
                decision_log.write(
                    now, DecisionKind.PAUSED, sent_state.cause, track=self.track, before=height, rate=rate
                )
                return
        elif before is not None:
            if before.paused:
                decision_log.write(
                    now, DecisionKind.RESUMED, before.cause, track=self.track, after=sent_state.height, rate=rate
                )
                return
            grown = sent_state.width * sent_state.height - before.width * before.height
            if grown:
                decision_log.write(
                    now,
                    DecisionKind.LAYER_UP if grown > 0 else DecisionKind.LAYER_DOWN,
                    _rise(before, sent_state) if grown > 0 else _fall(before, sent_state),
                    track=self.track,
                    before=before.height,
                    after=sent_state.height,
                    rate=rate,
                )
                return
        decision_log.touch()


def _rise(before: SentState, after: SentState) -> Cause:
    """The cause that limited it until now."""
    if before.layer == after.layer or (before.cause not in HELD_DOWN and before.max_height < after.height):
        return Cause.PUBLISHER
    return before.cause


def _fall(before: SentState, after: SentState) -> Cause:
    if before.layer == after.layer or after.max_height < before.height:
        return Cause.PUBLISHER  # the layer that was sent has ended
    return after.cause


StateListener = Callable[[Subscription, SentState], None]
