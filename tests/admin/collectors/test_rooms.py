"""Counts of rooms and participants while they come and go."""

from sfu.admin.collectors.rooms import RoomsCollector
from tests.rooms.fakes import FakeLink, House, sink_of
from tests.support.metrics import samples

NAMES = ("sfu_rooms", "sfu_largest_room_participants", "sfu_rooms_created_total", "sfu_participants")


def test_counts() -> None:
    house = House()
    collector = RoomsCollector(house.rooms)

    def counts() -> list[float]:
        shown = samples(collector)
        return [shown[name, ()] for name in NAMES]

    assert counts() == [0, 0, 0, 0]
    ada = house.seat("ada")
    house.seat("ben")
    house.seat("cyd", "loft")
    assert counts() == [2, 2, 2, 3]
    house.rooms.find("den").leave(ada)
    assert counts() == [2, 1, 2, 2]
    house.rooms.delete("den")
    assert counts() == [1, 1, 2, 1]


def test_quality() -> None:
    house = House()
    for identity, loss in (("ada", 0.0), ("ben", 0.5)):
        sink_of(house.seat(identity)).its_links = (FakeLink(loss=loss),)
    for _ in range(10):
        house.time += 2
        house.rooms.observe_quality()
    shown = {labels[0]: value for (name, labels), value in samples(RoomsCollector(house.rooms)).items() if labels}
    assert shown == {"excellent": 1, "good": 0, "poor": 1, "lost": 0}
