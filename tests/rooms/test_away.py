"""The table of participants that are away, and their sink."""

from sfu.ids import ParticipantId
from sfu.rooms.away import AwayParticipants, AwaySink
from tests.rooms.fakes import RoomsFixture


def test_a_participant_is_away_until_it_is_removed() -> None:
    fixture = RoomsFixture()
    ada, ben = fixture.join("ada"), fixture.join("ben")
    away = AwayParticipants()
    away.add(ada)
    away.add(ben)
    away.add(ada)
    assert (len(away), away.until) == (2, None)
    assert away.remove(ada.id) is ada
    assert away.remove(ada.id) is None
    assert away.remove(ParticipantId("PA_unknown")) is None
    assert list(away) == [ben]


def test_participants_can_be_removed_during_an_iteration() -> None:
    fixture = RoomsFixture()
    away = AwayParticipants()
    for identity in ("ada", "ben", "cyd"):
        away.add(fixture.join(identity))
    for participant in away:
        away.remove(participant.id)
    assert len(away) == 0


def test_the_sink_reports_no_links_and_no_media() -> None:
    sink = AwaySink()
    sink.removed("timeout", "The participant did not return.")
    assert (tuple(sink.links()), sink.media_stats()) == ((), None)
