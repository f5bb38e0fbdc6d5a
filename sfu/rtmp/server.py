"""Sans-IO RTMP server that receives one stream per connection.

    HANDSHAKE ─▶ CONNECTING ─▶ CONNECTED ─publish─▶ REQUESTED ─accept─▶ PUBLISHING ─▶ CLOSED
                                                        └──── refuse ───────────────────▲

Before `accept`, a client may send little: `UNAUTHENTICATED_LIMIT` bytes in all. Adobe's RTMP 1.0 (2012), 7.2; the
`fourCcList` of Enhanced RTMP v2. Playing is refused.
"""

import enum
from dataclasses import dataclass, field
from struct import pack
from typing import Final

from sfu.errors import MalformedPacket
from sfu.rtmp import amf
from sfu.rtmp.chunks import Message
from sfu.rtmp.connection import (
    AGGREGATE,
    AUDIO,
    BANDWIDTH,
    COMMAND,
    COMMAND_AMF3,
    CONTROL,
    CONTROL_CHANNEL,
    DATA,
    DATA_AMF3,
    HANDSHAKE_SIZE,
    STREAM_BEGIN,
    VIDEO,
    WINDOW,
    RtmpConnection,
)
from sfu.rtmp.flv import VIDEO_FOURCCS

WINDOW_SIZE: Final = 2_500_000
"""Bytes after which the client expects an acknowledgement; the value that other servers announce."""
CHUNK_SIZE: Final = 65_536
"""Size of outgoing chunks. FFmpeg uses the size that the server announces for its own chunks."""
COMMAND_LIMIT: Final = 16_384
"""Maximum bytes of a message before `accept`, and of a command at any time."""
UNAUTHENTICATED_LIMIT: Final = 2 * HANDSHAKE_SIZE + 1 + 32_768
MAX_COMMANDS: Final = 256
"""Commands of one connection."""
MAX_DATA_MESSAGES: Final = 16
"""Data messages that are parsed; later ones, such as timed metadata, are ignored."""
_STREAM: Final = 1
_COMMAND_CHANNEL: Final = 3
_STATUS_CHANNEL: Final = 5
_KEY_LIMIT: Final = 512


class State(enum.Enum):
    HANDSHAKE = "handshake"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    REQUESTED = "requested"
    PUBLISHING = "publishing"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class PublishRequested:
    """The client wants to publish. Answer with `accept` or `refuse`."""

    application: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Media:
    """An audio or video message; `body` is an FLV tag body (`sfu.rtmp.flv`)."""

    kind: int
    timestamp: int
    "Milliseconds, modulo 2³²."
    body: bytes


@dataclass(frozen=True, slots=True)
class Metadata:
    """`onMetaData` of the encoder."""

    values: dict[str, amf.Value]


@dataclass(frozen=True, slots=True)
class Unpublished:
    """The client ended its stream."""


Event = PublishRequested | Media | Metadata | Unpublished


