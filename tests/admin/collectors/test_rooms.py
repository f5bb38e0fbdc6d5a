"""Counts of rooms and participants while they come and go."""

from sfu.admin.collectors.rooms import RoomsCollector
from tests.rooms.fakes import FakeLink, RoomsFixture, sink_of
from tests.support.metrics import samples

NAMES = ("sfu_rooms", "sfu_largest_room_participants", "sfu_rooms_created_total", "sfu_participants")


def test_counts() -> None:
    fixture = RoomsFixture()
    collector = RoomsCollector(fixture.rooms)

    def counts() -> list[float]:
        shown = samples(collector)
        return [shown[name, ()] for name in NAMES]

    assert counts() == [0, 0, 0, 0]
    ada = fixture.join("ada")
    fixture.join("ben")
    fixture.join("cyd", "loft")
    assert counts() == [2, 2, 2, 3]
    fixture.rooms.find("standup").leave(ada)
    assert counts() == [2, 1, 2, 2]
    fixture.rooms.delete("standup")
    assert counts() == [1, 1, 2, 1]


def test_quality() -> None:
    fixture = RoomsFixture()
    for identity, loss in (("ada", 0.0), ("ben", 0.5)):
        sink_of(fixture.join(identity)).its_links = (FakeLink(loss=loss),)
    for _ in range(10):
        fixture.time += 2
        fixture.rooms.observe_quality()
    shown = {labels[0]: value for (name, labels), value in samples(RoomsCollector(fixture.rooms)).items() if labels}
    assert shown == {"excellent": 1, "good": 0, "poor": 1, "lost": 0}
