"""The parent of worker processes: serves their directory, starts them, and restarts one that crashed.

The parent handles no media and no clients. A worker that ended is withdrawn from the directory at once, so its rooms can be
created again on the others.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sfu.cluster.directory_server import DirectoryServer
from sfu.cluster.memory_directory import MemoryBus, MemoryDirectory

log = logging.getLogger(__name__)

MIN_BACK_OFF: Final = 0.1
"""Seconds before the first restart; doubled for each further one."""
MAX_BACK_OFF: Final = 30.0
STABLE: Final = 60.0
"""Seconds after which a worker counts as stable: the next restart is immediate again."""
CONFIGURATION_ERROR: Final = 2
"""Exit status of a worker whose settings are invalid. It would fail again, so all stop."""


@dataclass(slots=True)
class Worker:
    number: int
    "From 1."
    node_id: str
    back_off: float = MIN_BACK_OFF
    restarts: int = 0
    process: asyncio.subprocess.Process | None = None
    started_at: float = field(default=0.0)

    def next_back_off(self, now: float) -> float:
        """Seconds until the restart."""
        if now - self.started_at > STABLE:
            self.back_off = MIN_BACK_OFF
        delay, self.back_off = self.back_off, min(2 * self.back_off, MAX_BACK_OFF)
        return delay


class Supervisor:
    """`command`: the arguments of a worker process. `environment`: its additional variables, by worker number."""

    def __init__(
        self,
        node_ids: Sequence[str],
        command: Sequence[str],
        environment: Callable[[int], Mapping[str, str]],
        directory_path: str = "",
    ) -> None:
        """`directory_path`: Unix socket of the directory; empty: the workers use another directory."""
        self.workers = [Worker(number, node_id) for number, node_id in enumerate(node_ids, 1)]
        self._command = list(command)
        self._environment = environment
        self._directory_path = directory_path
        self._directory = MemoryDirectory()
        self._server = DirectoryServer(self._directory, MemoryBus())
        self._stopping = asyncio.Event()
        self.status = 0

    async def run(self) -> int:
        """Runs until a signal or an invalid configuration. Returns the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._forward, signal.SIGHUP)
        if self._directory_path:
            await self._server.open(self._directory_path)
        try:
            async with asyncio.TaskGroup() as tasks:
                for worker in self.workers:
                    tasks.create_task(self._supervise(worker))
        finally:
            await self._server.close()
        return self.status

    def _stop(self, number: int) -> None:
        """Each further signal is forwarded too: the second one ends a drain."""
        self._stopping.set()
        self._forward(number)

    def _forward(self, number: int) -> None:
        for worker in self.workers:
            if worker.process is not None and worker.process.returncode is None:
                worker.process.send_signal(number)

    async def _supervise(self, worker: Worker) -> None:
        while not self._stopping.is_set():
            status = await self._run_once(worker)
            if self._stopping.is_set():
                return
            if status == CONFIGURATION_ERROR and not worker.restarts:
                self.status = CONFIGURATION_ERROR
                self._stop(signal.SIGTERM)
                return
            delay = worker.next_back_off(time.monotonic())
            worker.restarts += 1
            log.error("a worker ended", extra={"worker": worker.number, "status": status, "restart_in": delay})
            try:
                async with asyncio.timeout(delay):
                    await self._stopping.wait()
            except TimeoutError:
                pass

    async def _run_once(self, worker: Worker) -> int:
        """Returns the exit status; negative: the signal that killed it."""
        worker.started_at = time.monotonic()
        process = worker.process = await asyncio.create_subprocess_exec(
            *self._command,
            env={**os.environ, **self._environment(worker.number)},
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl+C reaches the parent only, which forwards it
        )
        log.info("worker started", extra={"worker": worker.number, "pid": process.pid})
        try:
            if self._stopping.is_set():  # the signal came while it was started
                process.terminate()
            status = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
        node = (await self._directory.nodes()).get(worker.node_id)
        if node is not None:
            # Proof of death: its lease need not expire.
            await self._directory.withdraw(node.instance)
        return status
