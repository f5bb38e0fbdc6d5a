"""Metrics of rooms and their participants."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric

from sfu.rooms.quality import Quality
from sfu.rooms.registry import Rooms
from sfu.telemetry.metrics import Collector, counter, gauge, gauges

QUALITIES: tuple[Quality, ...] = ("excellent", "good", "poor", "lost")


class RoomsCollector(Collector):
    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    def collect(self) -> Iterator[Metric]:
        rooms = self._rooms.list()
        sizes = [room.members.participant_count for room in rooms]
        quality = Counter(each for room in rooms for each in room.quality.known.values())
        yield gauge("sfu_rooms", "Open rooms.", len(rooms))
        yield gauge("sfu_largest_room_participants", "Participants in the largest room.", max(sizes, default=0))
        yield counter("sfu_rooms_created_total", "Rooms created.", self._rooms.opened)
        yield gauge(
            "sfu_participants",
            "Participants in rooms, with WHEP viewers and other hidden ones, without hidden recorders.",
            self._rooms.participant_count,
        )
        yield gauges(
            "sfu_participant_quality",
            "Participants by connection quality.",
            "quality",
            {name: quality[name] for name in QUALITIES},
        )
