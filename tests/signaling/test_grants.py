"""All video grants of LiveKit through a real verifier: honoured, refused, or ignored as documented."""

import re
from pathlib import Path
from typing import Any

import jwt
import pytest

from sfu.auth.grants import IGNORED_CLAIMS
from sfu.auth.tokens import Verifier
from sfu.errors import NotAuthorized
from sfu.rooms import Permissions
from sfu.rooms import Settings as RoomSettings
from tests.signaling.fakes import Client, World, offer_sdp

KEY = "a-secret-of-thirty-two-bytes-or-more"
NOW = 1_767_225_600
ROOT = Path(__file__).parents[2]
GRANTS = {
    "room", "roomJoin", "roomCreate", "roomList", "roomAdmin", "roomRecord", "canPublish", "canSubscribe", "canPublishData",
    "canPublishSources", "canUpdateOwnMetadata", "hidden", "recorder",
}  # fmt: skip
"""Grants of livekit/protocol auth/grants.go that take effect; `roomEgress` is our own."""


def join(world: World, identity: str, **video: Any) -> Client:
    """With a token of exactly these claims."""
    claims = {"iss": "key", "sub": identity, "exp": NOW + 3600, "video": {"room": "standup", "roomJoin": True, **video}}
    token = jwt.encode(claims, KEY, algorithm="HS256")
    world.tokens[token] = Verifier({"key": KEY}).verify(token, NOW)
    return world.join(token)


@pytest.fixture
async def world() -> World:
    world = World()
    world.join("ada")  # an admin: the room is there
    return world


def code(replies: list[dict[str, Any]]) -> str:
    return next((one["code"] for one in replies if one["type"] == "error"), "")


CHANGES: list[dict[str, Any]] = [
    {"name": "Eve"},
    {"metadata": "m"},
    {"attributes": {"hand": "up"}},
    {"attributes": {}},
    {"name": "Eve", "metadata": "m", "attributes": {"hand": "up"}},
]


@pytest.mark.parametrize("changes", CHANGES)
async def test_can_update_own_metadata(world: World, changes: dict[str, Any]) -> None:
    for number, value in enumerate((None, True, "absent")):
        video = {} if value == "absent" else {"canUpdateOwnMetadata": value}
        assert code(join(world, f"free-{number}", **video).say("metadata", id=2, **changes)) == ""
    bob = join(world, "bob", canUpdateOwnMetadata=False)
    [joined] = bob.take("joined")
    assert joined["permissions"]["update_metadata"] is False
    assert code(bob.say("metadata", id=2, **changes)) == "not_authorized"
    participant = world.rooms.participant("standup", "bob")
    assert (participant.name, participant.metadata, participant.attributes) == ("bob", "", {})


async def test_an_admin_without_it_may_not_either(world: World) -> None:
    bob = join(world, "bob", canUpdateOwnMetadata=False, roomAdmin=True)
    assert code(bob.say("metadata", id=2, name="Eve")) == "not_authorized"
    assert code(bob.say("room", id=3, metadata="of the room")) == ""


async def test_without_it_the_join_says_nothing_about_oneself(world: World) -> None:
    claims = {"iss": "key", "sub": "bob", "exp": NOW + 3600, "attributes": {"role": "guest"}}
    video = {"room": "standup", "roomJoin": True, "canUpdateOwnMetadata": False}
    token = jwt.encode({**claims, "video": video}, KEY, algorithm="HS256")
    world.tokens[token] = Verifier({"key": KEY}).verify(token, NOW)
    world.join(token, name="Eve", attributes={"role": "host", "hand": "up"})
    participant = world.rooms.participant("standup", "bob")
    assert (participant.name, participant.attributes) == ("bob", {"role": "guest"})


async def test_an_operator_gives_and_takes_it(world: World) -> None:
    bob = join(world, "bob")
    world.rooms.set_permissions("standup", "bob", Permissions(update_metadata=False))
    assert bob.take("permissions")[0]["permissions"]["update_metadata"] is False
    assert code(bob.say("metadata", id=2, name="Eve")) == "not_authorized"
    world.rooms.update_participant("standup", "bob", display_name="Robert")
    assert world.rooms.participant("standup", "bob").name == "Robert"
    world.rooms.set_permissions("standup", "bob", Permissions())
    assert code(bob.say("metadata", id=3, name="Bob")) == ""


def publish(client: Client, source: str = "microphone") -> str:
    return code(client.say("publish", id=9, sdp=offer_sdp("audio"), tracks=[{"mid": "0", "source": source}]))


