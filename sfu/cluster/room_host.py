"""The rooms of this process as the membership sees them: takes snapshots, restores rooms and gives them up."""

import msgspec

from sfu.errors import RemoteError
from sfu.ids import RoomName
from sfu.rooms.registry import Rooms
from sfu.rooms.snapshot import RoomSnapshot

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(RoomSnapshot).decode


class LocalRooms:
    """A RoomHost."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    def rooms(self) -> set[str]:
        return self._rooms.names()

    def take(self, room: str) -> bytes | None:
        """The encoded snapshot of a room; None: it has ended."""
        try:
            return _encode(self._rooms.snapshot(room))
        except RemoteError:
            return None

    def restore(self, room: str, snapshot: bytes) -> None:
        """Raises ValueError when the snapshot is malformed or of another room, or when the room cannot be created."""
        try:
            decoded = _decode(snapshot)
        except msgspec.DecodeError as error:
            raise ValueError(f"the snapshot is malformed: {error}") from error
        if decoded.state.name != RoomName(room):
            raise ValueError("the snapshot belongs to another room")
        try:
            self._rooms.restore(decoded)
        except RemoteError as error:
            raise ValueError(error.message) from error

    def lost(self, room: str) -> None:
        self._rooms.move(room)
