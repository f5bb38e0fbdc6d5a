"""Snapshots are values: equal by content, immutable, and able to travel."""

import dataclasses
import pickle

import pytest

from sfu.rooms.state import ParticipantState, PublicationState, RoomState, WaitingState
from sfu.rooms.track_description import TrackDescription
from tests.rooms.fakes import RoomsFixture
from tests.support.media_source import FakeSource


def snapshots() -> list[RoomState | ParticipantState | PublicationState | WaitingState]:
    fixture = RoomsFixture()
    ada = fixture.join("ada", attributes={"hand": "up"})
    publication = fixture.room.publications.publish(ada, FakeSource(), TrackDescription(source="camera"))
    fixture.room.lobby_enabled = True
    return [fixture.room.state, ada.state, publication.state, fixture.wait("eve").state]


@pytest.mark.parametrize("number", range(4))
def test_snapshots_are_values(number: int) -> None:
    one, same = snapshots()[number], snapshots()[number]
    assert one is not same
    assert one == same == pickle.loads(pickle.dumps(one))
    for field in dataclasses.fields(one):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(one, field.name, None)
