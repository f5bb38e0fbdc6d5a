"""Diagnostics sent to a client, and reports received from it."""

import json
from typing import Any

import msgspec
import pytest

from sfu.forwarding.decision_log import Cause, DecisionKind
from sfu.ids import TrackId
from sfu.rooms.media_stats import DownlinkStats, VideoStats
from sfu.signaling.json_dialect import decode
from sfu.transport.reports import LinkReport
from tests.signaling.fakes import Client, World, offer_sdp

PICTURE = VideoStats(TrackId("TR_1"), False, Cause.BUDGET, "h", 640, 360, 720, "none")


@pytest.fixture
async def world() -> World:
    return World()


def explanations(world: World, client: Client, seconds: float = 1.0) -> list[dict[str, Any]]:
    client.take()
    world.pass_time(seconds, 1_767_225_600.0 + world.now + seconds)
    return client.take("diagnostics")


async def test_diagnostics_are_sent_once_a_second(world: World) -> None:
    bob = world.join("bob")
    subscriber = world.endpoint.subscriber(bob.id)
    assert explanations(world, bob) == []
    subscriber.its_path = DownlinkStats(610_400.4, 0.0482, 0.0131, 480, Cause.DELAY)
    subscriber.its_pictures = (PICTURE,)
    for _ in range(3):
        subscriber.decision_log.write(
            world.now, DecisionKind.LAYER_DOWN, Cause.BUDGET, track="TR_1", before=720, after=360, rate=6e5
        )
    [told] = explanations(world, bob)
    assert [event["number"] for event in told["events"]] == [1, 2, 3]
    assert told["events"][0] == {
        "number": 1, "at": 1_767_225_600.0 + world.now - 1.0, "kind": "layer_down", "cause": "budget", "track": "TR_1",
        "before": 720, "after": 360, "rate": 600_000,
    }  # fmt: skip
    assert told["video_stats"] == [
        {"track": "TR_1", "cause": "budget", "layer": "h", "width": 640, "height": 360, "max_height": 720}
    ]
    assert (told["estimate"], told["rtt_ms"], told["loss"]) == (610_400, 48.2, 0.0131)
    assert (told["height"], told["rule"]) == (480, "delay")
    subscriber.decision_log.touch()  # and yet the same picture
    assert explanations(world, bob) == []
    subscriber.decision_log.write(world.now, DecisionKind.ESTIMATE, Cause.ESTIMATE, after=1e6)
    assert explanations(world, bob, 0.3) == []
    [told] = explanations(world, bob, 0.7)
    assert ([event["number"] for event in told["events"]], "video_stats" in told) == ([4], False)


