"""What the HTTP API needs of the rest: rooms (fulfilled by `sfu.rooms.Rooms`) and the node (by `sfu.app`)."""

import builtins
from collections.abc import Mapping, Sequence
from typing import Protocol

from sfu.rooms import Participant, Permissions, Room
from sfu.telemetry.metrics import Snapshot


class RoomsPort(Protocol):
    """Synchronous; refuses with RemoteErrors, NotFound for whatever is not there."""

    def list(self) -> builtins.list[Room]: ...

    def find(self, name: str) -> Room: ...

    def create(
        self, name: str, *, metadata: str = "", lobby: bool = False, idle_timeout: float | None = None
    ) -> Room: ...

    def update(
        self, name: str, *, metadata: str | None = None, locked: bool | None = None, lobby: bool | None = None
    ) -> Room:
        """None: stays."""

    def delete(self, name: str) -> None: ...

    def participant(self, name: str, identity: str) -> Participant: ...

    def update_participant(
        self,
        name: str,
        identity: str,
        *,
        display_name: str | None = None,
        metadata: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> Participant:
        """None: stays."""

    def permit(self, name: str, identity: str, permissions: Permissions) -> Participant: ...

    def kick(self, name: str, identity: str, reason: str = "") -> None: ...

    def mute(self, name: str, track: str, muted: bool = True) -> None: ...

    def send_data(
        self, name: str, payload: str, *, topic: str = "", identities: Sequence[str] = (), keep: bool = False
    ) -> None: ...


class NodePort(Protocol):
    def not_ready(self) -> str:
        """Why this node should get no new rooms, in a few words; empty: it is ready."""

    def snapshot(self) -> Snapshot:
        """For `/metrics`. HTTP requests are added by the API itself."""
