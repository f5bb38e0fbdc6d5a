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
from tests.rooms.fakes import FakeSink, House, counting_ids, profile, sink_of
from tests.support.media_source import FakeSource


class ObservedHouse(House):
    """A house that keeps the observed moderation: action, identity of the admin, identity of the participant."""

    def __init__(self) -> None:
        super().__init__()
        self.moderated: list[tuple[str, str, str]] = []
        self.rooms = Rooms(Settings(), counting_ids(), lambda: self.time, self.observe)

    def observe(self, summary: RoomSummary, observation: Observation) -> None:
        if isinstance(observation, Moderated):
            participant = observation.participant
            self.moderated.append((observation.action, observation.by, participant.identity if participant else ""))


@pytest.fixture
def house() -> ObservedHouse:
    return ObservedHouse()


def camera_of(house: House, identity: str) -> Publication:
    owner = house.room.members.find_by_identity(identity)
    assert owner is not None
    return house.room.publications.publish(owner, FakeSource(), TrackDescription(source="camera"))


def test_participants_without_the_admin_permission_are_refused(house: ObservedHouse) -> None:
    bob, ada = house.seat("bob"), house.seat("ada", admin=True)
    track = camera_of(house, "ada").id
    house.room.lobby_enabled = True
    eve = house.wait("eve")
    moderation = house.room.moderation
    house.moderated.clear()
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
    assert house.moderated == []
    assert len(house.room.lobby) == 1
    assert not house.room.locked


@pytest.mark.parametrize("by_operator", [False, True])
def test_targets_that_do_not_exist_are_reported(house: ObservedHouse, by_operator: bool) -> None:
    ada = house.seat("ada", admin=True)
    actor, moderation = (None if by_operator else ada), house.room.moderation
    for call in (moderation.kick, moderation.admit, moderation.deny):
        with pytest.raises(NotFound):
            call(actor, "PA_unknown")
    with pytest.raises(NotFound):
        moderation.mute(actor, "TR_unknown", True)
    assert house.moderated == []


def test_owners_unmute_their_tracks_and_admins_only_mute(house: ObservedHouse) -> None:
    ada, bob = house.seat("ada", admin=True), house.seat("bob")
    publication, moderation = camera_of(house, "bob"), house.room.moderation
    moderation.mute(bob, publication.id, True)
    moderation.mute(bob, publication.id, False)
    assert not publication.muted
    for actor in (ada, None):
        moderation.mute(actor, publication.id, True)
        with pytest.raises(NotAuthorized):
            moderation.mute(actor, publication.id, False)
        moderation.mute(bob, publication.id, False)
    assert house.moderated == [("track_muted", "ada", "bob"), ("track_muted", "", "bob")]


def test_admins_unmute_their_own_tracks(house: ObservedHouse) -> None:
    ada = house.seat("ada", admin=True)
    publication = camera_of(house, "ada")
    house.room.moderation.mute(ada, publication.id, True)
    house.room.moderation.mute(ada, publication.id, False)
    assert not publication.muted
    assert house.moderated == []


def test_only_the_removed_participant_sees_the_reason(house: ObservedHouse) -> None:
    ada, bob = house.seat("ada", admin=True), house.seat("bob")
    house.room.moderation.kick(ada, bob.id, "spam")
    assert sink_of(bob).removal == ("kicked", "You were removed from the room: spam")
    assert sink_of(ada).last.reason == "kicked"
    assert house.moderated == [("participant_removed", "ada", "bob")]


def test_waiting_participants_are_admitted_denied_and_removed(house: ObservedHouse) -> None:
    ada = house.seat("ada", admin=True)
    house.room.lobby_enabled = True
    eve, mallory, oscar = house.wait("eve"), house.wait("mallory"), house.wait("oscar")
    house.moderated.clear()
    moderation = house.room.moderation
    moderation.admit(ada, eve.id)
    moderation.deny(ada, mallory.id)
    moderation.kick(ada, oscar.id)
    assert sink_of(eve).participant is house.room.members.find_by_identity("eve")
    assert sink_of(mallory).removal == ("denied", "You were not let in.")
    assert sink_of(oscar).removal == ("kicked", "You were removed from the room.")
    assert sink_of(ada).last.waiting == ()
    assert house.moderated == [
        ("participant_admitted", "ada", "eve"),
        ("participant_denied", "ada", "mallory"),
        ("participant_removed", "ada", "oscar"),
    ]
    with pytest.raises(NotFound):
        moderation.admit(ada, eve.id)


