"""The rooms of this process as the membership sees them: takes snapshots, restores rooms and gives them up."""

from dataclasses import replace
from typing import Protocol

import msgspec

from sfu.errors import RemoteError
from sfu.ids import RoomName
from sfu.rooms.registry import Rooms
from sfu.rooms.room import Room
from sfu.rooms.snapshot import RoomSnapshot

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(RoomSnapshot).decode


class EgressState(Protocol):
    """Implemented by `sfu.egress.jobs.EgressJobs`."""

    def snapshot(self, room: str) -> bytes:
        """The wanted egress of a room; empty: none."""

    def restore(self, room: Room, snapshot: bytes) -> None:
        """Starts the wanted egress of a restored room. Logs what cannot start."""


class LocalRooms:
    """A RoomHost."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self.egress: EgressState | None = None

    def rooms(self) -> set[str]:
        return self._rooms.names()

    def take(self, room: str) -> bytes | None:
        """The encoded snapshot of a room; None: it has ended."""
        try:
            snapshot = self._rooms.snapshot(room)
        except RemoteError:
            return None
        if self.egress is not None:
            snapshot = replace(snapshot, egress=self.egress.snapshot(room))
        return _encode(snapshot)

    def restore(self, room: str, snapshot: bytes) -> None:
        """Raises ValueError when the snapshot is malformed or of another room, or when the room cannot be created."""
        try:
            decoded = _decode(snapshot)
        except msgspec.DecodeError as error:
            raise ValueError(f"the snapshot is malformed: {error}") from error
        if decoded.state.name != RoomName(room):
            raise ValueError("the snapshot belongs to another room")
        try:
            restored = self._rooms.restore(decoded)
        except RemoteError as error:
            raise ValueError(error.message) from error
        if self.egress is not None and decoded.egress:
            self.egress.restore(restored, decoded.egress)

    def lost(self, room: str) -> None:
        self._rooms.move(room)
