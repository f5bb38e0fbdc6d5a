"""A room on several simulated nodes: ordered links that a test delivers message by message, and may cut."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sfu.ids import RoomName, TrackId
from sfu.rooms.lobby import WaitingParticipant
from sfu.rooms.mirror.edge import EdgeMirror
from sfu.rooms.mirror.home import HomeMirror
from sfu.rooms.mirror.messages import EdgeMessage, HomeMessage
from sfu.rooms.participant import Participant
from sfu.rooms.publication import Publication
from sfu.rooms.room import Room
from sfu.rooms.settings import Settings
from sfu.rooms.state import PublicationState
from sfu.rooms.track_description import TrackDescription, TrackSource
from tests.rooms.fakes import FakeSink, profile, sink_of
from tests.support.media_source import FakeSource

IDLE_TIMEOUT = 60.0


class FakeRelay:
    """RelayedMedia that counts what is open."""

    def __init__(self) -> None:
        self.open_tracks: dict[TrackId, FakeSource] = {}

    def open(self, publication: PublicationState, node: str) -> FakeSource:
        return self.open_tracks.setdefault(publication.id, FakeSource(publication.kind, publication.codec))

    def close_track(self, track: TrackId) -> None:
        self.open_tracks.pop(track, None)


@dataclass(eq=False)
class Link:
    up: deque[EdgeMessage] = field(default_factory=deque)
    down: deque[HomeMessage] = field(default_factory=deque)


class SimulatedNode:
    """A node with its copy of the room. `mirror`: its side of the link to the home, None at the home."""

    def __init__(self, name: str, ids: Callable[[str], str], clock: Callable[[], float], **settings: Any) -> None:
        self.name = name
        self.room = Room(RoomName("town-hall"), Settings(**settings), ids, clock)
        self.relay = FakeRelay()
        self.mirror: EdgeMirror | None = None
        self.joins: list[int] = []

    def participants(self) -> list[Participant]:
        """Those that this node serves."""
        return [one for one in self.room.members if not one.shadow and one.id not in set(self._away())]

    def _away(self) -> list[str]:
        return [one.id for one in self.room.away]

    def publish(self, owner: Participant, source: TrackSource = "camera") -> Publication:
        media = FakeSource(kind="audio" if source == "microphone" else "video")
        return self.room.publications.publish(owner, media, TrackDescription(source=source))


class MirroredRoom:
    """One home and some edges. Ids are unique over all nodes."""

    def __init__(self, edges: int = 2, **settings: Any) -> None:
        self._counts: dict[str, int] = {}
        self._time = 1_767_225_600.0
        self._requests = 0
        self.home = SimulatedNode("home", self.ids, self.clock, **settings)
        self.edges: dict[str, SimulatedNode] = {}
        self.links: dict[str, Link] = {}
        self.mirrors: dict[str, HomeMirror] = {}
        for number in range(1, edges + 1):
            self.attach(SimulatedNode(f"edge {number}", self.ids, self.clock, **settings))

    @classmethod
    def of(cls, home: SimulatedNode, whole: MirroredRoom) -> MirroredRoom:
        """One side of a partition: a home without edges."""
        side = cls(edges=0)
        side.home = home
        side._counts = whole._counts
        return side

    def ids(self, prefix: str) -> str:
        self._counts[prefix] = self._counts.get(prefix, 0) + 1
        return f"{prefix}_{self._counts[prefix]}"

    def clock(self) -> float:
        """Advances with each reading, so that the order of events is known."""
        self._time += 0.01
        return self._time

    def attach(self, node: SimulatedNode) -> None:
        """A node becomes an edge of the home, or its link starts again."""
        link = self.links[node.name] = Link()
        self.edges[node.name] = node
        known = self.mirrors.get(node.name)
        if known is None:
            self.mirrors[node.name] = HomeMirror(
                self.home.room, node.name, link.down.append, self.home.relay, IDLE_TIMEOUT
            )
        else:
            known.reconnect(link.down.append)
        if node.mirror is None:
            node.mirror = EdgeMirror(node.room, link.up.append, node.relay)
        else:
            node.mirror.reconnect(link.up.append)
        node.mirror.attach()

    def fail_home(self, successor: str) -> SimulatedNode:
        """The home is gone; an edge continues the room, and the others attach to it. Returns the old home."""
        old, self.home = self.home, self.edges.pop(successor)
        assert self.home.mirror is not None
        self.home.mirror.promote()
        self.home.mirror = None
        others = list(self.edges.values())
        self.links.clear()
        self.mirrors.clear()
        self.edges.clear()
        for node in others:
            self.attach(node)
        return old

    def partition(self, name: str) -> tuple[SimulatedNode, dict[str, SimulatedNode]]:
        """An edge does not reach the home and becomes the home of the room as well. Returns the old side: home and edges."""
        old = self.home, {key: node for key, node in self.edges.items() if key != name}
        for key in old[1]:
            del self.edges[key]
        self.fail_home(name)
        return old

    def heal(self, old: SimulatedNode) -> None:
        """The home with the older epoch attaches to the newer one."""
        snapshot = old.room.snapshot(IDLE_TIMEOUT)
        old.room.members.mirrors = ()
        for member in old.room.away:
            old.room.away.remove(member.id)
            old.room.leave(member, "timeout")
        link = self.links[old.name] = Link()
        self.edges[old.name] = old
        self.mirrors[old.name] = HomeMirror(self.home.room, old.name, link.down.append, self.home.relay, IDLE_TIMEOUT)
        old.mirror = EdgeMirror(old.room, link.up.append, old.relay)
        old.mirror.attach(snapshot)

    def fail_edge(self, name: str) -> None:
        del self.edges[name], self.links[name]
        self.mirrors.pop(name).detach()

    def join(self, node: SimulatedNode, identity: str, **fields: Any) -> Participant | WaitingParticipant:
        """Joins and delivers all messages."""
        if node.mirror is None:
            return node.room.join(profile(identity, **fields), FakeSink())
        request = self.request(node, identity, **fields)
        self.deliver_all()
        return node.mirror.take(request, FakeSink())

    def participant(self, node: SimulatedNode, identity: str, **fields: Any) -> Participant:
        entry = self.join(node, identity, **fields)
        assert isinstance(entry, Participant)
        self.deliver_all()
        return entry

    def request(self, node: SimulatedNode, identity: str, **fields: Any) -> int:
        """Sends a join to the home."""
        assert node.mirror is not None
        self._requests += 1
        node.mirror.enter(self._requests, profile(identity, **fields))
        node.joins.append(self._requests)
        return self._requests

    def deliver(self, name: str, direction: str) -> bool:
        """Delivers one message of a link. False: there is none."""
        link, edge = self.links[name], self.edges[name]
        if direction == "up" and link.up:
            self.mirrors[name].receive(link.up.popleft())
        elif direction == "down" and link.down:
            assert edge.mirror is not None
            edge.mirror.receive(link.down.popleft())
        else:
            return False
        return True

    def deliver_all(self) -> None:
        while any(self.deliver(name, way) for name in list(self.links) for way in ("up", "down")):
            pass

    @property
    def nodes(self) -> list[SimulatedNode]:
        return [self.home, *self.edges.values()]


def view(node: SimulatedNode) -> dict[str, object]:
    """The room as a participant of the node sees it. Hidden participants are known to their node and to the home only."""
    room = node.room
    states = [one.state for one in room.members.visible()]
    chat, data = room.messages.history()
    return {
        "room": room.state,
        "participants": {
            one.id: (one.identity, one.name, one.metadata, dict(one.attributes), one.permissions) for one in states
        },
        "publications": {track.id: track for one in states for track in one.publications},
        "chat": [entry for entry in chat if not entry.to],
        "data": data,
        "lobby": [waiting.state for waiting in room.lobby],
    }


def texts(participant: Participant) -> list[str]:
    """Names of the events that a participant got."""
    return [type(delivery.event).__name__ for delivery in sink_of(participant).deliveries]
