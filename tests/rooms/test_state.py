"""Snapshots are values: equal by content, immutable, and able to travel."""

import dataclasses
import pickle

import pytest

from sfu.rooms.state import ParticipantState, PublicationState, RoomState, WaitingState
from sfu.rooms.track_description import TrackDescription
from tests.rooms.fakes import House
from tests.support.media_source import FakeSource


def snapshots() -> list[RoomState | ParticipantState | PublicationState | WaitingState]:
    house = House()
    ada = house.seat("ada", attributes={"hand": "up"})
    publication = house.room.publications.publish(ada, FakeSource(), TrackDescription(source="camera"))
    house.room.lobby_enabled = True
    return [house.room.state, ada.state, publication.state, house.wait("eve").state]


@pytest.mark.parametrize("number", range(4))
def test_snapshots_are_values(number: int) -> None:
    one, same = snapshots()[number], snapshots()[number]
    assert one is not same
    assert one == same == pickle.loads(pickle.dumps(one))
    for field in dataclasses.fields(one):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(one, field.name, None)
