"""An observer of a room gets every change once, hidden participants included."""

import pickle

from sfu.rooms.observer import Joined, Left, Observation, Published, RoomClosed, RoomSummary, Unpublished
from sfu.rooms.registry import Rooms
from sfu.rooms.settings import Settings
from sfu.rooms.track_description import TrackDescription
from tests.rooms.fakes import RoomsFixture, counting_ids
from tests.support.media_source import FakeSource


def test_observations_are_snapshots_with_a_summary_of_the_room() -> None:
    fixture = RoomsFixture()
    observed: list[tuple[RoomSummary, Observation]] = []
    fixture.rooms = Rooms(Settings(), counting_ids(), lambda: fixture.time, lambda *each: observed.append(each))
    ada = fixture.join("ada")
    recorder = fixture.join("egress", hidden=True, recorder=True)
    publications = fixture.room.publications
    publication = publications.publish(ada, FakeSource(), TrackDescription(source="camera"))
    publications.unpublish(publication)
    fixture.room.leave(recorder)
    fixture.room.moderation.update_participant(ada, name="Countess", by=None)
    fixture.room.close("draining")
    fixture.room.close()
    kinds = [type(observation).__name__ for _, observation in observed]
    assert kinds == ["RoomOpened", "Joined", "Joined", "Published", "Unpublished", "Left", "Left", "RoomClosed"]
    counts = [(summary.participants, summary.publishers) for summary, _ in observed]
    assert counts == [(0, 0), (1, 0), (1, 0), (1, 1), (1, 0), (1, 0), (0, 0), (0, 0)]
    joined, published, unpublished, left, closed = (observed[number][1] for number in (1, 3, 4, 6, 7))
    assert isinstance(joined, Joined)
    assert joined.participant.name == "ada"
    assert isinstance(published, Published)
    assert published.participant.publications == (published.publication,)
    assert isinstance(unpublished, Unpublished)
    assert unpublished.publication == published.publication
    assert unpublished.participant.publications == ()
    assert isinstance(left, Left)
    assert (left.participant.name, left.reason) == ("Countess", "draining")
    assert closed == RoomClosed("draining")
    assert pickle.loads(pickle.dumps(observed)) == observed
