"""Server-sent events: their form, and what a slow client gets."""

import asyncio

import pytest

from sfu.signaling import event_stream
from sfu.signaling.event_stream import EventStream


async def read(stream: EventStream) -> list[bytes]:
    return [chunk async for chunk in stream.chunks()]


async def test_only_the_newest_of_each_type_waits() -> None:
    stream = EventStream(("viewercount", "active"))
    for count in range(1_000):
        stream.send("viewercount", {"viewercount": count})
    stream.send("active", {})
    stream.send("layers", {})  # not subscribed
    stream.close()
    stream.send("active", {})
    assert await read(stream) == [
        b": open\n\n",
        b'event: viewercount\ndata: {"viewercount":999}\n\n',
        b"event: active\ndata: {}\n\n",
    ]


async def test_a_withdrawn_event_is_not_sent() -> None:
    stream = EventStream(("active", "inactive"))
    stream.send("active", {})
    stream.withdraw("active")
    stream.send("inactive", {})
    stream.close()
    assert [chunk.split(b"\n")[0] for chunk in await read(stream)] == [b": open", b"event: inactive"]


async def test_a_silent_stream_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "KEEP_ALIVE", 0.01)
    stream = EventStream(("active",))
    chunks = stream.chunks()
    assert [await anext(chunks) for _ in range(3)] == [b": open\n\n", b": keep-alive\n\n", b": keep-alive\n\n"]
    reading = asyncio.ensure_future(anext(chunks))
    stream.send("active", {})
    while (chunk := await reading) == b": keep-alive\n\n":
        reading = asyncio.ensure_future(anext(chunks))
    assert chunk == b"event: active\ndata: {}\n\n"


async def test_a_second_reader_replaces_the_first() -> None:
    stream = EventStream(("active",))
    first = asyncio.create_task(read(stream))
    await asyncio.sleep(0)
    second = stream.chunks()
    assert await first == [b": open\n\n"]
    stream.send("active", {})
    assert [await anext(second) for _ in range(2)] == [b": open\n\n", b"event: active\ndata: {}\n\n"]
