"""The JSON dialect, which PROTOCOL.md describes: one object per message, several messages in an array."""

from collections.abc import Sequence
from contextlib import suppress

import msgspec

from sfu.errors import BadRequest
from sfu.ids import ParticipantId
from sfu.rooms.events import DataPacket, Delivery
from sfu.signaling.dialect import UnreadableMessage
from sfu.signaling.messages import PROTOCOL_VERSION, ClientMessage, Join, ServerMessage
from sfu.signaling.serialization import event_message

ERROR_LENGTH = 300
"""Characters of a validation error that the client gets."""

_DECODE_ERRORS = (msgspec.MsgspecError, UnicodeError, RecursionError)


class _RequestId(msgspec.Struct):
    """The only field that is read of a message that does not decode as its type."""

    id: int = -1


class _DataIn(msgspec.Struct, frozen=True):
    """A data-channel message of a client."""

    payload: msgspec.Raw
    topic: str = ""


class _DataOut(msgspec.Struct, frozen=True, rename={"sender": "from"}):
    """A data-channel message to the other clients."""

    sender: str
    topic: str
    payload: msgspec.Raw


_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)
_decode_id = msgspec.json.Decoder(_RequestId).decode
_decode_data = msgspec.json.Decoder(_DataIn).decode


def encode(message: ServerMessage | ClientMessage) -> bytes:
    """One message as UTF-8 JSON."""
    return _encode(message)


def decode(frame: bytes | str) -> ClientMessage:
    """Raises msgspec.ValidationError or msgspec.DecodeError, whose text names the place."""
    return _decoder.decode(frame)


class JsonDialect:
    """A Dialect. It caches the last event and the last data packet, because rooms deliver one broadcast at a time."""

    __slots__ = ("_data", "_delivery", "_encoded_data", "_encoded_delivery")

    subprotocol = "sfu"
    binary = False

    def __init__(self) -> None:
        self._delivery: Delivery | None = None
        self._encoded_delivery = b""
        self._data: DataPacket | None = None
        self._encoded_data = ""

    def negotiate(self, join: Join) -> None:
        if join.protocol != PROTOCOL_VERSION:
            raise BadRequest(f"This server speaks version {PROTOCOL_VERSION}.", code="unsupported_protocol")

    def decode(self, frame: str | bytes) -> ClientMessage:
        try:
            return _decoder.decode(frame)
        except _DECODE_ERRORS as error:
            request = -1
            with suppress(*_DECODE_ERRORS):
                request = _decode_id(frame).id
            reason = str(error) if isinstance(error, msgspec.ValidationError) else "This is not a JSON object."
            raise UnreadableMessage(reason[:ERROR_LENGTH], request=request) from None

    def encode(self, message: ServerMessage) -> bytes:
        return _encode(message)

    def encode_event(self, delivery: Delivery) -> bytes:
        if delivery is not self._delivery:
            self._encoded_delivery = _encode(event_message(delivery))
            self._delivery = delivery
        return self._encoded_delivery

    def frame(self, messages: Sequence[bytes]) -> bytes:
        return messages[0] if len(messages) == 1 else b"[" + b",".join(messages) + b"]"

    def decode_data(self, sender: ParticipantId, payload: str | bytes) -> DataPacket:
        if not isinstance(payload, str):
            raise BadRequest("A data-channel message has to be text: a JSON object with a payload.")
        try:
            data = _decode_data(payload)
        except _DECODE_ERRORS:
            raise BadRequest('A data-channel message has to be a JSON object: {"topic": "…", "payload": …}.') from None
        return DataPacket(sender, data.topic, bytes(data.payload))

    def encode_data(self, packet: DataPacket) -> str:
        if packet is not self._data:
            out = _DataOut(packet.sender, packet.topic, msgspec.Raw(packet.payload))
            self._encoded_data = _encode(out).decode()
            self._data = packet
        return self._encoded_data
