"""Supervises one worker process: starts it, watches it, and replaces it when it exits or hangs.

    start ─▶ alive ──Stop──▶ ended
      ▲        │ exit, closed socket or no heartbeat
      └────────┘ immediately after the first failure, with growing delays while workers are short-lived; then `gave_up`

The worker decodes untrusted media, so it gets few resources: a reduced environment, two sockets and an address-space limit.
A replacement gets the last message of each type again.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from typing import Final, Protocol

import msgspec

from sfu.egress.hang_detector import HangDetector
from sfu.egress.protocol import (
    Alive,
    Failed,
    Frames,
    Started,
    Status,
    Stop,
    ToServer,
    ToWorker,
    decode_to_server,
    encode,
)
from sfu.egress.settings import Settings
from sfu.errors import MalformedPacket
from sfu.resources.worker_process import worker_environment
from sfu.transport.plain_transport import pair

log = logging.getLogger(__name__)

RESTART_DELAYS: Final = (0.0, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before the next start, by the number of consecutive short-lived workers. After the last one it gives up."""
MIN_HEALTHY_LIFETIME: Final = 10.0
"""Seconds below which a worker's lifetime counts as a failure."""
HANG_CHECK_INTERVAL: Final = 0.2
"""Seconds between checks for a hang."""
SHUTDOWN_TIMEOUT: Final = 5.0
"""Seconds that a worker has after `Stop` to flush its outputs."""
MAX_BACKLOG_BYTES: Final = 8_388_608
"""Maximum bytes queued for a worker. A worker that reads less counts as hung."""
RESTARTS_KEPT: Final = 16


class PlainTransport(Protocol):
    """Media path to the worker."""

    def attach(self, sock: socket.socket) -> None: ...

    def detach(self) -> None: ...


class Listener(Protocol):
    def received(self, message: ToServer) -> None: ...

    def lost(self, reason: str) -> None:
        """The worker is gone; a replacement follows."""

    def gave_up(self, reason: str) -> None:
        """No replacement follows."""


class Supervisor:
    """Supervises the worker of one egress job. Call `send` on the event loop; run `run` as a task of the job."""

    def __init__(
        self,
        name: str,
        plain_transport: PlainTransport,
        listener: Listener,
        settings: Settings,
        *,
        module: str = "sfu.egress.worker",
    ) -> None:
        """`name`: for logs. `module`: Python module that the process runs."""
        self._module = module
        self._name = name
        self._plain_transport = plain_transport
        self._listener = listener
        self._settings = settings
        self._last_messages: dict[type[ToWorker], ToWorker] = {}
        """Last message of each type, in the order in which a new worker gets them."""
        self._writer: asyncio.StreamWriter | None = None
        self._stopping = asyncio.Event()
        self.pid = 0
        """Process id; 0: no process."""
        self.starts = 0
        self.restart_times: deque[float] = deque(maxlen=RESTARTS_KEPT)
        """Seconds from each exit to the replacement's first tick, for the most recent restarts."""
        self._exited_at: float | None = None

    def send(self, message: ToWorker) -> None:
        """Sends a message to the worker, if there is one, and to each replacement."""
        self._last_messages[type(message)] = message
        self._write(message)

    def stop(self) -> None:
        """Stops the worker; `run` then returns."""
        self._stopping.set()

    async def run(self) -> None:
        """Runs workers until `stop` is called or too many fail."""
        short_lived = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                reason = await self._run_worker()
            except OSError as error:
                reason = f"The worker could not be started: {error.strerror}."
            if self._stopping.is_set():
                return
            self._exited_at = time.monotonic()
            short_lived = short_lived + 1 if self._exited_at - began < MIN_HEALTHY_LIFETIME else 1
            log.warning("egress worker lost", extra={"egress": self._name, "reason": reason, "young": short_lived})
            if short_lived >= len(RESTART_DELAYS):
                self._listener.gave_up(reason)
                return
            self._listener.lost(reason)
            with suppress(TimeoutError):
                async with asyncio.timeout(RESTART_DELAYS[short_lived]):
                    await self._stopping.wait()

    async def _run_worker(self) -> str:
        """Runs one worker to its end. Returns the reason."""
        media, their_media = pair()
        control, their_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        control.setblocking(False)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self._module,
                str(their_media.fileno()),
                str(their_control.fileno()),
                str(self._settings.worker_memory),
                str(self._settings.worker_nice),
                pass_fds=(their_media.fileno(), their_control.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                env=worker_environment(),
            )
        except BaseException:
            media.close()
            control.close()
            raise
        finally:
            their_media.close()
            their_control.close()
        self.starts += 1
        self.pid = process.pid
        self._plain_transport.attach(media)
        reader, self._writer = await asyncio.open_connection(sock=control, limit=1 << 20)
        for message in self._last_messages.values():
            self._write(message)
        stopping = asyncio.create_task(self._request_stop())
        try:
            return await self._listen(
                reader, HangDetector(process.pid, self._settings.heartbeat_timeout, time.monotonic())
            )
        finally:
            stopping.cancel()
            writer, self._writer = self._writer, None
            writer.close()
            self._plain_transport.detach()
            self.pid = 0
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    # Not process.kill(): it polls, which takes the exit status away from the loop's child watcher.
                    os.kill(process.pid, signal.SIGKILL)
            await process.wait()

    async def _listen(self, reader: asyncio.StreamReader, hang_detector: HangDetector) -> str:
        frames = Frames()
        reason = "The worker exited without an error message."
        watching: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(None) as deadline:
                watching = asyncio.create_task(self._watch_for_hangs(hang_detector, deadline))
                while data := await reader.read(1 << 18):
                    for body in frames.receive(data):
                        message = decode_to_server(body)
                        if isinstance(message, Alive):
                            hang_detector.beat(time.monotonic())
                        elif isinstance(message, Started) and self._exited_at is not None:
                            self.restart_times.append(time.monotonic() - self._exited_at)
                        elif isinstance(message, Status):
                            if message.ticks:
                                hang_detector.ready()
                        elif isinstance(message, Failed):
                            reason = message.message
                        if not isinstance(message, Alive):
                            self._listener.received(message)
                    if self._writer is not None and self._writer.transport.get_write_buffer_size() > MAX_BACKLOG_BYTES:
                        return "The worker does not read its messages."
        except TimeoutError:
            return "The worker hung."
        except OSError:
            return reason
        except (MalformedPacket, msgspec.MsgspecError):
            return "The worker sent an invalid message."
        finally:
            if watching is not None:
                watching.cancel()
        return reason

    async def _watch_for_hangs(self, hang_detector: HangDetector, deadline: asyncio.Timeout) -> None:
        """Makes `_listen` time out when the worker hangs. After `stop`, only the shutdown timeout applies."""
        due = time.monotonic()
        while True:
            due += HANG_CHECK_INTERVAL
            await asyncio.sleep(HANG_CHECK_INTERVAL)
            now = time.monotonic()
            if now - due > HANG_CHECK_INTERVAL:
                due = now  # this process was late: heartbeats may still be unread
            elif not self._stopping.is_set() and hang_detector.hung(now):
                deadline.reschedule(0.0)
                return

    async def _request_stop(self) -> None:
        await self._stopping.wait()
        self._write(Stop())
        await asyncio.sleep(SHUTDOWN_TIMEOUT)
        if self._writer is not None:
            self._writer.transport.abort()

    def _write(self, message: ToWorker) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode(message))
