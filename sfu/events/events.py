"""All parts of the event stream of one server: the stream, its sinks, and their life cycle."""

from collections.abc import Mapping
from pathlib import Path

from sfu.events.attendance import Attendance
from sfu.events.kafka import Kafka
from sfu.events.recent import RecentEvents
from sfu.events.settings import Settings
from sfu.events.stream import EventStream, Sink
from sfu.events.webhooks import Webhooks, WebhookState

CLOSE_GRACE = 5.0
"""Seconds that a server which stops delivers the last events; undelivered webhooks stay in the outbox."""


class Events:
    def __init__(self, settings: Settings, keys: Mapping[str, str]) -> None:
        """`keys`: secrets that sign webhooks, by name. Raises ConfigurationError."""
        self.stream = EventStream()
        self.recent = RecentEvents(settings.recent, settings.recent_bytes)
        self.attendance = Attendance(settings.attendance_stays, settings.attendance)
        directory = Path(settings.directory)
        self.webhooks = Webhooks(settings.webhooks, directory, keys) if settings.webhooks.endpoints else None
        self.kafka = Kafka(settings.kafka) if settings.kafka.brokers else None
        self.max_readers = settings.max_readers
        self.readers = 0
        "Readers of server-sent events."
        self.readers_dropped = 0
        sinks: tuple[Sink | None, ...] = (self.recent, self.attendance, self.webhooks, self.kafka)
        self.stream.sinks = [sink for sink in sinks if sink is not None]

    def reload_keys(self, keys: Mapping[str, str]) -> None:
        """Raises ConfigurationError; then nothing changes."""
        if self.webhooks is not None:
            self.webhooks.reload_keys(keys)

    async def open(self) -> None:
        """Raises ConfigurationError."""
        self.stream.open()
        if self.webhooks is not None:
            await self.webhooks.open()
        if self.kafka is not None:
            self.kafka.open()

    def stop_readers(self) -> None:
        """Ends the responses of all readers. Call it before the HTTP server closes."""
        self.recent.close()

    async def close(self) -> None:
        """Call it after the rooms are closed. Idempotent."""
        self.stop_readers()
        self.stream.flush()
        if self.kafka is not None:
            await self.kafka.close(CLOSE_GRACE)
        if self.webhooks is not None:
            await self.webhooks.close(CLOSE_GRACE)

    def webhook_states(self) -> list[WebhookState]:
        return self.webhooks.states() if self.webhooks is not None else []
