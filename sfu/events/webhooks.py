"""The webhook sink: events go to the outbox on disk in batches, then to each receiver.

    accept ─▶ waiting (memory) ─▶ Outbox (disk, one thread) ─▶ WebhookQueue per receiver ─▶ WebhookClient

An event is durable once its batch is committed, about 20 ms after it happened, and is sent after that.
"""

import asyncio
import hashlib
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from yarl import URL

from sfu.errors import ConfigurationError
from sfu.events.event import Event
from sfu.events.http_client import Response, WebhookClient
from sfu.events.outbox import Outbox, Row
from sfu.events.settings import Endpoint
from sfu.events.settings import Webhooks as Settings
from sfu.events.signature import sign
from sfu.events.webhook_queue import BATCH_INTERVAL, DeliveryState, WebhookQueue

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_WAITING = 20_000
"""Rows that wait for the disk; beyond it, the oldest are dropped."""
MAX_WAITING_BYTES = 67_108_864
MAX_BATCH = 500
"""Rows per transaction."""
DISK_RETRY = 1.0
"""Seconds between attempts to write to a disk that fails."""


@dataclass(frozen=True, slots=True)
class WebhookState:
    """One receiver, for the API and metrics."""

    address: str
    "URL without its query, which may contain a secret."
    queued: int
    "In memory and in the outbox."
    stored: int
    "In the outbox; they survive the end of the process."
    stored_bytes: int
    delivery: DeliveryState


@dataclass(frozen=True, slots=True)
class _Receiver:
    id: str
    "Name in the outbox: a hash, because the URL may contain a secret."
    url: URL = field(repr=False)
    address: str
    key: str
    events: frozenset[str]
    "Empty: all."
    queue: WebhookQueue

    def wants(self, name: str) -> bool:
        return not self.events or name in self.events


