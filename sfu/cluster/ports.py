"""The interface between a node and what all nodes share: a directory of nodes and rooms, and a bus.

Each room has one home: the node that decides about it. The directory grants homes by atomic claims. Each claim has a higher
epoch than the one before; a write with an older epoch is refused, so a node that lost its room cannot overwrite the state of
its successor (a fencing token). A home is valid while the instance that claimed it holds its lease: one lease per process,
not per room.

Two drivers implement the ports and pass the same contract tests: memory (`--workers`, served by the parent process on a
Unix socket) and Redis (`--redis`).
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sfu.errors import AtCapacity, SfuError

LEASE = 5.0
"""Seconds after the last announcement until a node counts as gone."""
ANNOUNCE_INTERVAL = 1.0
"""Seconds between two announcements of a node."""
SNAPSHOT_LIFETIME = 600.0
"""Seconds for which the directory keeps the snapshot of a room."""
SNAPSHOT_LIMIT_BYTES = 4 << 20
"""Largest snapshot of a room."""
MESSAGE_LIMIT_BYTES = 256 << 10
"""Largest message of the bus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInfo:
    """The announcement of a node."""

    id: str
    "Name of the node, e.g. of its pod. Stable across restarts."
    instance: str
    "Random id of this process. A restarted node has another one."
    url: str
    "Where other nodes reach its internal HTTP server: `http://10.0.0.3:7883` or `unix:/run/sfu/worker-1.sock`."
    inbox: str = ""
    "Stream of the bus that the node reads for messages of rooms on several nodes."
    load: float = 0.0
    "Share of its capacity in use, 0 to 1; the highest of CPU, network, memory and descriptors."
    rooms: int = 0
    participants: int = 0
    joins: int = 0
    "Joins in the last 20 s. They are not yet part of the load."
    version: str = ""
    draining: bool = False
    started_at: float = 0.0
    "Seconds since 1970."


@dataclass(frozen=True, slots=True)
class Home:
    """The node that decides about a room."""

    node: str
    instance: str
    epoch: int
    "Increases with each claim of the room."


class Unavailable(AtCapacity):
    """The directory or the bus does not answer. Clients get 503 with `Retry-After`."""

    default_code = "directory_unavailable"


class Unreachable(Unavailable):
    """Another node did not get the request: it refuses connections, or it is not the home of the room."""


class Fenced(SfuError):
    """A write by a node that is no longer the home of the room. The caller stops deciding about the room."""


class Directory(Protocol):
    """All methods raise Unavailable."""

    async def announce(self, node: NodeInfo) -> bool:
        """Renews the lease of the instance for `LEASE` seconds. Raises Fenced when the lease of this instance has expired
        before, or when `withdraw` ended it: the process takes a new instance id.

        False: the directory does not know the instance. It is new, or the directory lost its state."""

    async def withdraw(self, instance: str) -> None:
        """Ends the lease of an instance at once: the node stops, or there is proof that its process is dead. Idempotent."""

    async def nodes(self) -> Mapping[str, NodeInfo]:
        """Living nodes by id."""

    async def home(self, room: str) -> Home | None:
        """None: no living instance has the room."""

    async def claim(self, room: str, node: str, instance: str, *, over: str = "", epoch: int = 0) -> Home:
        """Returns the home of the room: the given instance, unless another living instance has it already.

        `over`: an instance that is proved dead, whose claim does not count even if its lease has not expired. `epoch`: that
        of the home that the caller has had. After a loss of the directory's state, it wins over a home with a lower epoch.
        Raises Fenced when the lease of `instance` has expired.
        """

    async def release(self, room: str, home: Home) -> None:
        """Gives the room up and deletes its snapshot. No effect when `home` is not the current one."""

    async def save(self, room: str, home: Home, snapshot: bytes) -> None:
        """Stores the snapshot for `SNAPSHOT_LIFETIME`. Raises Fenced when another home has followed or the room was released,
        and ValueError when it is larger than `SNAPSHOT_LIMIT_BYTES`."""

    async def load(self, room: str) -> bytes | None:
        """The newest snapshot; None: there is none."""

    async def close(self) -> None: ...


class Bus(Protocol):
    """Ordered streams of small messages that all nodes read. Bounded: a stream drops its oldest messages."""

    async def publish(self, stream: str, message: bytes) -> None:
        """Raises Unavailable, and ValueError when the message is larger than `MESSAGE_LIMIT_BYTES`."""

    def read(self, streams: Sequence[str]) -> AsyncIterator[tuple[str, bytes]]:
        """Yields (stream, message): first what the streams still hold, then each new message. Survives the loss of the
        connection; messages are delivered at least once, in the order of their stream."""


class Placement(Protocol):
    """Where a room is served, as the HTTP server of a node asks before it serves a request."""

    async def find_home(self, room: str, *, create: bool) -> NodeInfo | None:
        """None: this node serves the room, or the room does not exist and `create` is False.

        `create`: the room is placed on a node if no node has it. Raises Unavailable.
        """

    def check_home(self, room: str) -> None:
        """Checks that this node decides about a room that it serves. Raises Unavailable (`cut_off`)."""

    def forget_home(self, room: str, node: NodeInfo) -> None:
        """The node is not the home of the room, or does not answer: the next search asks the directory."""
