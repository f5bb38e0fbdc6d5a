"""Outbox and flusher: coalescing, events kept for a resume, and overflow."""

import asyncio

from sfu.signaling.json_dialect import JsonDialect
from sfu.signaling.outbox import Flusher, Outbox
from tests.signaling.fakes import FakeSocket

PING = b'{"type":"ping","at":%d}'


def outbox(flusher: Flusher, *, events: int = 3, size: int = 1000, calls: list[str] | None = None) -> Outbox:
    return Outbox(
        flusher, JsonDialect().frame, events, size, 100, lambda: (calls if calls is not None else []).append("overflow")
    )


async def test_messages_of_a_turn_are_one_frame() -> None:
    flusher, socket = Flusher(0.0), FakeSocket()
    box = outbox(flusher)
    box.send(PING % 0)
    box.attach(socket)
    for number in range(1, 4):
        box.send(PING % number)
    await asyncio.sleep(0.01)
    assert [message["at"] for message in socket.messages] == [1, 2, 3]
    assert (socket.frames, flusher.frames, flusher.messages) == (1, 1, 3)
    box.send(PING % 4)
    await asyncio.sleep(0.01)
    assert socket.frames == 2


async def test_flushes_keep_their_distance() -> None:
    flusher, socket = Flusher(0.05), FakeSocket()
    box = outbox(flusher)
    box.attach(socket)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    frames_at: list[float] = []
    for number in range(3):
        box.send(PING % number)
        while socket.frames == len(frames_at):  # noqa: ASYNC110  # the moment itself is measured
            await asyncio.sleep(0)
        frames_at.append(loop.time() - begun)
    assert frames_at[0] < 0.04
    assert frames_at[1] > 0.045
    assert frames_at[2] > 0.09


async def test_events_kept_for_a_resume() -> None:
    box = outbox(Flusher(0))
    box.reset(10)
    assert box.missed(10) == []
    assert box.missed(9) is None
    for number in (11, 13, 17):
        box.send_event(number, b"%d" % number)
    assert box.missed(10) == [b"11", b"13", b"17"]
    assert box.missed(13) == [b"17"]
    assert box.missed(99) == []
    box.send_event(18, b"18")
    assert box.missed(10) is None
    assert box.missed(11) == [b"13", b"17", b"18"]
    box.send_event(19, b"x" * 999)
    assert box.missed(18) == [b"x" * 999]
    box.send_event(20, b"x" * 1001)
    assert box.missed(19) is None
    assert box.missed(20) == []


async def test_overflow_is_reported_once_per_socket() -> None:
    calls: list[str] = []
    box = outbox(Flusher(0), calls=calls)
    for _ in range(2):
        box.attach(FakeSocket(waiting_bytes=101))
        for number in range(3):
            box.send(PING % number)
            box.flush()
    assert calls == ["overflow"] * 2


async def test_messages_of_one_moment_are_bounded() -> None:
    calls: list[str] = []
    flusher, socket = Flusher(0.0), FakeSocket()
    box = outbox(flusher, calls=calls)
    box.attach(socket)
    for number in range(100):
        box.send(PING % number)
    await asyncio.sleep(0.01)
    assert 100 < sum(len(PING % number) for number in range(len(socket.messages))) <= 100 + len(PING % 99)
    assert calls == ["overflow"]


async def test_one_large_message_passes() -> None:
    calls: list[str] = []
    flusher, socket = Flusher(0.0), FakeSocket()
    box = outbox(flusher, calls=calls)
    box.attach(socket)
    box.send(b'{"type":"ping","at":1,"words":"%s"}' % (b"x" * 200))
    await asyncio.sleep(0.01)
    assert len(socket.messages) == 1
    assert calls == []
