"""The rooms of this process for the membership: snapshots as bytes."""

import msgspec
import pytest

from sfu.cluster.room_host import LocalRooms
from sfu.rooms.room import Room
from tests.rooms.fakes import RoomsFixture, sink_of


def test_a_room_passes_from_one_node_to_another() -> None:
    here, there = RoomsFixture(), RoomsFixture()
    here.join("ada")
    snapshot = LocalRooms(here.rooms).take("standup")
    assert snapshot is not None
    host = LocalRooms(there.rooms)
    host.restore("standup", snapshot)
    assert host.rooms() == {"standup"}
    assert there.rooms.find("standup").state == here.room.state


class Egress:
    """An EgressState."""

    def __init__(self) -> None:
        self.restored: list[tuple[str, bytes]] = []

    def snapshot(self, room: str) -> bytes:
        return b"wanted"

    def restore(self, room: Room, snapshot: bytes) -> None:
        self.restored.append((room.name, snapshot))


def test_the_egress_of_a_room_passes_with_it() -> None:
    here, there = RoomsFixture(), RoomsFixture()
    here.join("ada")
    host, egress = LocalRooms(here.rooms), Egress()
    host.egress = egress
    snapshot = host.take("standup")
    assert snapshot is not None
    LocalRooms(there.rooms).restore("standup", snapshot)  # a node without egress
    there.rooms.delete("standup")
    other = LocalRooms(there.rooms)
    other.egress = egress
    other.restore("standup", snapshot)
    assert egress.restored == [("standup", b"wanted")]


def test_an_ended_room_has_no_snapshot() -> None:
    assert LocalRooms(RoomsFixture().rooms).take("standup") is None


def test_the_copy_of_a_node_that_lost_the_room_asks_its_clients_to_resume() -> None:
    fixture = RoomsFixture()
    ada = fixture.join("ada")
    host = LocalRooms(fixture.rooms)
    host.lost("standup")
    host.lost("standup")
    assert sink_of(ada).removal == ("moved", "The meeting continues on another server.")
    assert host.rooms() == set()


@pytest.mark.parametrize("room", ["standup", "other"])
def test_snapshots_that_cannot_be_restored_are_refused(room: str) -> None:
    fixture = RoomsFixture()
    fixture.join("ada")
    host = LocalRooms(fixture.rooms)
    snapshot = host.take("standup")
    assert snapshot is not None
    with pytest.raises(ValueError, match=r"exists already|another room"):
        host.restore(room, snapshot)
    for malformed in (b"", b"\xc1", msgspec.msgpack.encode({"state": 1}), snapshot[:-3]):
        with pytest.raises(ValueError, match="malformed"):
            host.restore(room, malformed)
