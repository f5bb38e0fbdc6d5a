"""The worker's control messages: their order, and what it reports."""

import socket
from collections.abc import Iterator

import pytest

from sfu.egress.protocol import Layout, Members, Outputs, Rendition, Speakers, Start, Stop, ToWorker
from sfu.egress.rtp_receiver import RtpReceiver
from sfu.egress.worker import Worker, create_worker
from sfu.egress.worker_ipc import ControlSocket
from sfu.errors import MalformedPacket
from tests.egress.mix_inputs import until

START = Start(room="room", renditions=[Rendition(name="90p", width=160, height=90, bit_rate=100_000)])


@pytest.fixture
def worker() -> Iterator[Worker]:
    server, control = socket.socketpair()
    media, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made, _ = create_worker(ControlSocket(control), RtpReceiver(theirs))
    yield made
    made.close()
    for sock in (server, control, media, theirs):
        sock.close()


@pytest.mark.parametrize("message", [Members(members=[]), Speakers(), Layout(), Outputs()])
def test_the_first_message_is_start(worker: Worker, message: ToWorker) -> None:
    with pytest.raises(MalformedPacket, match="start"):
        worker.handle(message)
    worker.handle(START)
    worker.handle(message)


def test_before_the_start_it_neither_fails_nor_works(worker: Worker) -> None:
    assert (worker.failed(), worker.progress(), worker.stopped) == ("", (), False)


def test_the_pipeline_starts_with_the_first_outputs(worker: Worker) -> None:
    worker.handle(START)
    worker.handle(Members(members=[]))
    assert worker.progress() == ()
    worker.handle(Outputs())
    worker.handle(Outputs(live=True))
    until(lambda: len(worker.progress()) == 2 and all(worker.progress()))
    assert worker.failed() == ""


def test_a_stopped_worker_reports_no_progress_that_could_stall(worker: Worker) -> None:
    worker.handle(START)
    worker.handle(Outputs())
    worker.handle(Stop())
    assert worker.stopped
    assert worker.progress() == ()


def test_a_pipeline_that_ended_is_a_failure(worker: Worker) -> None:
    worker.handle(START)
    worker.handle(Outputs())
    worker.close()
    assert worker.failed() == "The pipeline stopped."
