"""The worker's end of the control socket, and its receive loop."""

import socket
import threading
from collections.abc import Iterator

import pytest

from sfu.egress import protocol, worker_ipc
from sfu.egress.heartbeat import Progress
from sfu.egress.protocol import Failed, Outputs, Stop, ToServer, ToWorker, decode_to_server, encode
from sfu.egress.rtp_receiver import RtpReceiver
from sfu.egress.worker_ipc import ControlSocket, run
from sfu.errors import MalformedPacket


class Ends:
    """A control socket and a media socket, with the server's ends of both."""

    def __init__(self) -> None:
        self.server, sock = socket.socketpair()
        self.media, media = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control, self.rtp_receiver = ControlSocket(sock), RtpReceiver(media)

    def received(self) -> list[ToServer]:
        self.server.settimeout(5)
        return [decode_to_server(body) for body in protocol.Frames().receive(self.server.recv(1 << 18))]

    def close(self) -> None:
        for sock in (self.server, self.media, self.control.sock, self.rtp_receiver.sock):
            sock.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


class Work:
    """A WorkerProcess that stops at `Stop` and fails after `fails_after` checks."""

    def __init__(self, fails_after: int = 1_000_000) -> None:
        self.handled: list[ToWorker] = []
        self.checks, self.closed = fails_after, 0

    def handle(self, message: ToWorker) -> None:
        self.handled.append(message)

    def failed(self) -> str:
        self.checks -= 1
        return "The encoder is broken." if self.checks < 0 else ""

    def progress(self) -> Progress:
        return ()

    def close(self) -> None:
        self.closed += 1

    def stopped(self) -> bool:
        return any(isinstance(message, Stop) for message in self.handled)


def test_messages_arrive_whole_however_they_are_split(ends: Ends) -> None:
    data = encode(Outputs(live=True)) + encode(Stop())
    ends.server.sendall(data[:3])
    assert ends.control.receive() == []
    ends.server.sendall(data[3:-1])
    assert ends.control.receive() == [Outputs(live=True)]
    ends.server.sendall(data[-1:])
    assert ends.control.receive() == [Stop()]
    ends.server.close()
    assert ends.control.receive() is None


def test_a_message_that_is_too_long_is_malformed(ends: Ends) -> None:
    ends.server.sendall(b"\xff" * 8)
    with pytest.raises(MalformedPacket):
        ends.control.receive()


def test_threads_send_whole_messages(ends: Ends) -> None:
    def send() -> None:
        for _ in range(20):
            ends.control.send(Failed(message="x" * 900))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    frames, count = protocol.Frames(), 0
    ends.server.settimeout(5)
    while count < 80:
        count += sum(
            decode_to_server(body) == Failed(message="x" * 900) for body in frames.receive(ends.server.recv(999))
        )
    for thread in threads:
        thread.join()


def test_try_send_gives_up_while_another_thread_writes(ends: Ends) -> None:
    ends.control.try_send(Failed(message="first"), 1.0)
    with ends.control._writing:
        ends.control.try_send(Failed(message="second"), 0.01)
    assert ends.received() == [Failed(message="first")]


def test_a_server_that_does_not_read_is_an_error(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_ipc, "SEND_TIMEOUT", 0.05)
    control = ControlSocket(ends.control.sock)
    with pytest.raises(OSError, match="timed out"):
        control.send(Failed(message="x" * 8_000_000))


def test_the_worker_runs_until_it_is_stopped(ends: Ends) -> None:
    work = Work()
    ends.server.sendall(encode(Outputs()) + encode(Stop()))
    assert run(work, ends.control, ends.rtp_receiver, work.stopped) == ""
    assert work.handled == [Outputs(), Stop()]
    assert work.closed == 1


@pytest.mark.parametrize("which", ["control", "media"])
def test_the_worker_ends_with_the_server(ends: Ends, which: str) -> None:
    work = Work()
    (ends.server if which == "control" else ends.media).close()
    assert run(work, ends.control, ends.rtp_receiver, work.stopped) == ""
    assert work.closed == 1


def test_the_reason_of_a_failure_is_returned_and_nothing_is_flushed(ends: Ends) -> None:
    work = Work(fails_after=2)
    assert run(work, ends.control, ends.rtp_receiver, work.stopped) == "The encoder is broken."
    assert work.closed == 0
