"""One WebSocket over a transport in memory: handshake, flow control, control frames and closing."""

import asyncio
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from sfu.signaling import frame_stream
from sfu.signaling.frame_stream import LINGER_BYTES, PAUSE_BYTES, FrameStream, UpgradeResponse, handshake_error
from sfu.signaling.frames import FrameViolation, Opcode
from tests.signaling.test_frames import frame

HEADERS = {
    "Host": "sfu.example",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def request(method: str = "GET", **changes: str | None) -> web.Request:
    """A handshake with changed headers; None removes one."""
    headers = HEADERS | {name.replace("_", "-"): value for name, value in changes.items()}
    return make_mocked_request(method, "/ws", {name: value for name, value in headers.items() if value is not None})


class Memory(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.ended = ""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = self.ended or "aborted"


class Stream:
    """A FrameStream and both its ends. `reading`: whether aiohttp reads from the socket."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self.reading = True
        handshake = request()
        protocol = Mock()
        protocol.pause_reading.side_effect = lambda: self._read(False)
        protocol.resume_reading.side_effect = lambda: self._read(True)
        handshake._protocol = protocol
        self.transport = Memory()
        self.stream = FrameStream(handshake, self.transport, limit)
        self.stream.start()
        protocol.set_parser.assert_called_once_with(self.stream)

    def _read(self, reading: bool) -> None:
        assert self.reading is not reading
        self.reading = reading

    def feed(self, data: bytes) -> None:
        assert self.stream.feed_data(data) == (False, b"")


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        (request(), 0),
        (request(Sec_WebSocket_Protocol="other, sfu.1"), 0),
        (request(Sec_WebSocket_Version="8"), 426),
        (request(Upgrade=None), 400),
        (request(Connection="keep-alive"), 400),
        (request(Sec_WebSocket_Key="short"), 400),
        (request(Sec_WebSocket_Key=None), 400),
        (request("POST"), 400),
    ],
)
def test_only_handshakes_are_accepted(refused: web.Request, status: int) -> None:
    response = handshake_error(refused, "sfu.1")
    assert (response.status if response is not None else 0) == status
    if status == 426:
        assert response is not None
        assert response.headers["Sec-WebSocket-Version"] == "13"


@pytest.mark.parametrize("protocol", [None, "sfu.1"])
def test_the_answer_proves_that_the_key_was_read(protocol: str | None) -> None:
    response = UpgradeResponse(request(), protocol)
    assert response.status == 101
    assert response.headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 1.3
    assert response.headers.get("Sec-WebSocket-Protocol") == protocol


async def test_messages_arrive_in_order_and_pings_are_answered_between_them() -> None:
    one = Stream()
    one.feed(frame(b"a") + frame(b"?", 9) + frame(b"!", 10) + frame(b"b", 2)[:3])
    first = await one.stream.receive()
    assert first is not None
    assert (first.opcode, bytes(first.payload)) == (Opcode.TEXT, b"a")
    waiting = asyncio.ensure_future(one.stream.receive())
    await asyncio.sleep(0)
    assert not waiting.done()
    assert one.transport.written == b"\x8a\x01?"
    one.feed(frame(b"b", 2)[3:])
    second = await waiting
    assert second is not None
    assert (second.opcode, bytes(second.payload)) == (Opcode.BINARY, b"b")


async def test_the_end_of_the_connection_ends_the_messages() -> None:
    one = Stream()
    one.feed(frame(b"a"))
    one.stream.feed_eof()
    assert await one.stream.receive() is not None
    assert await one.stream.receive() is None
    assert await one.stream.receive() is None


async def test_a_close_frame_is_answered_with_its_code() -> None:
    one = Stream()
    one.feed(frame(b"\x03\xe9going", 8) + frame(b"late"))
    assert await one.stream.receive() is None
    assert one.transport.written == b"\x88\x02\x03\xe9"
    await one.stream.close(1000, "bye", 1.0)
    assert one.transport.written == b"\x88\x02\x03\xe9", "one close frame only"
    assert one.transport.ended == "closed"


async def test_close_waits_for_the_close_frame_of_the_client() -> None:
    one = Stream()
    closing = asyncio.ensure_future(one.stream.close(4000, "bye", 5.0))
    await asyncio.sleep(0)
    assert one.transport.written == b"\x88\x05\x0f\xa0bye"
    one.feed(frame(b"late") + frame(b"\x0f\xa0", 8))
    await closing
    assert one.transport.written == b"\x88\x05\x0f\xa0bye", "one close frame only"
    assert one.transport.ended == "closed"
    await one.stream.close(4000, "again", 5.0)


async def test_close_does_not_wait_for_long() -> None:
    one = Stream()
    await one.stream.close(4000, "bye", 0.01)
    assert one.transport.ended == "aborted"


async def test_close_reads_a_bounded_number_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_stream, "CLOSING_FRAMES", 3)
    monkeypatch.setattr(frame_stream, "LINGER", 0.01)
    one = Stream()
    one.feed(frame(b"x") * 3 + frame(b"", 8))
    await one.stream.close(4000, "bye", 5.0)
    assert one.transport.written == b"\x88\x05\x0f\xa0bye", "the close frame behind the limit is not read"
    assert one.transport.ended == "closed"


async def test_reading_pauses_while_much_is_unparsed() -> None:
    one = Stream()
    message = frame(bytes(PAUSE_BYTES // 2), 2)
    one.feed(message * 3)
    assert not one.reading
    one.feed(message)  # the read that was under way
    for _ in range(4):
        assert await one.stream.receive() is not None
    waiting = asyncio.ensure_future(one.stream.receive())
    for _ in range(3):  # once more if its slice of loop time has passed
        await asyncio.sleep(0)
    assert one.reading
    one.stream.feed_eof()
    assert await waiting is None


async def test_a_long_backlog_lets_the_loop_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_stream, "SLICE", 0.0)
    one, turns = Stream(), 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.ensure_future(count())
    one.feed(frame(b"x") * 50)
    for _ in range(50):
        assert await one.stream.receive() is not None
    counting.cancel()
    assert turns >= 49


async def test_after_a_violation_input_is_discarded_up_to_a_limit() -> None:
    one = Stream(limit=10)
    one.feed(frame(b"x" * 11))
    with pytest.raises(FrameViolation) as violation:
        await one.stream.receive()
    failing = asyncio.ensure_future(one.stream.fail(violation.value, 5.0))
    await asyncio.sleep(0)
    assert one.transport.written[:1] == b"\x88"
    assert one.transport.written[2:4] == violation.value.code.to_bytes(2, "big")
    one.feed(bytes(LINGER_BYTES))
    assert one.transport.ended == ""
    one.feed(b"x")
    assert one.transport.ended == "aborted"
    one.stream.feed_eof()
    await failing
