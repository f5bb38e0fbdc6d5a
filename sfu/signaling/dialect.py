"""The interface of a signalling protocol. `json_dialect.py` implements the first one.

A session works with message types (messages/) and with events of rooms. A dialect translates them to and from the wire.
One instance serves all sessions that speak it, so a broadcast is encoded once per dialect.
"""

from collections.abc import Sequence
from typing import Protocol

from sfu.errors import BadRequest
from sfu.ids import ParticipantId
from sfu.rooms.events import DataPacket, Delivery
from sfu.signaling.messages import ClientMessage, Join, ServerMessage


class UnreadableMessage(BadRequest):
    """A frame that does not decode. `request` is its request id, or -1 when even that is unreadable."""

    def __init__(self, message: str, *, request: int = -1) -> None:
        super().__init__(message)
        self.request = request


class Dialect(Protocol):
    @property
    def subprotocol(self) -> str:
        """The WebSocket subprotocol that selects this dialect."""

    @property
    def binary(self) -> bool:
        """Whether WebSocket messages are binary."""

    def negotiate(self, join: Join) -> None:
        """Checks the protocol version of a client. Raises BadRequest (`unsupported_protocol`)."""

    def decode(self, frame: str | bytes) -> ClientMessage:
        """Raises UnreadableMessage, which names the place and the kind of the error, never the content."""

    def encode(self, message: ServerMessage) -> bytes: ...

    def encode_event(self, delivery: Delivery) -> bytes:
        """Returns the same object for all receivers of a broadcast."""

    def frame(self, messages: Sequence[bytes]) -> bytes:
        """Combines encoded messages, at least one, into one WebSocket message."""

    def decode_data(self, sender: ParticipantId, payload: str | bytes) -> DataPacket:
        """Decodes a data-channel message of a client. Raises BadRequest."""

    def encode_data(self, packet: DataPacket) -> str | bytes:
        """Returns the same object for all receivers of a packet."""
