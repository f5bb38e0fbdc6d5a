"""Random actions on a mirrored room, with messages in flight, cut links and nodes that fail: all nodes agree afterwards."""

import os
import random
from contextlib import suppress

import pytest

from sfu.errors import RemoteError
from sfu.rooms.lobby import WaitingParticipant
from sfu.rooms.participant import Participant
from sfu.rooms.permissions import Permissions
from tests.rooms.fakes import FakeSink
from tests.rooms.mirror.nodes import MirroredRoom, SimulatedNode, view

SEEDS = int(os.environ.get("SCHEDULES", "300"))
STEPS = 60


class Actor:
    """Chooses and runs one action."""

    def __init__(self, room: MirroredRoom, seed: int, *, failures: bool = True) -> None:
        self.failures = failures
        self.room = room
        self.random = random.Random(seed)
        self.people = 0
        self.waiting: list[tuple[SimulatedNode, WaitingParticipant]] = []

    def step(self) -> None:
        room, chance = self.room, self.random.random()
        if chance < 0.45 and room.links:
            room.deliver(self.random.choice(list(room.links)), self.random.choice(["up", "down"]))
            return
        node = self.random.choice(room.nodes)
        served = node.participants()
        if chance < 0.55 or not served:
            self.join(node)
        elif chance < 0.57:
            if self.failures:
                self.fail()
        elif chance < 0.59 and room.edges:
            room.attach(self.random.choice(list(room.edges.values())))
        else:
            with suppress(RemoteError):  # refused like a request of a client
                self.act(node, self.random.choice(served))

    def join(self, node: SimulatedNode) -> None:
        self.people += 1
        identity = f"person {self.random.randint(1, 6)}"
        options = {"admin": self.random.random() < 0.4, "hidden": self.random.random() < 0.1}
        if node.mirror is None:
            with suppress(RemoteError):
                self.room.join(node, identity, **options)
            return
        self.room.request(node, identity, **options)
        self.take(node)

    def take(self, node: SimulatedNode) -> None:
        """The clients of answered joins come in, or have gone meanwhile."""
        assert node.mirror is not None
        for request in [one for one in node.joins if node.mirror.answered(one)]:
            node.joins.remove(request)
            if self.random.random() < 0.15:
                node.mirror.abandon(request)
                continue
            with suppress(RemoteError):
                node.mirror.take(request, FakeSink())

    def fail(self) -> None:
        room = self.room
        if len(room.edges) < 2:
            return
        if self.random.random() < 0.5:
            room.fail_edge(self.random.choice(list(room.edges)))
        else:
            room.fail_home(self.random.choice(list(room.edges)))

    def act(self, node: SimulatedNode, me: Participant) -> None:
        room, choose = node.room, self.random.choice
        others = [one for one in room.members if one is not me]
        tracks = [track for one in room.members for track in one.publications.values()]
        match choose(
            [
                "publish",
                "publish",
                "unpublish",
                "mute",
                "mute",
                "name",
                "chat",
                "data",
                "leave",
                "kick",
                "room",
                "lobby",
                "permit",
            ]
        ):
            case "publish" if me.permissions.publish and not me.permissions.hidden:
                node.publish(me, choose(["camera", "microphone"]))
            case "unpublish" if me.publications:
                room.publications.unpublish(choose(list(me.publications.values())))
            case "mute" if tracks:
                track = choose(tracks)
                room.moderation.mute(me, track.id, self.random.random() < 0.6)
            case "name":
                room.moderation.update_participant(me, name=f"name {self.random.random()}", by=me)
            case "chat":
                room.messages.send_chat(
                    me, f"text {self.random.random()}", choose(["", choose(others).id]) if others else ""
                )
            case "data":
                room.messages.send_data(me, "topic", "payload", keep=self.random.random() < 0.5)
            case "leave":
                room.leave(me)
            case "kick" if others:
                room.moderation.kick(me, choose(others).id)
            case "room":
                room.moderation.update(
                    me,
                    locked=self.random.random() < 0.1,
                    lobby=self.random.random() < 0.3,
                    metadata=str(self.random.random()),
                )
            case "lobby" if len(room.lobby):
                waiting = choose(list(room.lobby))
                choose([room.moderation.admit, room.moderation.deny])(me, waiting.id)
            case "permit" if room.members.home is None and others:
                member = choose([one for one in room.members if not one.permissions.hidden] or [me])
                room.moderation.set_permissions(
                    member,
                    Permissions(
                        admin=self.random.random() < 0.5,
                        publish=self.random.random() < 0.7,
                        hidden=member.permissions.hidden,
                    ),
                )


@pytest.mark.parametrize("seed", range(SEEDS))
def test_all_nodes_agree_when_the_messages_have_arrived(seed: int) -> None:
    room = MirroredRoom(edges=3, max_participants=8)
    actor = Actor(room, seed)
    for _ in range(STEPS):
        actor.step()
    room.deliver_all()
    for node in list(room.edges.values()):
        actor.take(node)
    room.deliver_all()
    expected = view(room.home)
    for node in room.edges.values():
        assert view(node) == expected, node.name
        shadows = {track for one in node.room.members if one.shadow for track in one.publications}
        assert set(node.relay.open_tracks) == shadows, "media of other nodes are open exactly while they are published"
        assert node.mirror is not None
        assert node.mirror.waiting <= {one.id for one in room.home.room.lobby}, "the home knows who waits"
    served = [one.id for node in room.nodes for one in node.participants()]
    away = [one.id for one in room.home.room.away]
    assert len(served) == len(set(served)), "a participant is served by one node"
    assert {one.id for one in room.home.room.members} == {*served, *away}


@pytest.mark.parametrize("seed", range(SEEDS // 3))
def test_both_sides_of_a_partition_agree_after_it(seed: int) -> None:
    room = MirroredRoom(edges=2, max_participants=20)
    actor = Actor(room, seed, failures=False)
    for _ in range(STEPS // 2):
        actor.step()
    old, _ = room.partition("edge 1")
    other = MirroredRoom.of(old, room)
    actor.room = other
    for _ in range(STEPS // 3):
        actor.step()
    actor.room = room
    for _ in range(STEPS // 3):
        actor.step()
    locked = old.room.locked or room.home.room.locked
    written = {entry.id for node in (old, room.home) for entry in node.room.messages.history()[0] if not entry.to}
    room.heal(old)
    room.deliver_all()
    for node in list(room.edges.values()):
        actor.take(node)
    room.deliver_all()
    for node in room.edges.values():
        assert view(node) == view(room.home), node.name
    assert room.home.room.locked == locked, "a lock of either side holds"
    assert {entry.id for entry in room.home.room.messages.history()[0] if not entry.to} == written
    served = [one.id for node in room.nodes for one in node.participants()]
    assert len(served) == len(set(served))
