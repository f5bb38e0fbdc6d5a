"""The parts of RTMP that both ends of a connection use: handshake and protocol control messages.

Sans-IO: bytes in and out. Adobe's RTMP 1.0 (2012), 5.2 handshake, 5.4 protocol control, 7.1.7 user control. The handshake
is the simple one: encoders that offer a digest use the simple handshake when the other end does.
"""

from struct import pack, unpack_from
from typing import Final

from sfu.errors import MalformedPacket
from sfu.rtmp.chunks import MAX_CHUNK_SIZE, MIN_CHUNK_SIZE, ChunkReader, ChunkWriter, Message

SET_CHUNK_SIZE, ABORT, ACK, CONTROL, WINDOW, BANDWIDTH = 1, 2, 3, 4, 5, 6
AUDIO: Final = 8
VIDEO: Final = 9
DATA_AMF3, COMMAND_AMF3, DATA, COMMAND, AGGREGATE = 15, 17, 18, 20, 22
HANDSHAKE_SIZE: Final = 1536
NOISE_SIZE: Final = HANDSHAKE_SIZE - 8
CONTROL_CHANNEL: Final = 2
STREAM_BEGIN, PING, PONG = 0, 6, 7
_VERSION: Final = 3


class RtmpConnection:
    """One end of a connection. `receive_data`, then `next_message` until it returns None; send what `data_to_send` returns."""

    def __init__(self, noise: bytes, message_limit: int, *, client: bool) -> None:
        """`noise`: `NOISE_SIZE` random bytes. `message_limit`: maximum bytes of an incoming message."""
        self.open = False
        "Whether the handshake is complete."
        self.reader = ChunkReader(message_limit)
        self._writer = ChunkWriter()
        self._client = client
        self._noise = noise
        self._handshake = bytearray()
        self._out = bytearray()
        self._greeted = client
        self._window = 0
        self._received = self._acknowledged = 0
        if client:
            self._out += bytes([_VERSION]) + bytes(8) + noise

    @property
    def received(self) -> int:
        """Bytes received, handshake included."""
        return self._received

    def data_to_send(self) -> bytes:
        data = bytes(self._out) + self._writer.take()
        self._out.clear()
        return data

    def receive_data(self, data: bytes) -> None:
        """Raises MalformedPacket; the connection must then be closed."""
        self._received += len(data)
        if self.open:
            self.reader.feed(data)
        else:
            self._handshake += data
            self._shake_hands()

    def next_message(self) -> Message | None:
        """The next message that is not protocol control. Raises MalformedPacket."""
        if not self.open:
            return None
        while (message := self.reader.next_message()) is not None:
            if not self._control(message):
                return message
        if self._window and self._received - self._acknowledged >= self._window // 2:
            self._acknowledged = self._received
            self.send(CONTROL_CHANNEL, ACK, 0, pack("!I", self._received & 0xFFFFFFFF))
        return None

    def send(self, channel: int, kind: int, stream: int, body: bytes, milliseconds: int = 0) -> None:
        self._writer.write(channel, kind, stream, body, milliseconds)

    def set_chunk_size(self, size: int) -> None:
        """Announces the size of outgoing chunks and uses it from now on."""
        self.send(CONTROL_CHANNEL, SET_CHUNK_SIZE, 0, pack("!I", size))
        self._writer.chunk_size = size

    def _shake_hands(self) -> None:
        received = self._handshake
        if received and received[0] != _VERSION:
            raise MalformedPacket("not an RTMP server" if self._client else "not an RTMP client")
        if not self._greeted and len(received) > HANDSHAKE_SIZE:
            # S1 has no version in bytes 4 to 7: a client that knows the digest handshake then uses the simple one.
            self._out += bytes([_VERSION]) + bytes(8) + self._noise + received[1 : 1 + HANDSHAKE_SIZE]
            self._greeted = True
        size = 1 + 2 * HANDSHAKE_SIZE
        if len(received) < size:
            return
        if self._client:
            self._out += received[1 : 1 + HANDSHAKE_SIZE]
        self.open = True
        self.reader.feed(bytes(received[size:]))
        received.clear()

    def _control(self, message: Message) -> bool:
        """Handles protocol control; False if the message is something else."""
        kind, data = message.kind, message.body
        if kind > BANDWIDTH:
            return False
        if len(data) < 4:
            raise MalformedPacket("RTMP control message is truncated")
        (value,) = unpack_from("!I", data)
        if kind == SET_CHUNK_SIZE:
            if not MIN_CHUNK_SIZE <= value <= MAX_CHUNK_SIZE:
                raise MalformedPacket("invalid RTMP chunk size")
            self.reader.chunk_size = value
        elif kind == ABORT:
            self.reader.abort(value)
        elif kind == WINDOW:
            self._window = value
        elif kind == BANDWIDTH:
            self.send(CONTROL_CHANNEL, WINDOW, 0, data[:4])
        elif kind == CONTROL and value >> 16 == PING and len(data) >= 6:
            self.send(CONTROL_CHANNEL, CONTROL, 0, pack("!H", PONG) + data[2:6])
        return True
