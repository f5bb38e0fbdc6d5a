"""Runs file-system jobs in daemon threads behind a bounded queue, so that a slow disk never blocks the event loop.

`submit` never blocks. When the queue is full the job is rejected, and the caller decides what to drop. The threads are
daemons because a thread that waits for a dead disk cannot be stopped and must not keep the process from exiting.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

T = TypeVar("T")

log = logging.getLogger(__name__)

JOBS: Final = 10_000
"""Jobs queued at most."""
SIZE: Final = 64_000_000
"""Bytes held by queued jobs at most."""


class DiskBusyError(OSError):
    """The queue is full because the disk is too slow."""


class DiskExecutor:
    """With one thread, jobs run in submission order. All methods may be called from any thread."""

    def __init__(self, name: str, *, threads: int = 1, jobs: int = JOBS, size: int = SIZE) -> None:
        """`jobs` and `size` bound the queue. Threads start on demand."""
        self.refused = 0
        "Jobs rejected because the queue was full or closed."
        self._name = name
        self._threads = threads
        self._jobs_limit = jobs
        self._size_limit = size
        self._condition = threading.Condition()
        self._jobs: deque[tuple[Callable[[], None], int]] = deque()
        self._held = 0
        self._running = 0
        self._started = 0
        self._closed = False

    def submit(self, job: Callable[[], None], size: int = 0, *, admitted: bool = False) -> bool:
        """Queues a job. Returns False if the queue is full or closed.

        `size`: bytes that the job holds. `admitted`: the job continues earlier work and is queued even if the queue is
        full.
        """
        with self._condition:
            full = len(self._jobs) >= self._jobs_limit or self._held + size > self._size_limit
            if self._closed or (full and not admitted):
                self.refused += 1
                return False
            self._jobs.append((job, size))
            self._held += size
            if self._started < min(self._threads, len(self._jobs) + self._running):
                self._started += 1
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
            self._condition.notify()
            return True

    async def run(self, job: Callable[[], T]) -> T:
        """Returns the job's result. Raises the job's exception, or DiskBusyError if the queue is full."""
        return await self._run_in_thread(job, admitted=False)

    async def run_on(self, job: Callable[[], T]) -> T:
        """Like `run`, for a follow-up of a job that `run` accepted: never rejected. The caller bounds their number."""
        return await self._run_in_thread(job, admitted=True)

    async def _run_in_thread(self, job: Callable[[], T], *, admitted: bool) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # None only where T allows it

        def work() -> None:
            result: T | None = None
            error: BaseException | None = None
            try:
                result = job()
            except BaseException as raised:
                error = raised
            with suppress(RuntimeError):  # the event loop is closed
                loop.call_soon_threadsafe(settle, result, error)

        if not self.submit(work, admitted=admitted):
            raise DiskBusyError("the disk is too slow: its queue is full")
        return await future

    def flush(self, timeout: float = 10.0) -> bool:
        """Waits until all submitted jobs are done. Returns False on timeout."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._jobs and not self._running, timeout)

    def close(self, timeout: float = 10.0) -> bool:
        """Waits like `flush`, then rejects new jobs. Idempotent."""
        done = self.flush(timeout)
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        return done

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._jobs or self._closed)
                if not self._jobs:
                    return
                job, size = self._jobs.popleft()
                self._held -= size
                self._running += 1
            try:
                job()
            except Exception:
                log.exception("disk job failed", extra={"executor": self._name})
            finally:
                with self._condition:
                    self._running -= 1
                    self._condition.notify_all()
