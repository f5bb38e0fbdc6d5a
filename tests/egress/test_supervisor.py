"""Worker supervision: repeated failures end it with a reason; a worker that ends after `Stop` is not replaced."""

import asyncio
import socket

import pytest

from sfu.egress import supervisor
from sfu.egress.protocol import Outputs, Rendition, Start, Started, ToServer
from sfu.egress.settings import Settings
from sfu.egress.supervisor import Supervisor
from tests.egress.support import until


class FakePlainTransport:
    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.attached = 0

    def attach(self, sock: socket.socket) -> None:
        self.detach()
        self.sock, self.attached = sock, self.attached + 1

    def detach(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None


class Listener:
    def __init__(self) -> None:
        self.heard: list[ToServer] = []
        self.failures: list[str] = []
        self.failure = ""

    def received(self, message: ToServer) -> None:
        self.heard.append(message)

    def lost(self, reason: str) -> None:
        self.failures.append(reason)

    def gave_up(self, reason: str) -> None:
        self.failure = reason


async def test_it_gives_up_after_repeated_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "RESTART_DELAYS", (0.0, 0.0, 0.05))
    plain_transport, listener = FakePlainTransport(), Listener()
    worker_supervisor = Supervisor("room", plain_transport, listener, Settings(), module="sfu.nowhere")
    await worker_supervisor.run()
    assert (worker_supervisor.starts, plain_transport.attached, len(listener.failures)) == (3, 3, 2)
    assert listener.failure == "The worker exited without an error message."
    assert plain_transport.sock is None


async def test_the_error_message_of_a_worker_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "RESTART_DELAYS", (0.0,))
    plain_transport, listener = FakePlainTransport(), Listener()
    worker_supervisor = Supervisor("room", plain_transport, listener, Settings())
    worker_supervisor.send(Outputs())
    await worker_supervisor.run()
    assert listener.failure == "MalformedPacket on the server's socket."


async def test_messages_are_repeated_and_stop_ends_the_worker() -> None:
    plain_transport, listener = FakePlainTransport(), Listener()
    worker_supervisor = Supervisor("room", plain_transport, listener, Settings())
    worker_supervisor.send(
        Start(room="room", renditions=[Rendition(name="90p", width=160, height=90, bit_rate=100_000)])
    )
    worker_supervisor.send(Outputs())
    task = asyncio.create_task(worker_supervisor.run())
    await until(lambda: any(isinstance(message, Started) for message in listener.heard))
    worker_supervisor.stop()
    await asyncio.wait_for(task, 10)
    assert (worker_supervisor.starts, listener.failures, listener.failure, worker_supervisor.pid) == (1, [], "", 0)