async def test_only_the_participant_itself_is_notified(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    world.endpoint.subscriber(bob.id).decision_log.write(world.now, DecisionKind.PAUSED, Cause.BUDGET, track="TR_1")
    world.pass_time(1.0)
    assert ada.take("diagnostics") == []


async def test_diagnostics_lost_with_a_socket_are_sent_again(world: World) -> None:
    bob = world.join("bob")
    key = next(iter(world.sessions)).resume_key
    subscriber = world.endpoint.subscriber(bob.id)
    subscriber.its_pictures = (PICTURE,)
    subscriber.decision_log.write(world.now, DecisionKind.PAUSED, Cause.BUDGET, track="TR_1")
    assert len(explanations(world, bob)) == 1
    bob.drop()
    subscriber.decision_log.write(world.now, DecisionKind.RESUMED, Cause.BUDGET, track="TR_1")
    world.pass_time(1.0)
    again = world.client()
    again.say("join", id=1, resume=key, last=0)
    [told] = explanations(world, again)
    assert [event["number"] for event in told["events"]] == [1, 2]
    assert len(told["video_stats"]) == 1


async def test_loss_on_the_uplink_of_a_publisher(world: World) -> None:
    ada = world.join("ada")
    ada.say("publish", id=2, sdp=offer_sdp("video"), tracks=[{"mid": "0", "source": "camera"}])
    world.endpoint.publishers[0].link = LinkReport(rtt=0.02, loss=0.08, silent_for=0, connected=True)
    [told] = explanations(world, ada)
    assert [(event["kind"], event["cause"], event["after"]) for event in told["events"]] == [("loss", "sending", 0.08)]
    assert explanations(world, ada) == []


REPORT = {"rtt": 0.05, "jitter": 0.006, "loss": 0.01, "freezes": 2, "frozen": 0.7, "concealed": 0.002}


async def test_reports_are_kept_and_summed_up(world: World) -> None:
    bob = world.join("bob")
    assert bob.say("report", **REPORT) == []
    world.now += 0.5
    bob.say("report", **REPORT | {"rtt": 9})  # too soon
    session = bob.connection.session
    assert session is not None
    media_stats = session.media_stats()
    assert media_stats is not None
    assert media_stats.report is not None
    assert (media_stats.report.rtt, media_stats.at - media_stats.report.at) == (0.05, 0.5)
    client_stats = world.context.counters.client_stats
    assert (client_stats.freezes, client_stats.frozen, client_stats.rtt.distribution().total) == (2, 0.7, 0.05)
    assert world.context.counters.rate_limited == 1
    world.now += 1.5
    bob.say("report", **REPORT)
    assert client_stats.freezes == 4


@pytest.mark.parametrize(
    "bad",
    [
        '{"rtt": -1}', '{"rtt": 61}', '{"rtt": 1e999}', '{"rtt": NaN}', '{"rtt": Infinity}', '{"rtt": "1"}',
        '{"jitter": 1e9}', '{"loss": 1.1}', '{"loss": -0.1}', '{"freezes": 0.5}', '{"freezes": 100000}',
        '{"frozen": 1e6}', '{"concealed": 2}', '{"limited": [{"track": "a", "reason": "weather"}]}',
        '{"limited": [{"track": "", "reason": "cpu"}]}',
    ],
)  # fmt: skip
async def test_reports_that_cannot_be(world: World, bad: str) -> None:
    bob = world.join("bob")
    [error] = bob.say_text('{"type": "report", ' + bad[1:])
    assert error["code"] == "bad_request"
    assert world.context.counters.client_stats.rtt.distribution().total == 0
    many = {"type": "report", "limited": [{"track": "a", "reason": "cpu"}] * 65}
    with pytest.raises(msgspec.ValidationError):
        decode(json.dumps(many))


async def test_two_limited_reports_state_a_limitation(world: World) -> None:
    ada = world.join("ada")
    tracks = [{"mid": "0", "source": "camera"}, {"mid": "1", "source": "screen_share"}]
    [answer] = ada.say("publish", id=2, sdp=offer_sdp("video", "video"), tracks=tracks)
    camera = answer["tracks"]["0"]
    publisher = world.endpoint.publishers[0]

    def say(*limited: tuple[str, str]) -> dict[str, str]:
        world.now += 5.0
        ada.say("report", limited=[{"track": track, "reason": reason} for track, reason in limited])
        return dict(publisher.limits)

    assert say((camera, "cpu"), ("TR_of_somebody_else", "cpu")) == {"1": "none"}
    assert say((camera, "cpu")) == {"0": "cpu", "1": "none"}
    assert say((camera, "bandwidth")) == {"0": "cpu", "1": "none"}
    assert say((camera, "bandwidth")) == {"0": "bandwidth", "1": "none"}
    assert say((camera, "none")) == {"0": "none", "1": "none"}


async def test_decisions_of_all_participants_are_counted_together(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    for client in (ada, bob):
        world.endpoint.subscriber(client.id).decision_log.write(world.now, DecisionKind.PAUSED, Cause.BUDGET)
    assert world.context.counters.decisions == {(DecisionKind.PAUSED, Cause.BUDGET): 2}
