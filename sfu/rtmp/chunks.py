"""The chunk stream of RTMP: splits messages into chunks and joins chunks to messages.

Input of a peer is untrusted: the number of chunk streams, the size of a message and the bytes of all incomplete messages
are bounded, and invalid data raises MalformedPacket only. Every chunk completes a message or carries at least
`MIN_CHUNK_SIZE` bytes, so that the number of steps is bounded by the bytes received. Adobe's RTMP 1.0 (2012), 5.3.
"""

from struct import pack
from typing import Final, NamedTuple

from sfu.errors import MalformedPacket

DEFAULT_CHUNK_SIZE: Final = 128
MIN_CHUNK_SIZE: Final = 128
"""Smallest chunk size that a peer may set. The specification allows 1, which no implementation uses."""
MAX_CHUNK_SIZE: Final = 0xFFFFFF
STREAM_LIMIT: Final = 64
"""Maximum chunk streams of a peer; encoders use up to 6."""
INTERLEAVED_BYTES: Final = 65_536
"""Bytes of incomplete messages beyond one message of the maximum size: audio between the chunks of a picture."""
_EXTENDED: Final = 0xFFFFFF
_HEADERS: Final = (11, 7, 3, 0)
"""Bytes of the message header, by chunk type."""


class Message(NamedTuple):
    kind: int
    "Message type id."
    stream: int
    "Message stream id."
    timestamp: int
    "Milliseconds, modulo 2³²."
    body: bytes


class _ChunkStream:
    """Header state of one incoming chunk stream, and its incomplete message."""

    __slots__ = ("data", "extended", "field", "kind", "message_stream", "size", "timestamp")

    def __init__(self) -> None:
        self.data = bytearray()
        self.size = self.kind = self.message_stream = self.timestamp = self.field = 0
        self.extended = False


class ChunkReader:
    """Bytes in, messages out."""

    def __init__(self, message_limit: int) -> None:
        """`message_limit`: maximum size of a message in bytes; may be changed later."""
        self.message_limit = message_limit
        self.chunk_size = DEFAULT_CHUNK_SIZE
        self._data = bytearray()
        self._streams: dict[int, _ChunkStream] = {}
        self._incomplete = 0

    @property
    def buffered(self) -> int:
        """Bytes of incomplete chunks and messages."""
        return len(self._data) + self._incomplete

    def feed(self, data: bytes) -> None:
        self._data += data

    def abort(self, channel: int) -> None:
        """Discards the incomplete message of a chunk stream (5.4.2)."""
        stream = self._streams.get(channel)
        if stream is not None:
            self._incomplete -= len(stream.data)
            stream.data = bytearray()

    def next_message(self) -> Message | None:
        """The next complete message; None: more bytes are needed. Raises MalformedPacket."""
        while True:
            found = self._read_chunk()
            if isinstance(found, Message):
                return found
            if not found:
                return None

    def _read_chunk(self) -> Message | bool:
        """Reads one chunk. Returns the message that it completes, or whether it was there completely."""
        data = self._data
        if not data:
            return False
        form, channel, at = data[0] >> 6, data[0] & 0x3F, 1
        if channel < 2:  # 5.3.1.1: one or two more bytes
            at += channel + 1
            if len(data) < at:
                return False
            channel = 64 + data[1] + (data[2] << 8 if channel else 0)
        stream = self._streams.get(channel)
        if stream is None:
            if len(self._streams) >= STREAM_LIMIT:
                raise MalformedPacket("too many RTMP chunk streams")
            stream = _ChunkStream()
        body = at + _HEADERS[form]
        if len(data) < body:
            return False
        size, kind, message_stream = stream.size, stream.kind, stream.message_stream
        field, extended = stream.field, stream.extended
        if form < 3:
            field = int.from_bytes(data[at : at + 3], "big")
            extended = field == _EXTENDED
        if form < 2:
            size, kind = int.from_bytes(data[at + 3 : at + 6], "big"), data[at + 6]
            if size > self.message_limit:
                raise MalformedPacket("RTMP message is too large")
        if form == 0:
            message_stream = int.from_bytes(data[at + 7 : at + 11], "little")
        if extended:
            if len(data) < body + 4:
                return False
            value = int.from_bytes(data[body : body + 4], "big")
            if form < 3 or value == field:  # some encoders omit it in chunks of type 3 (5.3.1.3)
                field = value
                body += 4
        pending = stream.data if form == 3 else bytearray()
        begins = not pending
        take = min(self.chunk_size, size - len(pending))
        if len(data) < body + take:
            return False
        if form < 3:
            self._incomplete -= len(stream.data)
        if begins:
            # 5.3.1.2.4: after a full header, type 3 repeats its timestamp as the delta.
            stream.timestamp = field if form == 0 else (stream.timestamp + field) & 0xFFFFFFFF
        stream.size, stream.kind, stream.message_stream = size, kind, message_stream
        stream.field, stream.extended = field, extended
        pending += data[body : body + take]  # in place: a message may arrive in many chunks
        self._streams[channel] = stream
        del data[: body + take]
        if len(pending) >= size:
            self._incomplete -= len(pending) - take
            stream.data = bytearray()
            return Message(kind, message_stream, stream.timestamp, bytes(pending))
        stream.data = pending
        self._incomplete += take
        if self._incomplete > self.message_limit + INTERLEAVED_BYTES:
            raise MalformedPacket("too many incomplete RTMP messages")
        return True


class ChunkWriter:
    """Messages in, bytes out."""

    def __init__(self) -> None:
        self.chunk_size = DEFAULT_CHUNK_SIZE
        self._out = bytearray()

    def __len__(self) -> int:
        return len(self._out)

    def write(self, channel: int, kind: int, stream: int, body: bytes, milliseconds: int = 0) -> None:
        """`channel`: chunk stream id, 2 … 63."""
        milliseconds &= 0xFFFFFFFF
        stamp = min(milliseconds, _EXTENDED)
        extended = pack("!I", milliseconds) if stamp == _EXTENDED else b""
        out, size = self._out, self.chunk_size
        out += bytes([channel]) + pack("!I", stamp)[1:] + pack("!I", len(body))[1:] + bytes([kind])
        out += pack("<I", stream) + extended + body[:size]
        for at in range(size, len(body), size):
            out += bytes([0xC0 | channel]) + extended + body[at : at + size]

    def take(self) -> bytes:
        data = bytes(self._out)
        self._out.clear()
        return data
