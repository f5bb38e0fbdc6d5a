"""Publications: permissions, limits, automatic subscriptions, mute and unpublish."""

from typing import Any

import pytest

from sfu.errors import AtCapacity, BadRequest, NotAuthorized, NotFound
from sfu.rooms.participant import Participant
from sfu.rooms.ports import SubscriptionSettings
from sfu.rooms.track_description import TrackDescription, TrackSource
from tests.rooms.fakes import FakeMedia, RoomsFixture, sink_of
from tests.support.media_source import FakeSource


@pytest.fixture
def fixture() -> RoomsFixture:
    return RoomsFixture(max_tracks=2, max_room_tracks=3)


CAMERA = TrackDescription(source="camera", width=1280, height=720)

CHECKS: list[tuple[dict[str, Any], list[TrackSource], type[Exception] | None]] = [
    ({}, ["camera", "microphone"], None),
    ({}, [], None),
    ({}, ["camera"] * 3, AtCapacity),
    ({"publish": False}, ["camera"], NotAuthorized),
    ({"publish": False}, [], NotAuthorized),
    ({"sources": ("microphone",)}, ["microphone"], None),
    ({"sources": ("microphone",)}, ["microphone", "camera"], NotAuthorized),
    ({"sources": ("microphone",)}, ["unknown"], NotAuthorized),
]


@pytest.mark.parametrize(("permissions", "sources", "error"), CHECKS)
def test_permissions_to_publish(
    fixture: RoomsFixture, permissions: dict[str, Any], sources: list[TrackSource], error: type[Exception] | None
) -> None:
    ada = fixture.join("ada", **permissions)
    if error is None:
        fixture.room.publications.check_publish(ada, sources)
    else:
        with pytest.raises(error):
            fixture.room.publications.check_publish(ada, sources)


def test_the_rooms_cap_counts_the_others(fixture: RoomsFixture) -> None:
    ada, bob = fixture.join("ada"), fixture.join("bob")
    publications = fixture.room.publications
    for _ in range(2):
        publications.publish(ada, FakeSource(), CAMERA)
    publications.check_publish(ada, ["camera", "camera"])
    publications.check_publish(bob, ["camera"])
    with pytest.raises(AtCapacity):
        publications.check_publish(bob, ["camera", "camera"])


@pytest.mark.parametrize(
    ("kind", "source", "good"),
    [
        ("video", "camera", True),
        ("audio", "camera", False),
        ("audio", "microphone", True),
        ("video", "microphone", False),
        ("audio", "screen_share_audio", True),
        ("video", "screen_share", True),
        ("audio", "unknown", True),
        ("video", "unknown", True),
    ],
)
def test_kinds_fit_sources(fixture: RoomsFixture, kind: str, source: TrackSource, good: bool) -> None:
    ada = fixture.join("ada")
    media = FakeSource(kind)  # type: ignore[arg-type]  # parametrized with its two literals
    if good:
        fixture.room.publications.publish(ada, media, TrackDescription(source=source))
    else:
        with pytest.raises(BadRequest):
            fixture.room.publications.publish(ada, media, TrackDescription(source=source))
        assert len(fixture.room.publications) == 0


def subscriber(fixture: RoomsFixture, identity: str, **fields: Any) -> tuple[Participant, FakeMedia]:
    participant = fixture.join(identity, **fields)
    media = FakeMedia()
    participant.subscriptions.attach_sink(media)
    return participant, media


def test_publications_go_to_all_others_that_want_and_may(fixture: RoomsFixture) -> None:
    ada, own = subscriber(fixture, "ada")
    _, eager = subscriber(fixture, "bob")
    _, picky = subscriber(fixture, "eve", auto_subscribe=False)
    _, deaf = subscriber(fixture, "mute", subscribe=False)
    publication = fixture.room.publications.publish(ada, FakeSource(), CAMERA, muted=True)
    assert eager.calls == [("subscribe", publication.id, SubscriptionSettings())]
    assert own.calls == picky.calls == deaf.calls == []
    assert publication.media.muted  # type: ignore[attr-defined]  # an attribute of FakeSource
    fixture.room.publications.unpublish(publication)
    fixture.room.publications.unpublish(publication)
    assert eager.calls[1:] == [("unsubscribe", publication.id)]
    # Late joiners get what is there.
    other = fixture.room.publications.publish(ada, FakeSource(), CAMERA)
    _, late = subscriber(fixture, "late")
    assert late.calls == [("subscribe", other.id, SubscriptionSettings())]


def test_events_of_a_track(fixture: RoomsFixture) -> None:
    ada, bob = fixture.join("ada"), fixture.join("bob")
    publications = fixture.room.publications
    sink_of(ada).take()
    publication = publications.publish(ada, FakeSource(), CAMERA)
    publications.update_description(publication, CAMERA)
    publications.update_description(publication, TrackDescription(source="camera", width=640, height=360))
    publications.mute(publication, True, by=ada)
    publications.mute(publication, True, by=ada)
    publications.mute(publication, False, by=ada)
    publications.unpublish(publication)
    assert sink_of(ada).take() == []
    assert sink_of(bob).take() == [
        "TrackPublished", "TrackPublished", "TrackMuted", "TrackMuted", "TrackUnpublished",
    ]  # fmt: skip
    with pytest.raises(NotFound):
        publications.find_own(ada, publication.id)


def test_an_admins_mute_is_signed(fixture: RoomsFixture) -> None:
    ada, bob, eve = fixture.join("ada", admin=True), fixture.join("bob"), fixture.join("eve")
    publications, moderation = fixture.room.publications, fixture.room.moderation
    publication = publications.publish(bob, FakeSource(), CAMERA)
    moderation.mute(ada, publication.id, True)
    assert sink_of(bob).last.by == ada.id
    assert sink_of(eve).last.by == ada.id
    with pytest.raises(NotAuthorized):
        moderation.mute(ada, publication.id, False)
    with pytest.raises(NotAuthorized):
        moderation.mute(eve, publication.id, True)
    moderation.mute(bob, publication.id, False)
    assert not publication.muted
    with pytest.raises(NotFound):
        moderation.mute(ada, "TR_none", True)


def test_publications_that_a_participant_can_receive(fixture: RoomsFixture) -> None:
    ada, bob, deaf = fixture.join("ada"), fixture.join("bob"), fixture.join("deaf", subscribe=False)
    publications = fixture.room.publications
    publication = publications.publish(ada, FakeSource(), CAMERA)
    assert publications.find_subscribable(publication.id, bob) is publication
    assert publications.find_subscribable(publication.id, ada) is None
    assert publications.find_subscribable("TR_none", bob) is None
    with pytest.raises(NotAuthorized):
        publications.find_subscribable(publication.id, deaf)
