"""Stall detection: no progress during several punctual heartbeats. Delays of a busy machine do not count."""

import pytest

from sfu.egress.heartbeat import (
    BEAT_INTERVAL,
    MAX_BEAT_DELAY,
    MAX_IDLE_BEATS,
    MAX_IDLE_BEATS_AT_START,
    MAX_IDLE_BEATS_WHEN_BUSY,
    Heartbeat,
    Progress,
    StallDetector,
)
from sfu.egress.protocol import Alive, Failed, ToServer
from tests.egress.support import until

ON_TIME, DELAYED = 0.0, MAX_BEAT_DELAY + 0.01


@pytest.mark.parametrize(
    ("seen", "hung"),
    [
        ([((), ON_TIME)] * 20, False),
        ([((1,), ON_TIME)] * MAX_IDLE_BEATS, False),
        ([((1,), ON_TIME)] * (MAX_IDLE_BEATS + 1), True),
        ([((1,), DELAYED)] * 50, False),
        ([((1,), ON_TIME), ((1,), DELAYED)] * MAX_IDLE_BEATS, False),
        ([((1,), ON_TIME), ((1,), DELAYED)] * MAX_IDLE_BEATS + [((1,), ON_TIME)], True),
        ([((number,), ON_TIME) for number in range(50)], False),
        ([((number, 7), ON_TIME) for number in range(MAX_IDLE_BEATS + 1)], True),
        ([((1,), ON_TIME)] * MAX_IDLE_BEATS + [((2,), ON_TIME)] + [((2,), ON_TIME)] * (MAX_IDLE_BEATS - 1), False),
        ([((1,), ON_TIME)] * MAX_IDLE_BEATS + [((), ON_TIME)] + [((1,), ON_TIME)] * MAX_IDLE_BEATS, False),
    ],
)
def test_stall(seen: list[tuple[Progress, float]], hung: bool) -> None:
    stall_detector = StallDetector()
    found = [stall_detector.beat(*each) for each in seen]
    assert found[-1] is hung
    assert not any(found[:-1])


def test_waiting_for_a_processor_is_not_a_stall() -> None:
    stall_detector = StallDetector()
    for _ in range(MAX_IDLE_BEATS_WHEN_BUSY):
        assert not stall_detector.beat((1,), ON_TIME, 0.2)
    assert stall_detector.beat((1,), ON_TIME, 0.2)


def test_a_starting_thread_has_more_time() -> None:
    stall_detector = StallDetector()
    assert not any(stall_detector.beat((0, number), ON_TIME) for number in range(MAX_IDLE_BEATS_AT_START))
    assert stall_detector.beat((0, MAX_IDLE_BEATS_AT_START), ON_TIME)


class ControlSocket:
    def __init__(self) -> None:
        self.sent: list[ToServer] = []

    def send(self, message: ToServer) -> None:
        self.sent.append(message)

    def try_send(self, message: ToServer, timeout: float) -> None:
        self.sent.append(message)


async def test_heartbeats_and_the_end_of_a_stalled_process() -> None:
    control, ended = ControlSocket(), []
    Heartbeat(control, lambda: (1, 2), lambda: ended.append(True)).start()
    took = await until(lambda: ended, 30)
    assert took > MAX_IDLE_BEATS * BEAT_INTERVAL * 0.9
    assert len(control.sent) > MAX_IDLE_BEATS
    assert {type(message) for message in control.sent[:-1]} == {Alive}
    assert isinstance(control.sent[-1], Failed)
