"""The chunk stream of RTMP: round trips, header forms, interleaving, and the bounds of untrusted input."""

import random
from struct import pack

import pytest

from sfu.errors import MalformedPacket
from sfu.rtmp.chunks import INTERLEAVED_BYTES, STREAM_LIMIT, ChunkReader, ChunkWriter, Message

LIMIT = 1_000_000


def written(*messages: tuple[int, Message], chunk_size: int = 128) -> bytes:
    writer = ChunkWriter()
    writer.chunk_size = chunk_size
    for channel, message in messages:
        writer.write(channel, message.kind, message.stream, message.body, message.timestamp)
    assert len(writer) > 0
    data = writer.take()
    assert len(writer) == 0
    return data


def read(data: bytes, *, chunk_size: int = 128, step: int = 0, limit: int = LIMIT) -> list[Message]:
    """All messages of `data`, which arrives in pieces of `step` bytes."""
    reader, found = ChunkReader(limit), []
    reader.chunk_size = chunk_size
    for at in range(0, len(data), step or len(data)):
        reader.feed(data[at : at + (step or len(data))])
        while (message := reader.next_message()) is not None:
            found.append(message)
    assert reader.buffered == 0
    return found


@pytest.mark.parametrize("timestamp", [0, 1, 0xFFFFFE, 0xFFFFFF, 0x1000000, 0xFFFFFFFF])
@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 256, 1000])
@pytest.mark.parametrize("step", [0, 1, 100])
def test_messages_survive_the_way(timestamp: int, size: int, step: int) -> None:
    body = (bytes(range(256)) * 4)[:size]
    sent = [(6, Message(9, 1, timestamp, body)), (4, Message(8, 1, timestamp, b"x"))]
    assert read(written(*sent), step=step) == [message for _, message in sent]


def test_timestamps_wrap_at_32_bits() -> None:
    (message,) = read(written((4, Message(8, 1, (1 << 32) + 5, b"x"))))
    assert message.timestamp == 5


def header(form: int, channel: int, *, stamp: int = 0, size: int = 0, kind: int = 8, stream: int = 1) -> bytes:
    found = bytes([form << 6 | channel])
    if form < 3:
        found += pack("!I", stamp)[1:]
    if form < 2:
        found += pack("!I", size)[1:] + bytes([kind])
    return found + (pack("<I", stream) if form == 0 else b"")


def test_shorter_headers_repeat_the_fields_before() -> None:
    data = header(0, 4, stamp=1000, size=1) + b"a"
    data += header(1, 4, stamp=20, size=2, kind=9) + b"bb"
    data += header(2, 4, stamp=30) + b"cc"
    data += header(3, 4) + b"dd"
    assert read(data) == [
        Message(8, 1, 1000, b"a"),
        Message(9, 1, 1020, b"bb"),
        Message(9, 1, 1050, b"cc"),
        Message(9, 1, 1080, b"dd"),
    ]


def test_a_bare_header_after_a_full_one_repeats_its_timestamp_as_the_delta() -> None:
    data = header(0, 4, stamp=1000, size=1) + b"a" + header(3, 4) + b"b"
    assert [message.timestamp for message in read(data)] == [1000, 2000]  # 5.3.1.2.4


@pytest.mark.parametrize("repeats", [True, False])
def test_the_extended_timestamp_of_continuations_may_be_missing(repeats: bool) -> None:
    stamp = pack("!I", 0x1234_5678)
    data = header(0, 4, stamp=0xFFFFFF, size=200) + stamp + b"a" * 128
    data += header(3, 4) + (stamp if repeats else b"") + b"b" * 72
    assert read(data) == [Message(8, 1, 0x1234_5678, b"a" * 128 + b"b" * 72)]


@pytest.mark.parametrize(("head", "channel"), [(b"\x00\x00", 64), (b"\x00\xff", 319), (b"\x01\x00\x01", 320)])
def test_long_chunk_stream_ids(head: bytes, channel: int) -> None:
    reader = ChunkReader(LIMIT)
    reader.feed(head + header(0, 2, size=200)[1:] + b"a" * 128)
    assert reader.next_message() is None
    assert set(reader._streams) == {channel}


def test_messages_of_several_chunk_streams_interleave() -> None:
    data = header(0, 6, size=200, kind=9) + b"v" * 128 + header(0, 4, size=3) + b"aaa" + header(3, 6) + b"v" * 72
    assert read(data) == [Message(8, 1, 0, b"aaa"), Message(9, 1, 0, b"v" * 200)]


def test_an_aborted_message_is_discarded() -> None:
    reader = ChunkReader(LIMIT)
    reader.feed(header(0, 6, size=200, kind=9) + b"v" * 128)
    assert reader.next_message() is None
    assert reader.buffered == 128
    reader.abort(6)
    reader.abort(7)
    assert reader.buffered == 0
    reader.feed(header(0, 6, size=1) + b"x")
    assert reader.next_message() == Message(8, 1, 0, b"x")


def test_a_new_header_replaces_an_incomplete_message() -> None:
    data = header(0, 6, size=200) + b"v" * 128 + header(0, 6, size=2) + b"xx"
    assert read(data) == [Message(8, 1, 0, b"xx")]


def test_the_number_of_chunk_streams_is_bounded() -> None:
    reader = ChunkReader(LIMIT)
    for number in range(STREAM_LIMIT):
        reader.feed(bytes([0, number]) + header(0, 2, size=1)[1:] + b"x")
        assert reader.next_message() is not None
    reader.feed(bytes([0, STREAM_LIMIT]) + header(0, 2, size=1)[1:] + b"x")
    with pytest.raises(MalformedPacket, match="chunk streams"):
        reader.next_message()


def test_the_size_of_a_message_is_bounded() -> None:
    assert read(header(0, 4, size=100) + bytes(100), limit=100)
    with pytest.raises(MalformedPacket, match="too large"):
        read(header(0, 4, size=101) + bytes(101), limit=100)


def test_incomplete_messages_together_are_bounded() -> None:
    limit = 100_000
    reader = ChunkReader(limit)
    reader.chunk_size = limit // 2
    reader.feed(header(0, 4, size=limit) + bytes(limit // 2) + header(0, 5, size=limit) + bytes(limit // 2))
    assert reader.next_message() is None
    reader.feed(header(0, 6, size=limit) + bytes(limit // 2))
    assert reader.next_message() is None
    assert reader.buffered <= limit + INTERLEAVED_BYTES
    reader.feed(header(0, 7, size=limit) + bytes(limit // 2))
    with pytest.raises(MalformedPacket, match="incomplete"):
        reader.next_message()


def test_random_input_is_malformed_or_harmless() -> None:
    dice = random.Random(5)
    start = written((6, Message(9, 1, 5, bytes(300))), (4, Message(8, 1, 9, b"sound")))
    for _ in range(2000):
        data = bytearray(start * 2)
        for _ in range(4):
            data[dice.randrange(len(data))] = dice.randrange(256)
        reader = ChunkReader(1000)
        reader.feed(bytes(data))
        try:
            while reader.next_message() is not None:
                pass
        except MalformedPacket:
            continue
        assert reader.buffered <= len(data)
