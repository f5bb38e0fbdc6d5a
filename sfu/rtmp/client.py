"""Sans-IO RTMP client that publishes: bytes in and out, and a state that only moves forward.

libavformat's RTMP client is not used, because it holds the GIL while connecting, so that a destination that does not
answer would block the whole worker. Adobe's RTMP 1.0 (2012), 7.2 commands. Messages carry absolute timestamps, extended
after 4.6 hours.
"""

import enum
from typing import Final

from sfu.errors import MalformedPacket
from sfu.rtmp import amf
from sfu.rtmp.connection import AUDIO, COMMAND, DATA, VIDEO, RtmpConnection

CHUNK_SIZE: Final = 4096
"""Size of outgoing chunks in bytes; OBS uses the same, so every server accepts it."""
_MESSAGE_LIMIT: Final = 65_536
_CHANNELS: Final = {COMMAND: 3, AUDIO: 4, DATA: 4, VIDEO: 6}


class State(enum.Enum):
    HANDSHAKE = "handshake"
    CONNECTING = "connecting"
    CREATING = "creating"
    STARTING = "starting"
    PUBLISHING = "publishing"
    REFUSED = "refused"


class PublishingSession:
    """Pass it the bytes from the server, and send those of `data_to_send`. Media may be sent in state PUBLISHING."""

    def __init__(self, application: str, key: str, address: str, noise: bytes) -> None:
        """`address`: the URL without the key, sent as `tcUrl`. `noise`: 1528 random bytes."""
        self.state = State.HANDSHAKE
        self.refusal = ""
        "Status code with which the server refused; never contains text with the stream key."
        self._application, self._key, self._address = application, key, address
        self._connection = RtmpConnection(noise, _MESSAGE_LIMIT, client=True)
        self._stream = 0

    @property
    def buffered(self) -> int:
        """Bytes of incomplete messages."""
        return self._connection.reader.buffered

    def data_to_send(self) -> bytes:
        return self._connection.data_to_send()

    def receive_data(self, data: bytes) -> None:
        """Raises MalformedPacket; the connection must then be closed."""
        self._connection.receive_data(data)
        if self.state is State.HANDSHAKE:
            if not self._connection.open:
                return
            self._connect()
        while (message := self._connection.next_message()) is not None:
            if message.kind == COMMAND:
                self._receive_command(amf.decode(message.body))

    def send_media(self, kind: int, milliseconds: int, body: bytes) -> None:
        self._connection.send(_CHANNELS[kind], kind, self._stream, body, milliseconds)

    def send_metadata(self, metadata: dict[str, amf.Value]) -> None:
        body = amf.encode("@setDataFrame", "onMetaData", amf.EcmaArray(metadata))
        self._connection.send(_CHANNELS[DATA], DATA, self._stream, body)

    def send_end(self) -> None:
        self._command("FCUnpublish", 6, None, self._key)
        self._command("deleteStream", 7, None, self._stream)

    # -- incoming -----------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self.state = State.CONNECTING
        self._connection.set_chunk_size(CHUNK_SIZE)
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
        self._connection.send(_CHANNELS[COMMAND], COMMAND, stream, amf.encode(name, number, *values))


def _code(values: list[amf.Value]) -> str:
    for value in values[2:]:
        if isinstance(value, dict) and isinstance(code := value.get("code"), str):
            return "".join([letter for letter in code if letter.isalnum() or letter == "."])[:60]
    return "refused"


def _level(values: list[amf.Value]) -> object:
    return next((value["level"] for value in values[2:] if isinstance(value, dict) and "level" in value), None)
