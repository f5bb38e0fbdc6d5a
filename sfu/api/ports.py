"""Protocols that the HTTP API depends on: rooms (implemented by `sfu.rooms.registry.Rooms`), egress jobs
(`sfu.egress.jobs.EgressJobs`) and the node (`sfu.admin.node.Node`)."""

import builtins
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from sfu.cluster.ports import NodeInfo
from sfu.egress.job import EgressSpec
from sfu.egress.protocol import Destination, DestinationState, Status
from sfu.egress.recordings import StoredRecording
from sfu.ingest.status import IngestStatus
from sfu.rooms import Participant, Permissions, Room
from sfu.rooms.egress_status import LayoutName
from sfu.telemetry.metrics import Collector


class RoomsPort(Protocol):
    """Room operations. Synchronous; raises RemoteError, in particular NotFound for unknown rooms and participants."""

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
        """None leaves a value unchanged."""

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
        """None leaves a value unchanged."""

    def set_permissions(self, name: str, identity: str, permissions: Permissions) -> Participant: ...

    def kick(self, name: str, identity: str, reason: str = "") -> None: ...

    def mute(self, name: str, track: str, muted: bool = True) -> None: ...

    def send_data(
        self, name: str, payload: str, *, topic: str = "", identities: Sequence[str] = (), keep: bool = False
    ) -> None: ...


class Named(Protocol):
    @property
    def name(self) -> str: ...


class OpenRecording(Protocol):
    @property
    def directory(self) -> Path: ...


class Worker(Protocol):
    @property
    def pid(self) -> int: ...


class EgressJob(Protocol):
    """One egress job, read only."""

    @property
    def id(self) -> str: ...

    @property
    def room(self) -> Named: ...

    @property
    def spec(self) -> EgressSpec: ...

    @property
    def status(self) -> Status | None:
        """Last report of the worker; None: no report yet."""

    @property
    def recording(self) -> OpenRecording | None: ...

    @property
    def renditions(self) -> Sequence[Named]: ...

    @property
    def destinations(self) -> Sequence[DestinationState]: ...

    @property
    def supervisor(self) -> Worker: ...

    @property
    def started_at(self) -> float:
        """Seconds since 1970."""

    @property
    def restarts(self) -> int: ...

    @property
    def problem(self) -> str:
        """One sentence for people; empty: none."""


class EgressPort(Protocol):
    """Egress operations. Synchronous; raises RemoteError."""

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
        """None leaves a value unchanged."""

    def add_destination(self, room: Room, url: str) -> Destination: ...

    def remove_destination(self, room: Room, destination: str) -> None: ...

    def stop(self, room: str) -> None: ...

    def start_track_egress(self, room: Room) -> object: ...

    def stop_track_egress(self, room: str) -> None: ...

    def recordings(self, room: str) -> Sequence[StoredRecording]: ...


class IngestPort(Protocol):
    """Stream keys and their streams. Synchronous; raises RemoteError."""

    def create(self, room: str, identity: str, name: str) -> tuple[IngestStatus, str]:
        """Returns the status and the key, which cannot be read again. Call `save` afterwards."""

    def create_pull(self, room: str, identity: str, name: str, url: str) -> IngestStatus:
        """Pulls a camera over RTSP until it is revoked. Call `save` afterwards."""

    def revoke(self, room: str, identifier: str) -> None:
        """Call `save` afterwards."""

    def save(self) -> None:
        """Stores the keys and the cameras. Blocks; runs in another thread."""

    def list(self, room: str = "") -> Sequence[IngestStatus]:
        """All keys, or those of a room."""


class NodePort(Protocol):
    def not_ready(self) -> str:
        """Why load balancers should not use this node; empty: ready."""

    def no_new_rooms(self) -> str:
        """Why this node refuses new rooms; empty: it accepts them."""

    @property
    def collectors(self) -> Sequence[Collector]:
        """The collectors for `/metrics`, without that of HTTP requests, which the API adds."""


class NodesPort(Protocol):
    """This node and the other nodes of its cluster. Raises RemoteError."""

    async def list(self) -> Sequence[NodeInfo]:
        """Living nodes. Raises Unavailable when the directory does not answer and never has."""

    @property
    def own(self) -> NodeInfo:
        """This node, now."""

    async def drain(self) -> None:
        """Moves the rooms of this node to others, and refuses new ones. Returns when that has begun."""

    async def undo_drain(self) -> None: ...

    async def move(self, room: str, node: str) -> NodeInfo:
        """Moves a room of this node. Returns its new home. `node`: an id; empty: the best node."""
