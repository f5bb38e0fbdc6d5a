"""What the HTTP API needs of the rest: rooms (fulfilled by `sfu.rooms.Rooms`), programmes (`sfu.egress.EgressJobs`) and
the node (`sfu.admin.node.Node`)."""

import builtins
from collections.abc import Mapping, Sequence
from typing import Protocol

from sfu.egress.job import EgressJob
from sfu.egress.protocol import Destination
from sfu.egress.recordings import StoredRecording
from sfu.rooms import Participant, Permissions, Room
from sfu.rooms.egress_status import LayoutName
from sfu.telemetry.metrics import Snapshot


class RoomsPort(Protocol):
    """Synchronous; refuses with RemoteErrors, NotFound for whatever is not there."""

    def list(self) -> builtins.list[Room]: ...

    def find(self, name: str) -> Room: ...

    def create(
        self,
        name: str,
        *,
        metadata: str = "",
        lobby: bool = False,
        idle_timeout: float | None = None,
        last_n: int | None = None,
        loudest: int | None = None,
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

    def set_permissions(self, name: str, identity: str, permissions: Permissions) -> Participant: ...

    def kick(self, name: str, identity: str, reason: str = "") -> None: ...

    def mute(self, name: str, track: str, muted: bool = True) -> None: ...

    def send_data(
        self, name: str, payload: str, *, topic: str = "", identities: Sequence[str] = (), keep: bool = False
    ) -> None: ...


class EgressPort(Protocol):
    """Synchronous; refuses with RemoteErrors."""

    def list(self) -> Sequence[EgressJob]: ...

    def find(self, room: str) -> EgressJob: ...

    def change(
        self,
        room: Room,
        *,
        live: bool | None = None,
        recording: bool | None = None,
        publish_to_room: bool | None = None,
        layout: LayoutName | None = None,
        focus: str | None = None,
        scene: str | None = None,
        renditions: Sequence[str] | None = None,
    ) -> EgressJob | None:
        """None: stays."""

    def add_destination(self, room: Room, url: str) -> Destination: ...

    def remove_destination(self, room: Room, destination: str) -> None: ...

    def stop(self, room: str) -> None: ...

    def start_track_egress(self, room: Room) -> object: ...

    def stop_track_egress(self, room: str) -> None: ...

    def recordings(self, room: str) -> Sequence[StoredRecording]: ...


class NodePort(Protocol):
    def not_ready(self) -> str:
        """Why balancers should send nobody here, in a few words; empty: it is ready."""

    def no_new_rooms(self) -> str:
        """Why this node takes none, in a few words; empty: it does."""

    def snapshot(self) -> Snapshot:
        """For `/metrics`. HTTP requests are added by the API itself."""
