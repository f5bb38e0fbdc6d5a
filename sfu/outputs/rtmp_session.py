"""Sans-IO RTMP client that publishes: bytes in and out, and a state that only moves forward.

libavformat's RTMP client is not used, because it holds the GIL while connecting, so that a destination that does not
answer would block the whole worker. Adobe's RTMP 1.0 (2012): 5.2 handshake, 5.3 chunks, 5.4 control, 7.2 commands;
media as bodies of FLV tags (Video File Format 10.1, E.4). Messages carry absolute timestamps, extended after 4.6 hours.
"""

import enum
from struct import pack, unpack_from
from typing import Final

from sfu.errors import MalformedPacket
from sfu.outputs import amf

AUDIO: Final = 8
VIDEO: Final = 9
_SET_CHUNK_SIZE, _ABORT, _ACK, _CONTROL, _WINDOW, _BANDWIDTH, _DATA, _COMMAND = 1, 2, 3, 4, 5, 6, 18, 20
_HANDSHAKE: Final = 1536
_CHUNK_SIZE: Final = 4096
"""Size of outgoing chunks in bytes; OBS uses the same, so every server accepts it."""
_MESSAGE_LIMIT: Final = 65_536
_STREAM_LIMIT: Final = 64
_EXTENDED: Final = 0xFFFFFF
_CHANNELS: Final = {_COMMAND: 3, AUDIO: 4, _DATA: 4, VIDEO: 6}


class State(enum.Enum):
    HANDSHAKE = "handshake"
    CONNECTING = "connecting"
    CREATING = "creating"
    STARTING = "starting"
    PUBLISHING = "publishing"
    REFUSED = "refused"


class _ChunkStream:
    """State of one incoming chunk stream."""

    __slots__ = ("data", "extended", "kind", "size")

    def __init__(self) -> None:
        self.data = bytearray()
        self.size = 0
        self.kind = 0
        self.extended = False


