"""All parts of the event stream of one server: the stream, its sinks, and their life cycle."""

from collections.abc import Mapping
from pathlib import Path

from sfu.events.settings import Settings
from sfu.events.stream import EventStream
from sfu.events.webhooks import Webhooks, WebhookState

CLOSE_GRACE = 5.0
"""Seconds that a server which stops delivers the last events; undelivered webhooks stay in the outbox."""


class Events:
    def __init__(self, settings: Settings, keys: Mapping[str, str]) -> None:
        """`keys`: secrets that sign webhooks, by name. Raises ConfigurationError."""
        self.stream = EventStream()
        configured = settings.webhooks.endpoints
        self.webhooks = Webhooks(settings.webhooks, Path(settings.directory), keys) if configured else None
        self.stream.sinks = [sink for sink in (self.webhooks,) if sink is not None]

    def reload_keys(self, keys: Mapping[str, str]) -> None:
        """Raises ConfigurationError; then nothing changes."""
        if self.webhooks is not None:
            self.webhooks.reload_keys(keys)

    async def open(self) -> None:
        """Raises ConfigurationError."""
        self.stream.open()
        if self.webhooks is not None:
            await self.webhooks.open()

    async def close(self) -> None:
        """Call it after the rooms are closed. Idempotent."""
        self.stream.flush()
        if self.webhooks is not None:
            await self.webhooks.close(CLOSE_GRACE)

    def webhook_states(self) -> list[WebhookState]:
        return self.webhooks.states() if self.webhooks is not None else []
