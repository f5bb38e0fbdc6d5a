"""Server-sent events to one client (WHATWG HTML 9.2). Only the newest event of each type waits for a slow client."""

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Final

import msgspec

KEEP_ALIVE: Final = 15.0
"""Seconds after which a comment is sent, which also reveals that the client is gone."""


class EventStream:
    """`send` and `close` are called by the session, `chunks` for each request of the client."""

    def __init__(self, types: Collection[str]) -> None:
        """`types`: the event types that the client gets."""
        self._types = frozenset(types)
        self._waiting: dict[str, bytes] = {}
        self._changed = asyncio.Event()
        self._closed = False
        self._readers = 0

    def send(self, type_: str, data: object) -> None:
        if type_ in self._types and not self._closed:
            self._waiting.pop(type_, None)  # the order is that of the newest events
            self._waiting[type_] = msgspec.json.encode(data)
            self._changed.set()

    def withdraw(self, type_: str) -> None:
        """Removes a waiting event that is no longer true."""
        self._waiting.pop(type_, None)

    def close(self) -> None:
        """Idempotent."""
        self._closed = True
        self._changed.set()

    def chunks(self) -> AsyncIterator[bytes]:
        """The body of a response. It ends after `close`, and when the client asks again, as EventSource does after a fault."""
        self._readers += 1
        self._changed.set()
        return self._chunks(self._readers)

    async def _chunks(self, reader: int) -> AsyncIterator[bytes]:
        yield b": open\n\n"
        while reader == self._readers:
            waiting, self._waiting = self._waiting, {}
            for type_, data in waiting.items():
                yield b"event: " + type_.encode() + b"\ndata: " + data + b"\n\n"
            if waiting:
                continue
            if self._closed:
                return
            self._changed.clear()
            try:
                async with asyncio.timeout(KEEP_ALIVE):
                    await self._changed.wait()
            except TimeoutError:
                yield b": keep-alive\n\n"