class ServerSession:
    """`receive_data`, then `next_events` while `pending`; send what `data_to_send` returns. Any method may raise
    MalformedPacket; the connection must then be closed."""

    def __init__(self, noise: bytes, message_limit: int) -> None:
        """`noise`: `NOISE_SIZE` random bytes. `message_limit`: maximum bytes of a media message."""
        self.state = State.HANDSHAKE
        self.pending = False
        "Whether `next_events` has more to do without more data."
        self._connection = RtmpConnection(noise, COMMAND_LIMIT, client=False)
        self._message_limit = message_limit
        self._application = ""
        self._commands = self._data_messages = 0

    @property
    def buffered(self) -> int:
        """Bytes of incomplete messages."""
        return self._connection.reader.buffered

    def data_to_send(self) -> bytes:
        return self._connection.data_to_send()

    def receive_data(self, data: bytes) -> None:
        if self.state is State.CLOSED:
            return
        self._connection.receive_data(data)
        if self.state is not State.PUBLISHING and self._connection.received > UNAUTHENTICATED_LIMIT:
            raise MalformedPacket("too much data before the stream began")
        if self.state is State.HANDSHAKE and self._connection.open:
            self.state = State.CONNECTING
        self.pending = True

    def next_events(self, limit: int = 64) -> list[Event]:
        """Handles up to `limit` media messages or one command, which bounds the time of one call."""
        found: list[Event] = []
        for _ in range(limit):
            if self.state in (State.REQUESTED, State.CLOSED):
                # The rest waits for the answer to the request.
                self.pending = False
                return found
            message = self._connection.next_message()
            if message is None:
                self.pending = False
                return found
            event = self._receive(message)
            if event is not None:
                found.append(event)
            if message.kind not in (AUDIO, VIDEO):
                break  # a command may cost as much as many media messages
        return found

    def accept(self) -> None:
        """Starts the requested stream."""
        assert self.state is State.REQUESTED
        self.state = State.PUBLISHING
        self._connection.reader.message_limit = self._message_limit
        self._connection.send(CONTROL_CHANNEL, CONTROL, 0, pack("!HI", STREAM_BEGIN, _STREAM))
        self._status("status", "NetStream.Publish.Start", "Publishing.")
        self.pending = True

    def refuse(self, description: str) -> None:
        """Refuses the requested stream, or ends the accepted one. `description`: one sentence for the person."""
        if self.state not in (State.HANDSHAKE, State.CLOSED):
            code = "NetStream.Publish.Failed" if self.state is State.PUBLISHING else "NetStream.Publish.BadName"
            self._status("error", code, description)
        self.state = State.CLOSED

    # -- incoming -----------------------------------------------------------------------------------------------------

    def _receive(self, message: Message) -> Event | None:
        kind, body = message.kind, message.body
        if kind in (AUDIO, VIDEO):
            if self.state is not State.PUBLISHING:
                raise MalformedPacket("media before the stream began")
            return Media(kind, message.timestamp, body)
        if kind == AGGREGATE:
            raise MalformedPacket("aggregate RTMP messages are not supported")
        if kind in (DATA, DATA_AMF3):
            self._data_messages += 1
            if self._data_messages > MAX_DATA_MESSAGES or len(body) > COMMAND_LIMIT:
                return None
            return _metadata(amf.decode(body[1:] if kind == DATA_AMF3 else body))
        if kind not in (COMMAND, COMMAND_AMF3):
            return None  # shared objects and unknown types
        self._commands += 1
        if self._commands > MAX_COMMANDS or len(body) > COMMAND_LIMIT:
            raise MalformedPacket("too many or too long RTMP commands")
        # A command in AMF3 form is a byte of 0 and AMF0 values (7.1.1).
        return self._receive_command(amf.decode(body[1:] if kind == COMMAND_AMF3 else body))

    def _receive_command(self, values: list[amf.Value]) -> Event | None:
        name, number = (*values, None, None)[:2]
        transaction = number if isinstance(number, float) else 0.0
        if self.state is State.CONNECTING:
            if name != "connect":
                raise MalformedPacket("the first RTMP command must be connect")
            self._connect(values, transaction)
        elif name in ("createStream", "releaseStream", "FCPublish"):
            self._command("_result", transaction, None, *([_STREAM] if name == "createStream" else [None]))
        elif name == "publish":
            return self._publish(values)
        elif name in ("deleteStream", "closeStream", "FCUnpublish"):
            if self.state is State.PUBLISHING:
                self.state = State.CLOSED
                return Unpublished()
        elif name in ("play", "play2"):
            self._status("error", "NetStream.Play.Failed", "This server receives streams and does not play them.")
            self.state = State.CLOSED
        return None

    def _connect(self, values: list[amf.Value], transaction: float) -> None:
        given = values[2] if len(values) > 2 else None
        application = given.get("app") if isinstance(given, dict) else None
        self._application = application.strip("/")[:_KEY_LIMIT] if isinstance(application, str) else ""
        self.state = State.CONNECTED
        connection = self._connection
        connection.send(CONTROL_CHANNEL, WINDOW, 0, pack("!I", WINDOW_SIZE))
        connection.send(CONTROL_CHANNEL, BANDWIDTH, 0, pack("!IB", WINDOW_SIZE, 2))
        connection.set_chunk_size(CHUNK_SIZE)
        properties: dict[str, amf.Value] = {"fmsVer": "FMS/3,0,1,123", "capabilities": 31, "mode": 1}
        information: dict[str, amf.Value] = {
            "level": "status",
            "code": "NetConnection.Connect.Success",
            "description": "Connected.",
            "objectEncoding": 0,
            "fourCcList": list(VIDEO_FOURCCS),
        }
        self._command("_result", transaction, properties, information)

    def _publish(self, values: list[amf.Value]) -> Event:
        if self.state is not State.CONNECTED:
            raise MalformedPacket("a connection carries one RTMP stream")
        key = values[3] if len(values) > 3 else None
        if not isinstance(key, str) or len(key) > _KEY_LIMIT:
            raise MalformedPacket("publish without a stream key")
        self.state = State.REQUESTED
        return PublishRequested(self._application, key)

    # -- outgoing -----------------------------------------------------------------------------------------------------

    def _status(self, level: str, code: str, description: str) -> None:
        information: dict[str, amf.Value] = {"level": level, "code": code, "description": description}
        body = amf.encode("onStatus", 0, None, information)
        self._connection.send(_STATUS_CHANNEL, COMMAND, _STREAM, body)

    def _command(self, name: str, number: float, *values: amf.Value) -> None:
        self._connection.send(_COMMAND_CHANNEL, COMMAND, 0, amf.encode(name, number, *values))


def _metadata(values: list[amf.Value]) -> Metadata | None:
    if values[:1] == ["@setDataFrame"]:
        values = values[1:]
    if len(values) > 1 and values[0] == "onMetaData" and isinstance(values[1], dict):
        return Metadata(values[1])
    return None
