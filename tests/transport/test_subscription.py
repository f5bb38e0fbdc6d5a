"""Entries of the decision log for changes of a subscription."""

import pytest

from sfu.forwarding.decision_log import Cause, DecisionLog
from sfu.ids import TrackId
from sfu.rooms.ports import SubscriptionSettings
from sfu.transport.published_track import PublishedTrack
from sfu.transport.settings import Settings
from sfu.transport.subscription import SentState, Subscription
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.wire import Bench

NOTHING = SentState(True, "congestion", cause=Cause.BUDGET, max_height=720)
LOW = SentState(False, "congestion", "q", 320, 180, Cause.BUDGET, 720)
HELD = SentState(False, "congestion", "q", 320, 180, Cause.HOLD, 720)
MIDDLE = SentState(False, "", "h", 640, 360, Cause.REQUESTED, 720)
HIGH = SentState(False, "", "f", 1280, 720, Cause.REQUESTED, 720)
SHRUNK = SentState(False, "", "f", 960, 540, Cause.REQUESTED, 540)
LEFT = SentState(False, "", "h", 640, 360, Cause.REQUESTED, 360)
BEGUN = SentState(False, "", "q", 320, 180, Cause.SETTLING, 180)
PAUSED_BY_CLIENT = SentState(True, "requested", cause=Cause.HIDDEN)
MUTED = SentState(True, "muted", cause=Cause.MUTED)
SILENT = SentState(True, "no_layer", cause=Cause.SILENT)


def subscription(kind: str = "video") -> Subscription:
    bench = Bench()
    track = bench.video() if kind == "video" else bench.audio()
    return Subscription(
        TrackId("TR_a"), PublishedTrack(WebRtcServer(Settings()).engine, track, "s"), SubscriptionSettings()
    )


@pytest.mark.parametrize(
    ("before", "after", "written"),
    [
        (None, HIGH, []),
        (None, SILENT, []),
        (None, NOTHING, [("paused", "budget", 0, 0)]),
        (HIGH, LOW, [("layer_down", "budget", 720, 180)]),
        (HIGH, MIDDLE, [("layer_down", "requested", 720, 360)]),
        (HIGH, SHRUNK, [("layer_down", "publisher", 720, 540)]),
        (HIGH, LEFT, [("layer_down", "publisher", 720, 360)]),
        (HIGH, BEGUN, [("layer_down", "publisher", 720, 180)]),
        (LOW, HIGH, [("layer_up", "budget", 180, 720)]),
        (HELD, MIDDLE, [("layer_up", "hold", 180, 360)]),
        (MIDDLE, HIGH, [("layer_up", "requested", 360, 720)]),
        (LEFT, HIGH, [("layer_up", "publisher", 360, 720)]),
        (HIGH, NOTHING, [("paused", "budget", 720, 0)]),
        (HIGH, PAUSED_BY_CLIENT, [("paused", "hidden", 720, 0)]),
        (PAUSED_BY_CLIENT, MUTED, [("paused", "muted", 0, 0)]),
        (NOTHING, LOW, [("resumed", "budget", 0, 180)]),
        (LOW, HELD, []),
    ],
)
def test_changes(before: SentState | None, after: SentState, written: list[tuple[str, str, int, int]]) -> None:
    decision_log, one = DecisionLog(), subscription()
    one.sent_state = before
    one.log_change(decision_log, after, 610e3, 7.0)
    assert [(entry.kind.value, entry.cause.value, entry.before, entry.after) for entry in decision_log] == written
    assert decision_log.revision == 1
    assert {(entry.track, entry.rate, entry.at) for entry in decision_log} <= {("TR_a", 610e3, 7.0)}


def test_sound_is_not_written_about() -> None:
    decision_log, one = DecisionLog(), subscription("audio")
    one.log_change(decision_log, MUTED, 0.0, 7.0)
    assert decision_log.revision == 0
    one.sent_state = MUTED
    assert one.picture() is None


def test_the_size_of_a_picture_is_reported() -> None:
    one = subscription()
    assert one.picture() is None
    one.sent_state = LOW
    assert isinstance(one.source, PublishedTrack)
    one.source.limitation = "cpu"
    picture = one.picture()
    assert picture is not None
    assert (picture.paused, picture.cause, picture.height, picture.max_height) == (False, Cause.BUDGET, 180, 720)
    assert (picture.track, picture.limitation) == ("TR_a", "cpu")


def test_a_cause_alone_is_no_news_for_the_client() -> None:
    assert LOW == HELD
