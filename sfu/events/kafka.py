"""The Kafka sink (extra `kafka`): each event is a record with the room's name as key, so a room stays in one partition.

The producer is idempotent and waits for all in-sync replicas. Events wait in memory, within a bound, while brokers are away;
unlike webhooks they do not survive a restart.
"""

import asyncio
import logging
import ssl
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sfu.errors import ConfigurationError
from sfu.events.event import Event
from sfu.events.settings import Kafka as Settings

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer

log = logging.getLogger(__name__)

FIRST_DELAY, MAX_DELAY = 0.5, 30.0
"""Seconds between attempts to connect."""
REQUEST_TIMEOUT_MS = 10_000
BATCH = 256
"""Records that are sent before the first is acknowledged."""


class Kafka:
    """A Sink."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigurationError if the extra is not installed."""
        try:
            import aiokafka
        except ImportError:
            raise ConfigurationError("events.kafka requires the extra kafka: pip install 'aiosfu[kafka]'.") from None
        self._settings = settings
        self._producer_class: Any = aiokafka.AIOKafkaProducer
        self._queue: deque[tuple[str, bytes]] = deque()
        self._queue_bytes = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.sent = 0
        self.dropped = 0
        self.problem = ""
        "Why records are not delivered; empty: they are."

    @property
    def queued(self) -> int:
        return len(self._queue)

    def accept(self, event: Event) -> None:
        if not event.number:
            return
        self._queue.append((event.room, event.body))
        self._queue_bytes += len(event.body)
        while len(self._queue) > self._settings.max_queued or self._queue_bytes > self._settings.max_queued_bytes:
            self._queue_bytes -= len(self._queue.popleft()[1])
            self.dropped += 1
        self._wake.set()

    def open(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self, grace: float) -> None:
        """Sends what is queued for up to `grace` seconds."""
        if self._task is None:
            return
        task, self._task = self._task, None
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self._queue and not self.problem:  # noqa: ASYNC110  # happens once
                    await asyncio.sleep(0.02)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _run(self) -> None:
        delay = FIRST_DELAY
        while True:
            began = time.monotonic()
            try:
                await self._connected()
            except Exception as error:  # the root of this task: aiokafka raises many kinds while brokers are away
                if not self.problem:
                    log.warning("kafka brokers fail", extra={"reason": str(error)})
                self.problem = str(error) or type(error).__name__
            delay = FIRST_DELAY if time.monotonic() - began > MAX_DELAY else min(MAX_DELAY, 2 * delay)
            await asyncio.sleep(delay)

    async def _connected(self) -> None:
        """Sends until an error."""
        producer = self._producer()
        try:
            await producer.start()
            while True:
                while self._queue:
                    await self._send(producer)
                self._wake.clear()
                await self._wake.wait()
        finally:
            with suppress(Exception):
                await producer.stop()

    async def _send(self, producer: "AIOKafkaProducer") -> None:
        """Sends the first records, and removes them when the brokers have them."""
        batch = [self._queue[index] for index in range(min(BATCH, len(self._queue)))]
        dropped = self.dropped
        futures = [await producer.send(self._settings.topic, body, key=room.encode()) for room, body in batch]
        await asyncio.gather(*futures)
        self.problem = ""
        self.sent += len(batch)
        # Records that left a full queue meanwhile are not there any more.
        for _ in range(len(batch) - (self.dropped - dropped)):
            self._queue_bytes -= len(self._queue.popleft()[1])

    def _producer(self) -> "AIOKafkaProducer":
        settings = self._settings
        tls = settings.security.endswith("SSL")
        sasl = settings.security.startswith("SASL")
        producer: AIOKafkaProducer = self._producer_class(
            bootstrap_servers=list(settings.brokers),
            client_id="aiosfu",
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            security_protocol=settings.security,
            ssl_context=ssl.create_default_context(cafile=settings.ca or None) if tls else None,
            sasl_mechanism=settings.mechanism if sasl else "PLAIN",
            sasl_plain_username=settings.username if sasl else None,
            sasl_plain_password=settings.password if sasl else None,
        )
        return producer