class _OutboxThread:
    """Runs the outbox on a thread of its own."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self.outbox: Outbox | None = None

    async def open(self, make: Callable[[], Outbox]) -> None:
        self.outbox = await self._run(make)

    async def append(self, rows: Sequence[tuple[str, str, float, bytes]]) -> list[tuple[str, int, int]]:
        """Returns what was dropped: (receiver, count, up to)."""
        dropped = await self._run(partial(self._opened.append, rows))
        return [(one.receiver, one.count, one.up_to) for one in dropped]

    async def read(self, receiver: str, after: int, count: int) -> list[Row]:
        return await self._run(partial(self._opened.read, receiver, after, count))

    async def remove(self, receiver: str, rows: Sequence[Row]) -> None:
        await self._run(partial(self._opened.remove, receiver, rows))

    async def close(self) -> None:
        if self.outbox is not None:
            await self._run(self.outbox.close)
        self._executor.shutdown(wait=False)

    @property
    def _opened(self) -> Outbox:
        assert self.outbox is not None
        return self.outbox

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


class Webhooks:
    """A Sink. `open` and `close` once each."""

    def __init__(self, settings: Settings, directory: Path, keys: Mapping[str, str]) -> None:
        """`keys`: secrets by name. Raises ConfigurationError for a missing key."""
        self._settings = settings
        self._directory = directory
        self._keys = keys
        self._thread = _OutboxThread()
        self._clients: list[WebhookClient] = []
        self._waiting: deque[tuple[str, str, float, bytes]] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._writing = False
        self.disk_problem = ""
        self._receivers = tuple(self._receiver(endpoint) for endpoint in settings.endpoints)
        self._by_id = {receiver.id: receiver for receiver in self._receivers}
        self.reload_keys(keys)

    def reload_keys(self, keys: Mapping[str, str]) -> None:
        """Signs with these secrets from now on. Raises ConfigurationError for a missing key; then nothing changes."""
        for number, receiver in enumerate(self._receivers, 1):
            if receiver.key not in keys if receiver.key else not keys:
                what = f"the key {receiver.key!r}, which is not in auth.keys" if receiver.key else "a key in auth.keys"
                raise ConfigurationError(f"events.webhooks.endpoints: entry {number} needs {what}.")
        self._keys = keys

    def accept(self, event: Event) -> None:
        if not event.number:
            return
        for receiver in self._receivers:
            if receiver.wants(event.name):
                self._waiting.append((receiver.id, event.room, event.at, event.body))
                self._waiting_bytes += len(event.body)
        while len(self._waiting) > MAX_WAITING or self._waiting_bytes > MAX_WAITING_BYTES:
            receiver_id, _, _, body = self._waiting.popleft()
            self._waiting_bytes -= len(body)
            self._by_id[receiver_id].queue.dropped(1, 0)
        self._wake.set()

    async def open(self) -> None:
        """Opens the outbox; events from before the restart follow at once. Raises ConfigurationError."""
        settings = self._settings
        names = [receiver.id for receiver in self._receivers]
        rows, size = settings.max_queued, settings.max_queued_bytes
        await self._thread.open(partial(Outbox, self._directory, names, max_rows=rows, max_bytes=size))
        self._task = asyncio.create_task(self._run())

    async def close(self, grace: float = 0.0) -> None:
        """Writes what waits, and delivers for up to `grace` seconds. Undelivered events stay in the outbox."""
        if self._task is None:
            return
        task, self._task = self._task, None
        with suppress(TimeoutError):
            async with asyncio.timeout(max(grace, DISK_RETRY)):
                while self._waiting or self._writing:  # noqa: ASYNC110  # two places end it; it happens once
                    await asyncio.sleep(BATCH_INTERVAL)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while not all(receiver.queue.settled for receiver in self._receivers):  # noqa: ASYNC110  # as above
                    await asyncio.sleep(BATCH_INTERVAL)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        for receiver in self._receivers:
            with suppress(sqlite3.Error):
                await receiver.queue.remove_finished()
        for client in self._clients:
            await client.close()
        await self._thread.close()

    def states(self) -> list[WebhookState]:
        outbox = self._thread.outbox
        waiting = dict.fromkeys(self._by_id, 0)
        for receiver_id, *_ in self._waiting:
            waiting[receiver_id] += 1
        found = []
        for one in self._receivers:
            size = outbox.sizes[one.id] if outbox is not None else None
            rows, stored = (size.rows, size.bytes) if size is not None else (0, 0)
            found.append(WebhookState(one.address, rows + waiting[one.id], rows, stored, one.queue.state))
        return found

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for receiver in self._receivers:
                tasks.create_task(receiver.queue.run())
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    await self._write()
                await asyncio.sleep(BATCH_INTERVAL)

    async def _write(self) -> None:
        """Moves a batch to the disk."""
        batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
        self._waiting_bytes -= sum(len(body) for *_, body in batch)
        self._writing = True
        try:
            dropped = await self._thread.append(batch)
        except Exception as error:  # the root of this task: whatever fails, the events wait
            if not self.disk_problem:
                log.error("webhook outbox not written", extra={"reason": str(error)})
            self.disk_problem = str(error)
            self._waiting.extendleft(reversed(batch))
            self._waiting_bytes += sum(len(body) for *_, body in batch)
            await asyncio.sleep(DISK_RETRY)
            return
        finally:
            self._writing = False
        self.disk_problem = ""
        for receiver_id, count, up_to in dropped:
            self._by_id[receiver_id].queue.dropped(count, up_to)
        for receiver_id in {receiver_id for receiver_id, *_ in batch}:
            self._by_id[receiver_id].queue.notify()

    def _receiver(self, endpoint: Endpoint) -> _Receiver:
        settings = self._settings
        identifier = hashlib.sha256(endpoint.url.encode()).hexdigest()[:16]
        url = URL(endpoint.url)
        parts = urlsplit(endpoint.url)
        client: WebhookClient | None = None

        async def post(body: bytes) -> Response:
            nonlocal client
            if client is None:
                client = WebhookClient(
                    private=settings.private, timeout=settings.timeout, connections=settings.concurrency
                )
                self._clients.append(client)
            key = endpoint.key or next(iter(self._keys))
            return await client.post(url, body, sign(body, key, self._keys[key], time.time()))

        return _Receiver(
            id=identifier,
            url=url,
            address=f"{parts.scheme}://{parts.netloc}{parts.path}",
            key=endpoint.key,
            events=frozenset(endpoint.events),
            queue=WebhookQueue(identifier, self._thread, post, concurrency=settings.concurrency, retry=settings.retry),
        )
