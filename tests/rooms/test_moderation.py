"""Who may moderate what, and what others see of it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from sfu.errors import BadRequest, NotAuthorized, NotFound
from sfu.rooms.moderation import ATTRIBUTE_LIMIT
from sfu.rooms.observer import Moderated, Observation, RoomSummary
from sfu.rooms.publication import Publication
from sfu.rooms.registry import Rooms
from sfu.rooms.settings import Settings
from sfu.rooms.track_description import TrackDescription
from tests.rooms.fakes import FakeSink, RoomsFixture, counting_ids, profile, sink_of
from tests.support.media_source import FakeSource


class ObservedRooms(RoomsFixture):
    """A fixture that keeps the observed moderation: action, identity of the admin, identity of the participant."""

    def __init__(self) -> None:
        super().__init__()
        self.moderated: list[tuple[str, str, str]] = []
        self.rooms = Rooms(Settings(), counting_ids(), lambda: self.time, self.observe)

    def observe(self, summary: RoomSummary, observation: Observation) -> None:
        if isinstance(observation, Moderated):
            participant = observation.participant
            self.moderated.append((observation.action, observation.by, participant.identity if participant else ""))


@pytest.fixture
def fixture() -> ObservedRooms:
    return ObservedRooms()


def camera_of(fixture: RoomsFixture, identity: str) -> Publication:
    owner = fixture.room.members.find_by_identity(identity)
    assert owner is not None
    return fixture.room.publications.publish(owner, FakeSource(), TrackDescription(source="camera"))


def test_participants_without_the_admin_permission_are_refused(fixture: ObservedRooms) -> None:
    bob, ada = fixture.join("bob"), fixture.join("ada", admin=True)
    track = camera_of(fixture, "ada").id
    fixture.room.lobby_enabled = True
    eve = fixture.wait("eve")
    moderation = fixture.room.moderation
    fixture.moderated.clear()
    calls: list[Callable[[], None]] = [
        lambda: moderation.kick(bob, ada.id),
        lambda: moderation.kick(bob, "PA_unknown"),
        lambda: moderation.mute(bob, track, True),
        lambda: moderation.mute(bob, track, False),
        lambda: moderation.mute(bob, "TR_unknown", True),
        lambda: moderation.admit(bob, eve.id),
        lambda: moderation.deny(bob, eve.id),
        lambda: moderation.update(bob, locked=True),
        lambda: moderation.update(bob),
    ]
    for call in calls:
        with pytest.raises(NotAuthorized):
            call()
    assert fixture.moderated == []
    assert len(fixture.room.lobby) == 1
    assert not fixture.room.locked


@pytest.mark.parametrize("by_operator", [False, True])
def test_targets_that_do_not_exist_are_reported(fixture: ObservedRooms, by_operator: bool) -> None:
    ada = fixture.join("ada", admin=True)
    actor, moderation = (None if by_operator else ada), fixture.room.moderation
    for call in (moderation.kick, moderation.admit, moderation.deny):
        with pytest.raises(NotFound):
            call(actor, "PA_unknown")
    with pytest.raises(NotFound):
        moderation.mute(actor, "TR_unknown", True)
    assert fixture.moderated == []


def test_owners_unmute_their_tracks_and_admins_only_mute(fixture: ObservedRooms) -> None:
    ada, bob = fixture.join("ada", admin=True), fixture.join("bob")
    publication, moderation = camera_of(fixture, "bob"), fixture.room.moderation
    moderation.mute(bob, publication.id, True)
    moderation.mute(bob, publication.id, False)
    assert not publication.muted
    for actor in (ada, None):
        moderation.mute(actor, publication.id, True)
        with pytest.raises(NotAuthorized):
            moderation.mute(actor, publication.id, False)
        moderation.mute(bob, publication.id, False)
    assert fixture.moderated == [("track_muted", "ada", "bob"), ("track_muted", "", "bob")]


def test_admins_unmute_their_own_tracks(fixture: ObservedRooms) -> None:
    ada = fixture.join("ada", admin=True)
    publication = camera_of(fixture, "ada")
    fixture.room.moderation.mute(ada, publication.id, True)
    fixture.room.moderation.mute(ada, publication.id, False)
    assert not publication.muted
    assert fixture.moderated == []


def test_only_the_removed_participant_sees_the_reason(fixture: ObservedRooms) -> None:
    ada, bob = fixture.join("ada", admin=True), fixture.join("bob")
    fixture.room.moderation.kick(ada, bob.id, "spam")
    assert sink_of(bob).removal == ("kicked", "You were removed from the room: spam")
    assert sink_of(ada).last.reason == "kicked"
    assert fixture.moderated == [("participant_removed", "ada", "bob")]


def test_waiting_participants_are_admitted_denied_and_removed(fixture: ObservedRooms) -> None:
    ada = fixture.join("ada", admin=True)
    fixture.room.lobby_enabled = True
    eve, mallory, oscar = fixture.wait("eve"), fixture.wait("mallory"), fixture.wait("oscar")
    fixture.moderated.clear()
    moderation = fixture.room.moderation
    moderation.admit(ada, eve.id)
    moderation.deny(ada, mallory.id)
    moderation.kick(ada, oscar.id)
    assert sink_of(eve).participant is fixture.room.members.find_by_identity("eve")
    assert sink_of(mallory).removal == ("denied", "You were not let in.")
    assert sink_of(oscar).removal == ("kicked", "You were removed from the room.")
    assert sink_of(ada).last.waiting == ()
    assert fixture.moderated == [
        ("participant_admitted", "ada", "eve"),
        ("participant_denied", "ada", "mallory"),
        ("participant_removed", "ada", "oscar"),
    ]
    with pytest.raises(NotFound):
        moderation.admit(ada, eve.id)


def test_updates_that_change_nothing_are_silent(fixture: ObservedRooms) -> None:
    ada = fixture.join("ada", admin=True)
    moderation = fixture.room.moderation
    moderation.update(ada, metadata="m", locked=True)
    assert sink_of(ada).take() == ["RoomUpdated"]
    moderation.update(ada)
    moderation.update(ada, metadata="m", locked=True, lobby=False)
    assert sink_of(ada).take() == []
    assert (fixture.room.metadata, fixture.room.locked, fixture.room.lobby_enabled) == ("m", True, False)
    assert fixture.moderated == [("room_updated", "ada", "")]


def test_disabling_the_lobby_of_a_locked_room_admits_the_waiting(fixture: ObservedRooms) -> None:
    ada = fixture.join("ada", admin=True)
    moderation = fixture.room.moderation
    moderation.update(ada, lobby=True)
    eve = fixture.wait("eve")
    fixture.room.locked = True
    moderation.update(ada, lobby=False)
    assert sink_of(eve).participant is not None
    assert sink_of(eve).removal is None


@pytest.mark.parametrize("hidden", [False, True])
def test_changed_permissions_go_to_the_participant_and_admin_changes_to_all(
    fixture: ObservedRooms, hidden: bool
) -> None:
    ada, bob = fixture.join("ada", hidden=hidden), fixture.join("bob")
    sink_of(ada).take()
    moderation = fixture.room.moderation
    moderation.set_permissions(ada, ada.permissions)
    assert sink_of(ada).take() == []
    moderation.set_permissions(ada, replace(ada.permissions, record=True))
    assert (sink_of(ada).take(), sink_of(bob).take()) == (["PermissionsChanged"], [])
    moderation.set_permissions(ada, replace(ada.permissions, admin=True))
    public = [] if hidden else ["ParticipantUpdated"]
    assert (sink_of(ada).take(), sink_of(bob).take()) == (["PermissionsChanged", *public], public)
    assert fixture.moderated == [("participant_permissions_changed", "", "ada")] * 2
    with pytest.raises(NotAuthorized):
        moderation.set_permissions(ada, replace(ada.permissions, hidden=not hidden))
    assert ada.permissions.hidden is hidden


def test_publications_that_are_no_longer_allowed_end(fixture: ObservedRooms) -> None:
    ada, bob = fixture.join("ada"), fixture.join("bob")
    camera_of(fixture, "ada")
    for participant in (ada, bob):
        sink_of(participant).take()
    fixture.room.moderation.set_permissions(ada, replace(ada.permissions, publish=False))
    assert ada.publications == {}
    assert sink_of(ada).take() == ["TrackUnpublished", "PermissionsChanged"]
    assert sink_of(bob).take() == ["TrackUnpublished"]


def test_participants_update_their_own_fields_if_their_token_allows_it(fixture: ObservedRooms) -> None:
    ada, bob = fixture.join("ada", update_metadata=False), fixture.join("bob", attributes={"hand": "up", "seat": "2"})
    sink_of(ada).take()
    update = fixture.room.moderation.update_participant
    with pytest.raises(NotAuthorized):
        update(ada, name="Countess", by=ada)
    assert ada.name == "ada"
    update(ada, name="Countess", by=None)
    assert ada.name == "Countess"
    assert sink_of(ada).take() == sink_of(bob).take() == ["ParticipantUpdated"]
    update(bob, metadata="m", attributes={"hand": "", "seat": "3"}, by=bob)
    assert (bob.name, bob.metadata, bob.attributes) == ("bob", "m", {"seat": "3"})
    assert (sink_of(ada).take(), sink_of(bob).take()) == (["ParticipantUpdated"], [])
    update(bob, metadata="m", attributes={"hand": ""}, by=bob)
    assert sink_of(ada).take() == []


def test_updates_of_hidden_participants_stay_private(fixture: ObservedRooms) -> None:
    ada, spy = fixture.join("ada"), fixture.join("spy", hidden=True)
    update = fixture.room.moderation.update_participant
    update(spy, name="Smiley", by=None)
    assert (sink_of(ada).take(), sink_of(spy).take()) == ([], ["ParticipantUpdated"])
    update(spy, name="Karla", by=spy)
    assert (sink_of(ada).take(), sink_of(spy).take()) == ([], [])


def test_attributes_are_bounded(fixture: ObservedRooms) -> None:
    ada = fixture.join("ada")
    update = fixture.room.moderation.update_participant
    update(ada, attributes={str(number): "x" for number in range(ATTRIBUTE_LIMIT)}, by=ada)
    update(ada, attributes={"0": "", "more": "x"}, by=ada)
    with pytest.raises(BadRequest):
        update(ada, name="Ada", attributes={"one too many": "x"}, by=ada)
    assert len(ada.attributes) == ATTRIBUTE_LIMIT
    assert ada.name == "ada", "a refused update changes nothing"
    update(ada, attributes={"empty": ""}, by=ada)


def test_an_operator_moderates_without_an_actor(fixture: ObservedRooms) -> None:
    bob = fixture.join("bob")
    fixture.room.moderation.update(None, lobby=True)
    eve = fixture.rooms.join("standup", profile("eve"), FakeSink())
    fixture.moderated.clear()
    fixture.room.moderation.admit(None, eve.id)
    fixture.room.moderation.kick(None, bob.id)
    assert fixture.moderated == [("participant_admitted", "", "eve"), ("participant_removed", "", "bob")]
