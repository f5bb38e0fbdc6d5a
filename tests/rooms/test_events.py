"""Events are values: they hold no live record and do not change after they were sent."""

import dataclasses
import pickle
from collections.abc import Mapping
from typing import Any

from sfu.rooms.events import Event
from sfu.rooms.track_description import TrackDescription
from tests.rooms.fakes import RoomsFixture, sink_of
from tests.support.media_source import FakeSource

ATOMS = (str, int, float, bool, bytes, type(None))


def foreign(value: Any) -> list[str]:
    """Types within a value that are neither atoms nor containers nor frozen dataclasses."""
    if isinstance(value, ATOMS):
        return []
    if isinstance(value, tuple):
        return [name for one in value for name in foreign(one)]
    if isinstance(value, Mapping):
        return [name for pair in value.items() for one in pair for name in foreign(one)]
    if dataclasses.is_dataclass(value) and value.__dataclass_params__.frozen:  # type: ignore[union-attr]  # not in typeshed
        return [name for one in dataclasses.fields(value) for name in foreign(getattr(value, one.name))]
    return [type(value).__name__]


def test_every_event_is_a_frozen_value() -> None:
    fixture = RoomsFixture()
    ada = fixture.join("ada", admin=True)
    bob = fixture.join("bob", attributes={"hand": "up"})
    publications = fixture.room.publications
    publication = publications.publish(bob, FakeSource(), TrackDescription(source="camera", name="front"))
    publications.update_description(publication, TrackDescription(source="camera", name="back"))
    publications.mute(publication, True, by=None)
    fixture.room.moderation.update_participant(bob, name="Bob", attributes={"hand": ""}, by=None)
    fixture.rooms.set_permissions("standup", "ada", dataclasses.replace(ada.permissions, record=True))
    fixture.room.messages.send_chat(bob, "hi")
    fixture.room.messages.send_data(bob, "topic", "payload")
    fixture.rooms.update("standup", lobby=True)
    fixture.wait("eve")
    publications.unpublish(publication)
    fixture.room.leave(bob)
    events = [delivery.event for delivery in sink_of(ada).deliveries]
    kinds = {type(event).__name__ for event in events}
    assert kinds == {kind.__name__ for kind in Event.__args__} - {"SpeakersChanged", "QualityChanged"}
    for event in events:
        assert foreign(event) == []
        assert pickle.loads(pickle.dumps(event)) == event


def test_an_event_keeps_the_state_of_its_time() -> None:
    fixture = RoomsFixture()
    ada, bob = fixture.join("ada"), fixture.join("bob", attributes={"hand": "up"})
    joined = sink_of(ada).last
    publication = fixture.room.publications.publish(bob, FakeSource(), TrackDescription(source="camera"))
    published = sink_of(ada).last
    fixture.room.publications.mute(publication, True, by=None)
    fixture.room.moderation.update_participant(bob, name="Robert", attributes={"hand": ""}, by=None)
    assert (joined.participant.name, joined.participant.publications) == ("bob", ())
    assert joined.participant.attributes == {"hand": "up"}
    assert not published.publication.muted
    assert bob.state.name == "Robert"
    assert bob.state.publications[0].muted


def test_the_state_is_the_same_object_until_something_changes() -> None:
    fixture = RoomsFixture()
    ada = fixture.join("ada")
    publication = fixture.room.publications.publish(ada, FakeSource(), TrackDescription(source="camera"))
    state = ada.state
    assert ada.state is state
    publication.muted = True
    assert ada.state != state
    assert ada.state.publications[0].muted
