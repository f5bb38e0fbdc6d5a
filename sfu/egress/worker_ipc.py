"""Worker side of the control socket, the receive loop of a worker, and its resource limits."""

import logging
import os
import resource
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

import msgspec

from sfu.egress.heartbeat import Heartbeat, Progress
from sfu.egress.protocol import Failed, Frames, ToServer, ToWorker, decode_to_worker, encode
from sfu.egress.rtp_receiver import RtpReceiver
from sfu.errors import MalformedPacket

log = logging.getLogger(__name__)

TIMER_INTERVAL: Final = 0.05
SEND_TIMEOUT: Final = 5.0
"""Seconds that the server may take to read a message. It reads constantly unless it hangs."""


class ControlSocket:
    """Sends and receives messages. `send` may be called from any thread."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(SEND_TIMEOUT)
        self.sock = sock
        self._writing = threading.Lock()
        self._frames = Frames()

    def send(self, message: ToServer) -> None:
        """Raises OSError when the server is gone."""
        data = encode(message)
        with self._writing:
            self.sock.sendall(data)

    def try_send(self, message: ToServer, timeout: float) -> None:
        """Sends, unless another thread holds the socket for longer than `timeout`."""
        if self._writing.acquire(timeout=timeout):
            try:
                self.sock.sendall(encode(message))
            finally:
                self._writing.release()

    def receive(self) -> list[ToWorker] | None:
        """Messages that have arrived; None: the server is gone. Raises MalformedPacket and MsgspecError."""
        data = self.sock.recv(1 << 18)
        return [decode_to_worker(body) for body in self._frames.receive(data)] if data else None


class WorkerProcess(Protocol):
    """Work of a worker process. The receiving thread calls all methods except `progress`."""

    def handle(self, message: ToWorker) -> None: ...

    def failed(self) -> str:
        """Reason why the worker cannot continue, or empty. Called about twenty times per second."""

    def progress(self) -> Progress:
        """Counters for the heartbeat thread, which calls it."""

    def close(self) -> None:
        """Flushes all outputs."""


def run(work: WorkerProcess, control: ControlSocket, rtp_receiver: RtpReceiver, stopped: Callable[[], bool]) -> str:
    """Runs the worker until the server stops it or disappears, or until it fails. Returns the reason of a failure, or
    empty.
    """
    selector = selectors.DefaultSelector()
    selector.register(control.sock, selectors.EVENT_READ)
    selector.register(rtp_receiver.sock, selectors.EVENT_READ)
    timer = time.monotonic()
    alive = True
    while alive and not stopped():
        ready = {key.fileobj for key, _ in selector.select(TIMER_INTERVAL)}
        if control.sock in ready:  # control first: it announces the streams whose packets follow
            messages = control.receive()
            alive = messages is not None
            for message in messages or ():
                work.handle(message)
        now = time.monotonic()
        if rtp_receiver.sock in ready:
            alive = rtp_receiver.readable(now) and alive
        if now - timer >= TIMER_INTERVAL:
            timer = now
            rtp_receiver.handle_timer(now)
            if reason := work.failed():
                return reason
    work.close()
    return ""


def serve(
    arguments: list[str],
    create_worker: Callable[[ControlSocket, RtpReceiver], tuple[WorkerProcess, Callable[[], bool]]],
) -> None:
    """Runs the worker process until it ends.

    `arguments` come from the supervisor. `create_worker` returns the worker and a function that reports whether it was
    stopped.
    """
    media_fd, control_fd, memory, nice = (int(word) for word in arguments)
    # Ctrl-C in the terminal is for the server, which then stops this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format="sfu worker: %(message)s")
    rtp_receiver, control = RtpReceiver(socket.socket(fileno=media_fd)), ControlSocket(socket.socket(fileno=control_fd))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        work, stopped = create_worker(control, rtp_receiver)
        # Linux applies nice per thread: the heartbeat thread starts before and keeps its priority.
        Heartbeat(control, work.progress).start()
        with suppress(OSError):
            os.nice(nice)
        reason = run(work, control, rtp_receiver, stopped)
    except (OSError, MalformedPacket, msgspec.MsgspecError) as error:
        reason = f"{type(error).__name__} on the server's socket."
    except Exception as error:
        log.exception("worker failed")
        reason = f"{type(error).__name__} in the worker."
    if reason:
        with suppress(OSError):
            control.send(Failed(message=reason))
    # Library threads may hang after a failure. Exit without waiting for them.
    logging.shutdown()
    os._exit(1 if reason else 0)