def test_updates_that_change_nothing_are_silent(house: ObservedHouse) -> None:
    ada = house.seat("ada", admin=True)
    moderation = house.room.moderation
    moderation.update(ada, metadata="m", locked=True)
    assert sink_of(ada).take() == ["RoomUpdated"]
    moderation.update(ada)
    moderation.update(ada, metadata="m", locked=True, lobby=False)
    assert sink_of(ada).take() == []
    assert (house.room.metadata, house.room.locked, house.room.lobby_enabled) == ("m", True, False)
    assert house.moderated == [("room_updated", "ada", "")]


def test_disabling_the_lobby_of_a_locked_room_admits_the_waiting(house: ObservedHouse) -> None:
    ada = house.seat("ada", admin=True)
    moderation = house.room.moderation
    moderation.update(ada, lobby=True)
    eve = house.wait("eve")
    house.room.locked = True
    moderation.update(ada, lobby=False)
    assert sink_of(eve).participant is not None
    assert sink_of(eve).removal is None


@pytest.mark.parametrize("hidden", [False, True])
def test_changed_permissions_go_to_the_participant_and_admin_changes_to_all(house: ObservedHouse, hidden: bool) -> None:
    ada, bob = house.seat("ada", hidden=hidden), house.seat("bob")
    sink_of(ada).take()
    moderation = house.room.moderation
    moderation.set_permissions(ada, ada.permissions)
    assert sink_of(ada).take() == []
    moderation.set_permissions(ada, replace(ada.permissions, record=True))
    assert (sink_of(ada).take(), sink_of(bob).take()) == (["PermissionsChanged"], [])
    moderation.set_permissions(ada, replace(ada.permissions, admin=True))
    public = [] if hidden else ["ParticipantUpdated"]
    assert (sink_of(ada).take(), sink_of(bob).take()) == (["PermissionsChanged", *public], public)
    assert house.moderated == [("participant_permissions_changed", "", "ada")] * 2
    with pytest.raises(NotAuthorized):
        moderation.set_permissions(ada, replace(ada.permissions, hidden=not hidden))
    assert ada.permissions.hidden is hidden


def test_publications_that_are_no_longer_allowed_end(house: ObservedHouse) -> None:
    ada, bob = house.seat("ada"), house.seat("bob")
    camera_of(house, "ada")
    for seat in (ada, bob):
        sink_of(seat).take()
    house.room.moderation.set_permissions(ada, replace(ada.permissions, publish=False))
    assert ada.publications == {}
    assert sink_of(ada).take() == ["TrackUnpublished", "PermissionsChanged"]
    assert sink_of(bob).take() == ["TrackUnpublished"]


def test_participants_update_their_own_fields_if_their_token_allows_it(house: ObservedHouse) -> None:
    ada, bob = house.seat("ada", update_metadata=False), house.seat("bob", attributes={"hand": "up", "seat": "2"})
    sink_of(ada).take()
    update = house.room.moderation.update_participant
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


def test_updates_of_hidden_participants_stay_private(house: ObservedHouse) -> None:
    ada, spy = house.seat("ada"), house.seat("spy", hidden=True)
    update = house.room.moderation.update_participant
    update(spy, name="Smiley", by=None)
    assert (sink_of(ada).take(), sink_of(spy).take()) == ([], ["ParticipantUpdated"])
    update(spy, name="Karla", by=spy)
    assert (sink_of(ada).take(), sink_of(spy).take()) == ([], [])


def test_attributes_are_bounded(house: ObservedHouse) -> None:
    ada = house.seat("ada")
    update = house.room.moderation.update_participant
    update(ada, attributes={str(number): "x" for number in range(ATTRIBUTE_LIMIT)}, by=ada)
    update(ada, attributes={"0": "", "more": "x"}, by=ada)
    with pytest.raises(BadRequest):
        update(ada, name="Ada", attributes={"one too many": "x"}, by=ada)
    assert len(ada.attributes) == ATTRIBUTE_LIMIT
    assert ada.name == "ada", "a refused update changes nothing"
    update(ada, attributes={"empty": ""}, by=ada)


def test_an_operator_moderates_without_an_actor(house: ObservedHouse) -> None:
    bob = house.seat("bob")
    house.room.moderation.update(None, lobby=True)
    eve = house.rooms.join("den", profile("eve"), FakeSink())
    house.moderated.clear()
    house.room.moderation.admit(None, eve.id)
    house.room.moderation.kick(None, bob.id)
    assert house.moderated == [("participant_admitted", "", "eve"), ("participant_removed", "", "bob")]
