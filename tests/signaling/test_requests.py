"""The table of requests, and what a joined client gets for each."""

from typing import Any, get_args

import pytest

from sfu.rooms.track_description import TrackDescription
from sfu.signaling.messages import ClientMessage
from sfu.signaling.requests import HANDLERS, UNANSWERED
from tests.signaling.fakes import World, offer_sdp
from tests.support.media_source import FakeSource


@pytest.fixture
async def world() -> World:
    return World()


def test_every_message_of_clients_has_a_function() -> None:
    assert set(HANDLERS) == set(get_args(ClientMessage))
    assert set(UNANSWERED) < set(HANDLERS)


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        ({"type": "publish", "sdp": offer_sdp("audio"), "tracks": [{"mid": "0", "source": "microphone"}]}, "answer"),
        ({"type": "restart"}, "ok"),
        ({"type": "subscribe", "tracks": []}, "ok"),
        ({"type": "unsubscribe", "tracks": ["TR_unknown"]}, "ok"),
        ({"type": "chat", "text": "hi"}, "ok"),
        ({"type": "data", "topic": "t", "payload": "p"}, "ok"),
        ({"type": "metadata"}, "ok"),
        ({"type": "room"}, "ok"),
        ({"type": "unpublish", "track": "TR_unknown"}, "not_found"),
        ({"type": "mute", "track": "TR_unknown", "muted": True}, "not_found"),
        ({"type": "subscribe", "tracks": [{"track": "TR_unknown"}]}, "not_found"),
        ({"type": "chat", "text": "hi", "to": "PA_unknown"}, "not_found"),
        ({"type": "kick", "participant": "PA_unknown"}, "not_found"),
        ({"type": "admit", "participant": "PA_unknown"}, "not_found"),
        ({"type": "deny", "participant": "PA_unknown"}, "not_found"),
        ({"type": "join", "token": "ada"}, "conflict"),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else value,
)
async def test_each_request_has_one_reply_with_its_id(world: World, request_: dict[str, Any], reply: str) -> None:
    ada = world.join("ada")  # an admin
    ada.take()
    fields = dict(request_)
    messages = ada.say(fields.pop("type"), id=7, **fields)
    replies = [message for message in messages if message.get("id") == 7]
    assert [message.get("code", message["type"]) for message in replies] == [reply]


@pytest.mark.parametrize(
    "message",
    [
        {"type": "pong", "at": 1.0},
        {"type": "candidate", "connection": "publish"},
        {"type": "report"},
    ],
    ids=lambda message: message["type"],
)
async def test_notifications_are_not_answered(world: World, message: dict[str, Any]) -> None:
    ada = world.join("ada")
    ada.take()
    assert ada.say(message.pop("type"), **message) == []


async def test_subscribe_changes_the_named_tracks_of_others(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    room = world.rooms.find("standup")
    owner = room.members.find_by_identity("bob")
    viewer = room.members.find_by_identity("ada")
    assert owner is not None
    assert viewer is not None
    camera = room.publications.publish(owner, FakeSource(), TrackDescription(source="camera"))
    screen = room.publications.publish(owner, FakeSource(), TrackDescription(source="screen_share"))
    received = world.endpoint.subscriber(ada.id).tracks
    tracks = [{"track": camera.id, "width": 320, "height": 180}, {"track": "TR_unknown", "width": 1}]
    assert ada.say("subscribe", id=2, tracks=tracks)[-1]["type"] == "ok"
    assert ada.say("subscribe", id=3, tracks=[{"track": camera.id, "priority": 9}])[-1]["type"] == "ok"
    settings = received[camera.id]
    assert (settings.width, settings.height, settings.priority) == (320, 180, 9)
    assert received[screen.id].width == 0
    assert bob.say("subscribe", id=2, tracks=[{"track": camera.id}])[-1]["code"] == "not_found", "its own track"
    assert ada.say("unsubscribe", id=4, tracks=[camera.id, screen.id])[-1]["type"] == "ok"
    assert received == {}


async def test_only_the_owner_ends_a_publication(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    answer = bob.say("publish", id=2, sdp=offer_sdp("audio"), tracks=[{"mid": "0", "source": "microphone"}])[0]
    track = answer["tracks"]["0"]
    assert ada.say("unpublish", id=2, track=track)[-1]["code"] == "not_found"
    assert bob.say("unpublish", id=3, track=track)[-1]["type"] == "ok"
    assert bob.say("unpublish", id=4, track=track)[-1]["code"] == "not_found"


async def test_leave_ends_the_session(world: World) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    ada.take()
    bob.say("leave")
    assert [message["type"] for message in ada.take()] == ["participant_left"]
    assert [session.claims.identity for session in world.sessions] == ["ada"]
