"""A pipeline with real clocks, encoders and threads, on small renditions."""

import threading
from collections.abc import Callable, Iterator

import pytest

from sfu.egress import protocol
from sfu.egress.pipeline import Pipeline
from sfu.egress.protocol import Event, Outputs, Part, Rendition, Start, Started, Status, ToServer, VisibleTracks
from tests.egress.mix_inputs import MixInputs, camera, member, until

START = Start(room="room", renditions=[Rendition(name="90p", width=160, height=90, bit_rate=100_000)])


class Running:
    """A pipeline and the messages that it sends."""

    def __init__(self) -> None:
        self.mix = MixInputs()
        self.messages: list[ToServer] = []
        self.lost = False
        self.pipeline = Pipeline(
            START, self.mix.inputs, self.mix.decoders, self.mix.sound, self.send, lambda packets: None
        )

    def send(self, message: ToServer) -> None:
        if self.lost:
            raise BrokenPipeError
        self.messages.append(message)

    def sent(self, kind: type[ToServer], when: Callable[[ToServer], object] = bool) -> bool:
        return any(isinstance(message, kind) and when(message) for message in tuple(self.messages))


@pytest.fixture
def running() -> Iterator[Running]:
    made = Running()
    yield made
    made.pipeline.close()
    made.mix.close()


def test_before_the_start_nothing_runs(running: Running) -> None:
    pipeline = running.pipeline
    assert (pipeline.started, pipeline.running, pipeline.progress()) == (False, True, ())
    pipeline.keyframe()
    pipeline.event("join", "Ada")
    assert [(type(message), getattr(message, "at", None)) for message in running.messages] == [(Event, 0.0)]
    pipeline.close()
    assert not pipeline.running


def test_both_clocks_run_and_commands_take_effect(running: Running) -> None:
    pipeline = running.pipeline
    running.mix.inputs.apply([member("ada", camera("ada"))])
    pipeline.command(Outputs(live=True))
    pipeline.start()
    until(lambda: all(count > 3 for count in pipeline.progress()) and pipeline.progress())
    assert isinstance(running.messages[0], Started)
    assert running.sent(VisibleTracks)
    assert running.sent(Status, lambda status: isinstance(status, Status) and status.ticks and status.tiles == 1)
    pipeline.command(protocol.Layout(layout="grid"))
    until(lambda: running.sent(Event, lambda event: isinstance(event, Event) and event.text == "grid"))
    until(lambda: running.sent(Part))
    pipeline.close()
    assert not pipeline.running
    assert (pipeline.failed, pipeline.progress()) == ("", ())


def test_a_fault_in_a_tick_stops_both_clocks(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(now: float) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(running.pipeline._scenes, "select", broken)
    running.pipeline.start()
    until(lambda: not running.pipeline.running)
    assert running.pipeline.failed == "ZeroDivisionError in the pipeline."
    until(lambda: not {"tick", "sound"} & {thread.name for thread in threading.enumerate()})


def test_a_lost_server_is_no_fault(running: Running) -> None:
    running.pipeline.start()
    running.lost = True
    running.pipeline.command(protocol.Layout(layout="grid"))
    until(lambda: not running.pipeline.running)
    assert running.pipeline.failed == ""
