"""Who may start, stop and arrange a room's programme over signalling, and that everybody hears of it."""

from typing import Any

import pytest

from sfu.rooms import Permissions
from sfu.rooms.programme import Programme
from tests.signaling.fakes import World


@pytest.fixture
async def world() -> World:
    return World()


def types(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


class FakeProgrammes:
    def __init__(self) -> None:
        self.changes: list[dict[str, Any]] = []

    def change(self, room: Any, **wanted: Any) -> None:
        self.changes.append({name: value for name, value in wanted.items() if value is not None})
        room.show(Programme(live=bool(wanted["live"]), layout=wanted["layout"] or "auto"))


@pytest.mark.parametrize(
    ("grants", "asked", "refused"),
    [
        ({"egress": True}, {"live": True, "layout": "grid"}, False),
        ({"egress": True}, {"recording": True}, True),
        ({"record": True}, {"recording": True}, False),
        ({"record": True}, {"live": True}, True),
        ({"record": True}, {"layout": "pip", "focus": "PA_1"}, False),
        ({"admin": True}, {"layout": "pip"}, True),
    ],
)
async def test_who_may_change_the_programme(
    world: World, grants: dict[str, bool], asked: dict[str, Any], refused: bool
) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    programmes = world.env.programmes = FakeProgrammes()
    world.rooms.permit("standup", "ada", Permissions(**grants))
    ada.take()
    bob.take()
    replies = ada.say("programme", id=2, **asked)
    if refused:
        assert replies[0]["code"] == "not_authorized"
        assert programmes.changes == []
        return
    assert "ok" in types(replies)
    assert programmes.changes == [asked]
    if "live" in asked:
        [told] = bob.take()
        assert told["room"]["programme"] | {"since": 0.0} == {"live": True, "layout": "grid", "since": 0.0}


async def test_a_server_without_programmes_says_so(world: World) -> None:
    ada = world.join("ada")
    world.rooms.permit("standup", "ada", Permissions(egress=True))
    ada.take()
    assert ada.say("programme", id=2, live=True)[0]["code"] == "not_found"
