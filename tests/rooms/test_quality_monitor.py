"""Which participants get whose connection quality."""

from tests.rooms.fakes import FakeLink, RoomsFixture, sink_of


def test_changes_go_to_all_and_newcomers_get_every_known_quality() -> None:
    fixture = RoomsFixture()
    ada, bob, spy, chatter = (
        fixture.join("ada"),
        fixture.join("bob"),
        fixture.join("spy", hidden=True),
        fixture.join("text"),
    )
    sink_of(ada).its_links = (FakeLink(), FakeLink(loss=0.03, rtt=0.1))
    sink_of(bob).its_links = (FakeLink(connected=False),)
    sink_of(spy).its_links = (FakeLink(),)
    fixture.rooms.observe_quality()
    # A connection that is still being established is not lost, hidden participants are not named, and a participant
    # without connections has no quality.
    assert sink_of(bob).last.qualities == {ada.id: "good"}
    assert sink_of(ada).last.loss == 0.03
    assert sink_of(ada).last.rtt == 0.1
    assert sink_of(chatter).last.qualities == {ada.id: "good"}
    assert dict(fixture.room.quality.known) == {ada.id: "good", spy.id: "excellent"}
    for participant in (ada, bob, spy, chatter):
        sink_of(participant).take()
    sink_of(bob).its_links = (FakeLink(),)
    fixture.rooms.observe_quality()
    assert sink_of(ada).last.qualities == {bob.id: "excellent"}
    late = fixture.join("late")
    sink_of(ada).take()
    fixture.rooms.observe_quality()
    assert sink_of(ada).take() == []
    assert sink_of(late).last.qualities == {ada.id: "good", bob.id: "excellent"}
    assert sink_of(late).deliveries[-1].number == 0
    sink_of(bob).its_links = (FakeLink(connected=False),)
    fixture.rooms.observe_quality()
    assert sink_of(ada).last.qualities == {bob.id: "lost"}


def test_the_worst_connection_of_a_participant_counts() -> None:
    fixture = RoomsFixture()
    ada = fixture.join("ada")
    sink_of(ada).its_links = (FakeLink(loss=0.2), FakeLink(rtt=0.2), FakeLink())
    fixture.rooms.observe_quality()
    assert fixture.room.quality.known == {ada.id: "poor"}
    sink_of(ada).its_links = (FakeLink(), FakeLink(silent_for=7.0))
    fixture.rooms.observe_quality()
    assert fixture.room.quality.known == {ada.id: "lost"}


def test_without_connections_the_last_quality_stays() -> None:
    fixture = RoomsFixture()
    ada = fixture.join("ada")
    sink_of(ada).its_links = (FakeLink(),)
    fixture.rooms.observe_quality()
    sink_of(ada).take()
    sink_of(ada).its_links = ()
    fixture.rooms.observe_quality()
    assert sink_of(ada).take() == []
    assert fixture.room.quality.known == {ada.id: "excellent"}


def test_nothing_is_kept_of_participants_that_left() -> None:
    fixture = RoomsFixture()
    ada, bob = fixture.join("ada"), fixture.join("bob")
    sink_of(bob).its_links = (FakeLink(),)
    fixture.rooms.observe_quality()
    fixture.room.leave(bob)
    assert fixture.room.quality.known == {}
    back = fixture.join("bob")
    sink_of(ada).take()
    sink_of(back).its_links = (FakeLink(connected=False),)
    fixture.rooms.observe_quality()
    assert sink_of(ada).take() == [], "the new connection is being established, not lost"
