"""Permissions to start, stop and change egress over signalling, and its broadcast."""

from typing import Any

import pytest

from sfu.rooms import Permissions
from sfu.rooms.egress_status import EgressStatus
from tests.signaling.fakes import World


@pytest.fixture
async def world() -> World:
    return World()


def types(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


class FakeEgress:
    def __init__(self) -> None:
        self.changes: list[dict[str, Any]] = []

    def change(self, room: Any, **wanted: Any) -> None:
        self.changes.append({name: value for name, value in wanted.items() if value is not None})
        room.set_egress_status(EgressStatus(live=bool(wanted["live"]), layout=wanted["layout"] or "auto"))

    def mix_of(self, room: str) -> str:
        return ""


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
async def test_permissions_to_change_the_egress(
    world: World, grants: dict[str, Any], asked: dict[str, Any], refused: bool
) -> None:
    ada, bob = world.join("ada"), world.join("bob")
    egress_jobs = world.context.egress_jobs = FakeEgress()
    world.rooms.set_permissions("standup", "ada", Permissions(**grants))
    ada.take()
    bob.take()
    replies = ada.say("egress", id=2, **asked)
    if refused:
        assert replies[0]["code"] == "not_authorized"
        assert egress_jobs.changes == []
        return
    assert "ok" in types(replies)
    assert egress_jobs.changes == [asked]
    if "live" in asked:
        [told] = bob.take()
        assert told["room"]["egress"] | {"since": 0.0} == {"live": True, "layout": "grid", "since": 0.0}


async def test_a_server_without_egress_says_so(world: World) -> None:
    ada = world.join("ada")
    world.rooms.set_permissions("standup", "ada", Permissions(egress=True))
    ada.take()
    assert ada.say("egress", id=2, live=True)[0]["code"] == "not_found"
