"""Attendance from the stream of real rooms."""

import csv
import io
from itertools import count

from sfu.events import attendance
from sfu.events.attendance import Attendance
from sfu.events.stream import EventStream
from sfu.ids import Identity
from sfu.rooms import Participant, Permissions, Profile, Rooms, Settings
from sfu.rooms.events import SpeakersChanged
from tests.api.support import FarEnd


class Hall:
    """Rooms with a clock that the test sets."""

    def __init__(self, *, stays: int = 100, keep: float = 60.0) -> None:
        self.now = 1000.0
        numbers = count(1)
        self.stream = EventStream(lambda: self.now)
        self.attendance = Attendance(stays, keep, lambda: self.now)
        self.stream.sinks = [self.attendance]
        self.stream.open()
        ids = lambda prefix: f"{prefix}_{next(numbers)}"  # noqa: E731
        self.rooms = Rooms(Settings(), ids, lambda: self.now, self.stream.observe_room)

    def join(self, identity: str, name: str = "") -> Participant:
        entry = self.rooms.join(
            "hall", Profile(identity=Identity(identity), permissions=Permissions(), name=name), FarEnd()
        )
        assert isinstance(entry, Participant)
        return entry

    def speak(self, *speakers: Participant) -> None:
        changed = SpeakersChanged(speakers[0].id if speakers else "", tuple((one.id, 0.5) for one in speakers))
        self.rooms.find("hall").members.observe(changed)

    def meetings(self) -> list[attendance.Meeting]:
        self.stream.flush()
        return self.attendance.meetings("hall")


async def test_stays_and_speech() -> None:
    hall = Hall()
    ada = hall.join("ada", "Ada")
    hall.now = 1001.0
    bob = hall.join("bob")
    hall.now = 1010.0
    hall.speak(ada)
    hall.now = 1015.0
    hall.speak(ada, bob)
    hall.now = 1017.0
    hall.speak(bob)
    hall.now = 1020.0
    hall.rooms.find("hall").leave(bob)
    hall.now = 1030.0
    (meeting,) = hall.meetings()
    first, second = meeting.stays
    assert (first.name, first.joined_at, first.left_at, first.spoke) == ("Ada", 1000.0, 0.0, 7.0)
    assert (second.name, second.left_at, second.reason, second.spoke) == ("bob", 1020.0, "left", 5.0)

    hall.rooms.delete("hall")
    (meeting,) = hall.meetings()
    assert (meeting.ended_at, meeting.stays[0].reason) == (1030.0, "room_closed")


async def test_attendance_is_bounded_in_number_and_time() -> None:
    hall = Hall(stays=2, keep=60.0)
    for _ in range(4):
        hall.rooms.find("hall").leave(hall.join("ada")) if len(hall.rooms) else hall.join("bob")
        hall.stream.flush()
    (meeting,) = hall.meetings()
    assert len([stay for stay in meeting.stays if stay.left_at]) == 2
    assert meeting.dropped == 1
    hall.rooms.delete("hall")
    assert len(hall.meetings()) == 1
    hall.now += 59.0
    assert len(hall.meetings()) == 1
    hall.now += 1.0
    assert hall.meetings() == []


async def test_a_spreadsheet_runs_no_formula_of_a_participant() -> None:
    hall = Hall()
    hall.join("ada", "=HYPERLINK(1)")
    text = io.StringIO()
    csv.writer(text).writerows(attendance.rows(hall.meetings()))
    head, row = csv.reader(io.StringIO(text.getvalue()))
    assert dict(zip(head, row, strict=True))["name"] == "'=HYPERLINK(1)"
