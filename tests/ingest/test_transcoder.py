"""sfu.ingest.transcoder: feeds one process after another, and judges what they send.

The far end of the socket is in the test: no process runs.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sfu.errors import MalformedPacket
from sfu.ingest import transcoder as transcoder_module
from sfu.ingest.settings import Settings
from sfu.ingest.transcoder import RESTART_DELAYS, Transcoder
from sfu.ingest.transcoding import (
    LENGTH,
    LIMIT,
    Audio,
    ConfigureAudio,
    Failed,
    FromTranscoder,
    Picture,
    Ready,
    RequestKeyframe,
    Sound,
    ToTranscoder,
    Video,
    decode_to_transcoder,
    encode,
)
from sfu.resources.worker_process import Worker
from tests.support.running_server import until

CONFIGURE = ConfigureAudio(codec="AAC", config=b"\x12\x10")
AUDIO = Audio(time=0.0, data=b"frame")
SOUND = Sound(pts=0, level=30, data=b"opus")


class Process:
    """The far end of one process."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    async def receive(self) -> ToTranscoder:
        loop = asyncio.get_running_loop()
        data = b""
        while len(data) < LENGTH.size or len(data) < LENGTH.size + LENGTH.unpack_from(data)[0]:
            wanted = LENGTH.size if len(data) < LENGTH.size else LENGTH.size + LENGTH.unpack_from(data)[0]
            data += await asyncio.wait_for(loop.sock_recv(self.sock, wanted - len(data)), 20)
        message: ToTranscoder = decode_to_transcoder(data[LENGTH.size :])
        return message

    async def send(self, *messages: FromTranscoder | bytes) -> None:
        data = b"".join(one if isinstance(one, bytes) else encode(one) for one in messages)
        await asyncio.get_running_loop().sock_sendall(self.sock, data)


class Listener:
    def __init__(self) -> None:
        self.sounds: list[Sound] = []
        self.pictures: list[Picture] = []
        self.losses: list[tuple[str, bool]] = []

    def sound_transcoded(self, sound: Sound) -> None:
        self.sounds.append(sound)

    def picture_transcoded(self, picture: Picture) -> None:
        if picture.config == b"damaged":
            raise MalformedPacket("invalid avcC record")
        self.pictures.append(picture)

    def transcoder_lost(self, reason: str, *, final: bool) -> None:
        self.losses.append((reason, final))


