"""A worker that dies again and again is given up with the reason; one that ends as told is not replaced."""

import asyncio
import socket

import pytest

from sfu.egress import supervisor
from sfu.egress.protocol import Outputs, Start, Started, ToServer
from sfu.egress.settings import Settings
from sfu.egress.supervisor import Supervisor
from tests.egress.support import until


class Feed:
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
        self.losses: list[str] = []
        self.given_up = ""

    def received(self, message: ToServer) -> None:
        self.heard.append(message)

    def lost(self, reason: str) -> None:
        self.losses.append(reason)

    def gave_up(self, reason: str) -> None:
        self.given_up = reason


async def test_it_gives_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "RESTART_DELAYS", (0.0, 0.0, 0.05))
    plain_transport, listener = Feed(), Listener()
    worker_supervisor = Supervisor("room", plain_transport, listener, Settings(), module="sfu.nowhere")
    await worker_supervisor.run()
    assert (worker_supervisor.starts, plain_transport.attached, len(listener.losses)) == (3, 3, 2)
    assert listener.given_up == "The worker exited without an error message."
    assert plain_transport.sock is None


async def test_what_a_worker_cannot_do_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "RESTART_DELAYS", (0.0,))
    plain_transport, listener = Feed(), Listener()
    worker_supervisor = Supervisor("room", plain_transport, listener, Settings())
    worker_supervisor.send(Outputs())
    await worker_supervisor.run()
    assert listener.given_up == "MalformedPacket on the server's socket."


async def test_what_was_told_is_told_to_each_and_a_stop_is_the_end() -> None:
    plain_transport, listener = Feed(), Listener()
    worker_supervisor = Supervisor("room", plain_transport, listener, Settings())
    worker_supervisor.send(
        Start(room="room", renditions=[{"name": "90p", "width": 160, "height": 90, "bit_rate": 100_000}])
    )  # type: ignore[list-item]
    worker_supervisor.send(Outputs())
    task = asyncio.create_task(worker_supervisor.run())
    await until(lambda: any(isinstance(message, Started) for message in listener.heard))
    worker_supervisor.stop()
    await asyncio.wait_for(task, 10)
    assert (worker_supervisor.starts, listener.losses, listener.given_up, worker_supervisor.pid) == (1, [], "", 0)