class PublishingSession:
    """Pass it the bytes from the server, and send those of `data_to_send`. Media may be sent in state PUBLISHING."""

    def __init__(self, application: str, key: str, address: str, noise: bytes) -> None:
        """`address`: the URL without the key, sent as `tcUrl`. `noise`: 1528 random bytes."""
        self.state = State.HANDSHAKE
        self.refusal = ""
        "Status code with which the server refused; never contains text with the stream key."
        self._application, self._key, self._address = application, key, address
        self._out = bytearray(b"\x03" + bytes(8) + noise)
        self._in = bytearray()
        self._sizes = [128, 128]  # incoming, outgoing
        self._streams: dict[int, _ChunkStream] = {}
        self._stream = 0
        self._window = 0
        self._received = self._acknowledged = 0

    def data_to_send(self) -> bytes:
        data = bytes(self._out)
        self._out.clear()
        return data

    def receive_data(self, data: bytes) -> None:
        """Raises MalformedPacket; the connection must then be closed."""
        self._in += data
        self._received += len(data)
        if self.state is State.HANDSHAKE and not self._receive_handshake():
            return
        while self._receive_chunk():
            pass
        if self._window and self._received - self._acknowledged >= self._window // 2:
            self._acknowledged = self._received
            self._send(2, _ACK, 0, pack("!I", self._received & 0xFFFFFFFF))

    def send_media(self, kind: int, milliseconds: int, body: bytes) -> None:
        self._send(_CHANNELS[kind], kind, self._stream, body, milliseconds)

    def send_metadata(self, metadata: dict[str, amf.Value]) -> None:
        self._send(4, _DATA, self._stream, amf.encode("@setDataFrame", "onMetaData", amf.EcmaArray(metadata)))

    def send_end(self) -> None:
        self._command("FCUnpublish", 6, None, self._key)
        self._command("deleteStream", 7, None, self._stream)

    # -- incoming -----------------------------------------------------------------------------------------------------

    def _receive_handshake(self) -> bool:
        if len(self._in) < 1 + 2 * _HANDSHAKE:
            return False
        if self._in[0] != 3:
            raise MalformedPacket("not an RTMP server")
        self._out += self._in[1 : 1 + _HANDSHAKE]
        del self._in[: 1 + 2 * _HANDSHAKE]
        self.state = State.CONNECTING
        self._send(2, _SET_CHUNK_SIZE, 0, pack("!I", _CHUNK_SIZE))
        self._sizes[1] = _CHUNK_SIZE
        self._command(
            "connect",
            1,
            {
                "app": self._application,
                "type": "nonprivate",
                "flashVer": "FMLE/3.0 (compatible; aiosfu)",
                "tcUrl": self._address,
            },
        )
        return True

    def _receive_chunk(self) -> bool:
        data, at = self._in, 1
        if not data:
            return False
        form, channel = data[0] >> 6, data[0] & 0x3F
        if channel < 2:
            at += channel + 1
            if len(data) < at:
                return False
            channel = 64 + data[1] + (data[2] << 8 if channel else 0)
        stream = self._streams.get(channel)
        if stream is None:
            if len(self._streams) >= _STREAM_LIMIT:
                raise MalformedPacket("too many RTMP chunk streams")
            stream = _ChunkStream()
        length = (11, 7, 3, 0)[form]
        if len(data) < at + length:
            return False
        size, kind, extended = stream.size, stream.kind, stream.extended
        if form < 3:
            extended = int.from_bytes(data[at : at + 3], "big") == _EXTENDED
        if form < 2:
            size, kind = int.from_bytes(data[at + 3 : at + 6], "big"), data[at + 6]
            if size > _MESSAGE_LIMIT:
                raise MalformedPacket("RTMP message is too large")
        at += length + (4 if extended else 0)
        pending = stream.data if form == 3 else bytearray()
        take = min(self._sizes[0], size - len(pending))
        if len(data) < at + take:
            return False
        stream.size, stream.kind, stream.extended = size, kind, extended
        pending += data[at : at + take]  # in place: a message may arrive in chunks of one byte
        stream.data = pending
        self._streams[channel] = stream
        del data[: at + take]
        if len(stream.data) >= size:
            message, stream.data = bytes(stream.data), bytearray()
            self._receive_message(kind, message)
        return True

    def _receive_message(self, kind: int, data: bytes) -> None:
        if kind in (_SET_CHUNK_SIZE, _WINDOW, _BANDWIDTH) and len(data) >= 4:
            (value,) = unpack_from("!I", data)
            if kind == _SET_CHUNK_SIZE:
                if not 1 <= value <= 0xFFFFFF:
                    raise MalformedPacket("invalid RTMP chunk size")
                self._sizes[0] = value
            elif kind == _WINDOW:
                self._window = value
            else:
                self._send(2, _WINDOW, 0, data[:4])
        elif kind == _CONTROL and len(data) >= 6 and data[:2] == b"\0\x06":
            self._send(2, _CONTROL, 0, b"\0\x07" + data[2:6])
        elif kind == _COMMAND:
            self._receive_command(amf.decode(data))

    def _receive_command(self, values: list[amf.Value]) -> None:
        name, number = (*values, None, None)[:2]
        if name == "_error":
            # Servers may not support releaseStream and FCPublish. Only errors of connect (1) and createStream (4) matter.
            if number in (1, 4):
                self._refuse(values)
        elif name == "_result" and number == 1 and self.state is State.CONNECTING:
            self.state = State.CREATING
            self._command("releaseStream", 2, None, self._key)
            self._command("FCPublish", 3, None, self._key)
            self._command("createStream", 4, None)
        elif name == "_result" and number == 4 and self.state is State.CREATING:
            found = values[3] if len(values) > 3 else None
            if not isinstance(found, float) or not 0 <= found <= 0xFFFFFFFF:
                raise MalformedPacket("invalid RTMP stream id")
            self._stream = int(found)
            self.state = State.STARTING
            self._command("publish", 5, None, self._key, "live", stream=self._stream)
        elif name == "onStatus":
            code = _code(values)
            if code == "NetStream.Publish.Start" and self.state is State.STARTING:
                self.state = State.PUBLISHING
            elif _level(values) == "error" or code.endswith(("BadName", "Denied", "Rejected", "Failed")):
                self._refuse(values)
        elif name == "close":
            self._refuse(values)

    def _refuse(self, values: list[amf.Value]) -> None:
        self.state = State.REFUSED
        self.refusal = _code(values)

    # -- outgoing -----------------------------------------------------------------------------------------------------

    def _command(self, name: str, number: int, *values: amf.Value, stream: int = 0) -> None:
        self._send(3, _COMMAND, stream, amf.encode(name, number, *values))

    def _send(self, channel: int, kind: int, stream: int, body: bytes, milliseconds: int = 0) -> None:
        milliseconds &= 0xFFFFFFFF
        stamp = min(milliseconds, _EXTENDED)
        extended = pack("!I", milliseconds) if stamp == _EXTENDED else b""
        out, size = self._out, self._sizes[1]
        out += bytes([channel]) + pack("!I", stamp)[1:] + pack("!I", len(body))[1:] + bytes([kind])
        out += pack("<I", stream) + extended + body[:size]
        for at in range(size, len(body), size):
            out += bytes([0xC0 | channel]) + extended + body[at : at + size]


def video_body(data: bytes, *, keyframe: bool, header: bool = False) -> bytes:
    """Body of a video tag: length-prefixed H.264, or the avcC record if `header` is set."""
    return bytes([0x17 if keyframe else 0x27, 0 if header else 1, 0, 0, 0]) + data


def audio_body(data: bytes, *, header: bool = False) -> bytes:
    """Body of an audio tag: raw AAC, or the AudioSpecificConfig if `header` is set."""
    return bytes([0xAF, 0 if header else 1]) + data


def _code(values: list[amf.Value]) -> str:
    for value in values[2:]:
        if isinstance(value, dict) and isinstance(code := value.get("code"), str):
            return "".join([letter for letter in code if letter.isalnum() or letter == "."])[:60]
    return "refused"


def _level(values: list[amf.Value]) -> object:
    return next((value["level"] for value in values[2:] if isinstance(value, dict) and "level" in value), None)