async def test_can_publish(world: World) -> None:
    assert publish(join(world, "free")) == ""
    bob = join(world, "bob", canPublish=False)
    assert publish(bob) == "not_authorized"
    assert code(bob.say("chat", id=3, text="x")) == "not_authorized"  # canPublishData follows it
    eve = join(world, "eve", canPublish=False, canPublishData=True)
    assert code(eve.say("chat", id=3, text="x")) == ""


async def test_can_publish_data(world: World) -> None:
    bob = join(world, "bob", canPublishData=False)
    assert code(bob.say("chat", id=3, text="x")) == "not_authorized"
    assert code(bob.say("data", id=4, payload="x")) == "not_authorized"
    assert publish(bob) == ""


@pytest.mark.parametrize("sources", [["camera"], ["CAMERA"], ["screen_share"], ["a source of tomorrow"]])
async def test_can_publish_sources(world: World, sources: list[str]) -> None:
    assert publish(join(world, "bob", canPublishSources=sources)) == "not_authorized"
    assert publish(join(world, "eve", canPublishSources=[*sources, "microphone"])) == ""
    assert publish(join(world, "all", canPublishSources=[])) == ""


async def test_can_subscribe(world: World) -> None:
    free, bob = join(world, "free"), join(world, "bob", canSubscribe=False)
    eve = join(world, "eve")
    for each in (free, bob):
        each.take()
    publish(eve)
    assert "offer" in [one["type"] for one in free.take()]
    assert "offer" not in [one["type"] for one in bob.take()]
    track = next(iter(world.rooms.participant("standup", "eve").publications))
    assert code(bob.say("subscribe", id=5, tracks=[{"track": track}])) == "not_authorized"


@pytest.mark.parametrize(
    "video",
    [{"roomJoin": False}, {"roomJoin": None}, {"room": ""}],
)
async def test_room_join(world: World, video: dict[str, Any]) -> None:
    try:
        [reply] = join(world, "bob", **video).take()
    except NotAuthorized:
        return  # the claim itself is malformed
    assert (reply["type"], reply["code"]) == ("error", "not_authorized")


async def test_room_is_the_only_room(world: World) -> None:
    [joined] = join(world, "bob", room="elsewhere", roomCreate=True).take("joined")
    assert joined["room"]["name"] == "elsewhere"


async def test_room_admin(world: World) -> None:
    bob, eve = join(world, "bob"), join(world, "eve", roomAdmin=True)
    for request in (
        {"type_": "room", "locked": True},
        {"type_": "kick", "participant": eve.id},
        {"type_": "admit", "participant": "PA_x"},
        {"type_": "deny", "participant": "PA_x"},
    ):
        assert code(bob.say(id=2, **request)) == "not_authorized", request
    assert code(eve.say("room", id=2, locked=True)) == ""


async def test_room_record_and_egress(world: World) -> None:
    bob = join(world, "bob")
    assert code(bob.say("egress", id=2, recording=True)) == "not_authorized"
    assert code(bob.say("egress", id=3, live=True)) == "not_authorized"
    eve = join(world, "eve", roomRecord=True)
    assert code(eve.say("egress", id=2, recording=True)) == "not_found"  # this server makes none
    assert code(eve.say("egress", id=3, live=True)) == "not_authorized"


async def test_hidden_and_recorder(world: World) -> None:
    bob = join(world, "bob")
    bob.take()
    ghost = join(world, "ghost", hidden=True, recorder=True)
    assert bob.take() == []
    assert publish(ghost) == "not_authorized"
    assert code(ghost.say("chat", id=3, text="x")) == "not_authorized"
    assert code(ghost.say("metadata", id=4, name="Ghost")) == ""
    assert bob.take() == []
    [joined] = join(world, "eve").take("joined")
    assert "ghost" not in [one["identity"] for one in joined["participants"]]


async def test_claims_of_features_that_are_not_there_grant_nothing(world: World) -> None:
    bob = join(world, "bob", **dict.fromkeys(IGNORED_CLAIMS, True))
    participant = world.rooms.participant("standup", "bob")
    assert participant.permissions == Permissions()
    bob.take()
    assert code(bob.say("room", id=2, locked=True)) == "not_authorized"


def test_the_documentation_names_every_grant() -> None:
    text = (ROOT / "sfu" / "OPERATIONS.md").read_text(encoding="utf-8")
    table = text.split("## Access tokens")[1].split("## ")[0]
    named = set(re.findall(r"`(?:video\.)?(\w+)`", table))
    assert named >= GRANTS | set(IGNORED_CLAIMS)


@pytest.mark.parametrize(("video", "expected"), [({}, "not_found"), ({"roomCreate": True}, "")])
async def test_room_create(video: dict[str, Any], expected: str) -> None:
    world = World(rooms=RoomSettings(create_on_join=False))
    assert code(join(world, "bob", room="new", **video).take()) == expected
