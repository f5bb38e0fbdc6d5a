"""A client returns to a room that another node took over: its resume key is a ticket."""

from typing import Any

import pytest

from sfu.auth.tokens import Claims
from sfu.ids import ParticipantId
from tests.signaling.fakes import Client, World, offer_sdp


class Tickets:
    """ResumeKeys of a cluster, without encryption."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[ParticipantId, Claims]] = {}

    def make(self, participant: ParticipantId, claims: Claims) -> str:
        key = f"ticket{len(self.made)}"
        self.made[key] = (participant, claims)
        return key

    def open(self, key: str) -> tuple[ParticipantId, Claims] | None:
        return self.made.get(key)


@pytest.fixture
def tickets() -> Tickets:
    return Tickets()


def node(tickets: Tickets) -> World:
    world = World()
    world.context.resume_keys = tickets
    return world


def join(world: World, identity: str) -> tuple[Client, dict[str, Any]]:
    client = world.join(identity)
    (joined,) = client.take("joined")
    return client, joined


def take_over(old: World, tickets: Tickets) -> World:
    other = node(tickets)
    for _ in range(50):
        other.context.ids("")  # ids of two nodes differ
    other.rooms.restore(old.rooms.snapshot("standup"))
    return other


def publish(client: Client, **fields: Any) -> str:
    """Publishes a camera and returns its track id."""
    answer = client.say("publish", id=5, sdp=offer_sdp("video"), tracks=[{"mid": "0", "source": "camera", **fields}])
    (reply,) = [message for message in answer if message["type"] == "answer"]
    return str(reply["tracks"]["0"])


async def test_the_participant_keeps_its_id_and_others_see_no_change(tickets: Tickets) -> None:
    old = node(tickets)
    ada, ada_joined = join(old, "ada")
    _, bob_joined = join(old, "bob")
    ada.say("chat", id=2, text="Shall we start?")
    other = take_over(old, tickets)
    returned = other.client()
    (joined, *rest) = returned.say("join", id=1, resume=ada_joined["resume_key"], last=1)
    assert joined["rebuild"] is True
    assert joined.get("resumed", False) is False
    assert joined["participant"] == ada_joined["participant"]
    assert [each["id"] for each in joined["participants"]] == [bob_joined["participant"]["id"]]
    assert [entry["text"] for entry in joined["chat"]] == ["Shall we start?"]
    assert rest == []
    second = other.client()
    second.say("join", id=1, resume=bob_joined["resume_key"], last=1)
    assert returned.take() == []
    assert len(other.rooms.find("standup").members) == 2
    assert other.context.counters.rebuilds == 2
    assert joined["resume_key"] != ada_joined["resume_key"]


async def test_a_lost_socket_after_the_rebuild_resumes_the_new_session(tickets: Tickets) -> None:
    old = node(tickets)
    _, ada_joined = join(old, "ada")
    other = take_over(old, tickets)
    returned = other.client()
    (joined,) = returned.say("join", id=1, resume=ada_joined["resume_key"], last=0)
    returned.drop()
    (again, *_) = other.client().say("join", id=1, resume=joined["resume_key"], last=joined["n"])
    assert again["resumed"] is True
    assert again.get("rebuild", False) is False


async def test_a_track_keeps_its_id(tickets: Tickets) -> None:
    old = node(tickets)
    ada, ada_joined = join(old, "ada")
    _, bob_joined = join(old, "bob")
    track = publish(ada)
    other = take_over(old, tickets)
    first, second = other.client(), other.client()
    (joined,) = second.say("join", id=1, resume=bob_joined["resume_key"], last=0)
    assert [each["id"] for each in joined["participants"][0]["tracks"]] == [track]
    first.say("join", id=1, resume=ada_joined["resume_key"], last=0)
    # Of another participant: a new publication.
    assert publish(second, track=track) != track
    assert publish(first, track=track) == track
    (published,) = second.take("track_published")
    assert published["track"]["id"] == track
    # Bound already: a second publication does not take its id.
    assert publish(first, track=track) == track


async def test_an_unknown_key_and_one_of_a_participant_that_left_need_a_token(tickets: Tickets) -> None:
    old = node(tickets)
    _, ada_joined = join(old, "ada")
    join(old, "bob")
    other = take_over(old, tickets)
    other.rooms.kick("standup", "ada")
    for key in (ada_joined["resume_key"], "no-ticket"):
        (error,) = other.client().say("join", id=1, resume=key, last=0)
        assert error["code"] == "resume_failed"


async def test_a_revoked_token_does_not_return(tickets: Tickets) -> None:
    old = node(tickets)
    _, ada_joined = join(old, "ada")
    other = take_over(old, tickets)
    access = other.context.access
    other.context.access = type(access)(
        access.authenticate, access.revoke, is_revoked=lambda one: one.identity == "ada"
    )
    (error,) = other.client().say("join", id=1, resume=ada_joined["resume_key"], last=0)
    assert error["code"] == "resume_failed"


async def test_media_return_to_a_subscriber_that_returned_first(tickets: Tickets) -> None:
    old = node(tickets)
    ada, ada_joined = join(old, "ada")
    _, bob_joined = join(old, "bob")
    track = publish(ada)
    other = take_over(old, tickets)
    other.client().say("join", id=1, resume=bob_joined["resume_key"], last=0)
    subscriber = other.endpoint.subscriber(bob_joined["participant"]["id"])
    assert track not in subscriber.tracks
    returned = other.client()
    returned.say("join", id=1, resume=ada_joined["resume_key"], last=0)
    publish(returned, track=track)
    assert track in subscriber.tracks