class Processes:
    """Started processes. `refusals`: how many starts fail first."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Process] = asyncio.Queue()
        self.arguments: list[tuple[str, ...]] = []
        self.refusals = 0

    @asynccontextmanager
    async def run(self, *arguments: str) -> AsyncIterator[Worker]:
        self.arguments.append(arguments)
        if self.refusals:
            self.refusals -= 1
            raise OSError(12, "Cannot allocate memory")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=ours)
        self.queue.put_nowait(Process(theirs))
        try:
            yield Worker(4711, reader, writer)
        finally:
            writer.transport.abort()
            theirs.close()

    async def next(self) -> Process:
        return await asyncio.wait_for(self.queue.get(), 20)


class Fixture:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.processes, self.listener = Processes(), Listener()
        monkeypatch.setattr(transcoder_module, "running_worker", self.processes.run)
        monkeypatch.setattr(transcoder_module, "RESTART_DELAYS", (0.0,) * len(RESTART_DELAYS))
        monkeypatch.setattr(transcoder_module, "HANG_CHECK_INTERVAL", 0.01)
        self.transcoder = Transcoder("IN_1", self.listener, Settings(worker_nice=7))


@pytest.fixture
async def fixture(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fixture]:
    one = Fixture(monkeypatch)
    one.transcoder.start()
    yield one
    task = one.transcoder.close()
    assert task is not None
    await asyncio.wait((task,))
    assert task.cancelled() or task.exception() is None


async def test_media_in_both_directions(fixture: Fixture) -> None:
    fixture.transcoder.configure(CONFIGURE)
    process = await fixture.processes.next()
    assert await process.receive() == CONFIGURE
    await until(lambda: fixture.transcoder.pid == 4711)
    fixture.transcoder.send(AUDIO)
    fixture.transcoder.send(RequestKeyframe(rid="q"))
    assert [await process.receive() for _ in range(2)] == [AUDIO, RequestKeyframe(rid="q")]
    picture = Picture(rid="q", pts=0, keyframe=True, data=b"x")
    await process.send(Ready(), SOUND, picture)
    await until(lambda: fixture.listener.pictures == [picture])
    assert fixture.listener.sounds == [SOUND]
    (arguments,) = fixture.processes.arguments
    assert arguments == ("sfu.ingest.transcoder_worker", str(Settings().worker_memory), "7")


async def test_a_configuration_is_sent_once(fixture: Fixture) -> None:
    process = await fixture.processes.next()
    await until(lambda: fixture.transcoder.pid == 4711)
    other = ConfigureAudio(codec="MP3", config=b"")
    for message in (CONFIGURE, CONFIGURE, other):
        fixture.transcoder.configure(message)
    assert [await process.receive() for _ in range(2)] == [CONFIGURE, other]


async def test_a_replacement_gets_the_latest_configuration_first(fixture: Fixture) -> None:
    first = await fixture.processes.next()
    await until(lambda: fixture.transcoder.pid == 4711)
    fixture.transcoder.configure(CONFIGURE)
    await first.send(Ready(), Failed(message="MemoryError in the transcoder."))
    first.sock.close()
    second = await fixture.processes.next()
    assert fixture.listener.losses == [("MemoryError in the transcoder.", False)]
    assert await second.receive() == CONFIGURE


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "The transcoder exited without an error message."),
        (LENGTH.pack(LIMIT + 1), "The transcoder sent an invalid message."),
        (LENGTH.pack(3) + b"abc", "The transcoder sent an invalid message."),
        (
            encode(Picture(rid="", pts=0, keyframe=True, data=b"", config=b"damaged")),
            "The transcoder sent an invalid message.",
        ),
    ],
    ids=["silence", "length", "garbage", "picture"],
)
async def test_a_process_that_misbehaves_is_replaced(fixture: Fixture, data: bytes, reason: str) -> None:
    process = await fixture.processes.next()
    await process.send(Ready(), data)
    process.sock.shutdown(socket.SHUT_WR)
    await fixture.processes.next()
    assert fixture.listener.losses == [(reason, False)]


async def test_it_gives_up_after_short_lived_processes(fixture: Fixture) -> None:
    for _ in RESTART_DELAYS:
        (await fixture.processes.next()).sock.close()
    await until(lambda: len(fixture.listener.losses) == len(RESTART_DELAYS))
    assert [final for _, final in fixture.listener.losses] == [False] * (len(RESTART_DELAYS) - 1) + [True]
    assert fixture.processes.queue.empty()


async def test_a_process_that_cannot_start_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Fixture(monkeypatch)
    one.processes.refusals = 1
    one.transcoder.start()
    await one.processes.next()
    assert one.listener.losses == [("The transcoder could not be started: Cannot allocate memory.", False)]
    task = one.transcoder.close()
    assert task is not None
    await asyncio.wait((task,))


@pytest.mark.parametrize("hang", ["start", "sound"])
async def test_a_hung_process_is_replaced(fixture: Fixture, monkeypatch: pytest.MonkeyPatch, hang: str) -> None:
    monkeypatch.setattr(transcoder_module, "START_TIMEOUT" if hang == "start" else "HANG_TIMEOUT", 0.0)
    process = await fixture.processes.next()
    await until(lambda: fixture.transcoder.pid == 4711 or bool(fixture.listener.losses))
    if hang == "sound":
        await process.send(Ready(), SOUND)
        await until(lambda: bool(fixture.listener.sounds))
        fixture.transcoder.send(AUDIO)
    await fixture.processes.next()
    assert fixture.listener.losses[0] == ("The transcoder hung.", False)


async def test_media_without_a_reader_is_dropped(fixture: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    fixture.transcoder.send(AUDIO)
    assert fixture.transcoder.dropped == 1
    await fixture.processes.next()
    await until(lambda: fixture.transcoder.pid == 4711)
    monkeypatch.setattr(transcoder_module, "MAX_BACKLOG_BYTES", 100_000)
    picture = Video(pts=0, keyframe=True, data=bytes(50_000))
    sent = 0
    while fixture.transcoder.dropped == 1:
        fixture.transcoder.send(picture)
        sent += 1
        assert sent < 1000
    assert sent > 3


def test_close_before_start_does_nothing() -> None:
    assert Transcoder("IN_1", Listener(), Settings()).close() is None
