"""This process as a node of a cluster: wires the directory, the membership, the landing and the HTTP server for other nodes."""

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, Protocol

from aiohttp import web

from sfu import __version__
from sfu.api.forwarding import Forwarding
from sfu.api.hls_edge import HlsEdge
from sfu.api.internal_listener import UNIX, Cluster, NodeSite
from sfu.auth.addresses import ClientAddresses
from sfu.auth.tokens import Claims
from sfu.cluster.directory_client import DirectoryClient
from sfu.cluster.draining import Draining
from sfu.cluster.handover import Handover
from sfu.cluster.home_cache import HomeCache
from sfu.cluster.membership import Membership
from sfu.cluster.node_auth import NodeAuthentication, SignedBus
from sfu.cluster.node_client import NodeClient
from sfu.cluster.ports import Bus, Directory, Home, NodeInfo, Unavailable
from sfu.cluster.recent_joins import RecentJoins
from sfu.cluster.resume_keys import TicketKeys
from sfu.cluster.revocations import SharedRevocations
from sfu.cluster.room_host import EgressState, LocalRooms
from sfu.cluster.room_links import RoomLinks
from sfu.cluster.settings import Settings as ClusterSettings
from sfu.cluster.settings import is_ip_address
from sfu.cluster.snapshots import Snapshots
from sfu.cluster.spread import Spread
from sfu.cluster.statistics import Statistics
from sfu.cluster.tickets import TicketSealer
from sfu.config import Settings
from sfu.errors import ConfigurationError, Conflict
from sfu.rooms.observer import Observation, RoomClosed, RoomObserver, RoomOpened, RoomSummary
from sfu.rooms.registry import Rooms
from sfu.signaling.landing import Landing
from sfu.transport.relay import Relay
from sfu.transport.webrtc_server import WebRtcServer

log = logging.getLogger(__name__)

START_TIMEOUT: Final = 10.0
"""Seconds for the first answer of the directory. Without it the node starts nevertheless, and serves rooms when it comes."""
CLAIM_RETRY: Final = 1.0
"""Seconds between claims of a room that was created while the directory did not answer."""


class Load(Protocol):
    """Counters of the server that a node announces."""

    def capacity_used(self) -> float: ...

    def joins(self) -> int:
        """Since the start."""

    def is_draining(self) -> bool: ...

    def no_new_rooms(self) -> str:
        """Why this node refuses new rooms; empty: it accepts them."""

    def set_draining(self, draining: bool) -> None:
        """A node that drains refuses new rooms, and is not ready."""


class BusDriver(Bus, Protocol):
    async def close(self) -> None: ...


class ClusterNode:
    """Create it in the event loop. `connect` the server's parts, then `open`; `leave` before rooms close, then `close`."""

    def __init__(self, settings: Settings, authenticate: Callable[[str], Claims], addresses: ClientAddresses) -> None:
        """Raises ConfigurationError."""
        cluster = settings.cluster
        self._settings = settings
        self._authenticate = authenticate
        self._addresses = addresses
        self.node_id = cluster.node_id or socket.gethostname()
        self.url = internal_url(cluster)
        self._directory, self._driver = _drivers(cluster)
        self._bus = SignedBus(self._driver, cluster.secrets)
        self.authentication = NodeAuthentication(cluster.secrets, self.node_id)
        self.client = NodeClient(self.authentication)
        self.resume_keys = TicketKeys(TicketSealer(cluster.secrets), time.time)
        self.revocations = SharedRevocations(settings.auth.revocation_limit)
        self._joins = RecentJoins()
        self._tasks: list[asyncio.Task[None]] = []
        self._claiming: set[asyncio.Task[None]] = set()
        self._site: NodeSite | None = None
        self._open = False
        self.stopping = False
        """The server drains because it stops."""
        self._started_at = time.time()
        self.membership: Membership
        self.homes: HomeCache
        self.hls_edge: HlsEdge
        self._handover: Handover
        self._draining: Draining
        self._snapshots: Snapshots
        self._local: LocalRooms
        self._rooms: Rooms
        self._load: Load
        self.relay: Relay
        self.spread: Spread

    # -- wiring -----------------------------------------------------------------------------------------------------

    def observing(self, observer: RoomObserver) -> RoomObserver:
        """The observer of the rooms that also releases ended rooms."""

        def observe(summary: RoomSummary, observation: Observation) -> None:
            observer(summary, observation)
            room = str(summary.state.name)
            if isinstance(observation, RoomClosed) and self._open:
                self.membership.release(room)
            elif isinstance(observation, RoomOpened) and self.membership.home_of(room) is None:
                # A join or a request claims the room first. This one was created otherwise, e.g. for a camera.
                task = asyncio.create_task(self._claim(room))
                self._claiming.add(task)
                task.add_done_callback(self._claiming.discard)

        return observe

    def room_changed(self, room: str) -> None:
        self._snapshots.room_changed(room)

    def statistics(self) -> Statistics:
        membership, snapshots = self.membership, self._snapshots
        return Statistics(
            nodes=membership.known_nodes,
            directory_reachable=membership.lease.reachable,
            cut_off=membership.cut_off,
            homes=len(membership.lease.homes),
            mirrored_rooms=self.spread.mirrored,
            edges=self.spread.edges,
            links_lost=self.spread.links.lost,
            unsaved_rooms=snapshots.unsaved,
            takeovers=membership.takeovers,
            lost_rooms=membership.lost_rooms,
            snapshots_saved=snapshots.saved,
            snapshots_refused={"fenced": snapshots.fenced, "oversized": snapshots.oversized},
            bus_refused=self._bus.refused,
            revocations_dropped=self.revocations.dropped,
        )

    def connect(self, rooms: Rooms, load: Load, webrtc_server: WebRtcServer) -> None:
        self._rooms, self._load = rooms, load
        local = self._local = LocalRooms(rooms)
        self._snapshots = Snapshots(
            self._directory,
            self._settings.cluster.secrets,
            local.take,
            lambda room: self.membership.home_of(room),
            lambda room: self.membership.drop(room),
        )
        self.membership = Membership(self._directory, self._info, local, self._snapshots, self.client)
        self.homes = HomeCache(self)
        self.hls_edge = HlsEdge(self.homes, self.client)
        self._handover = Handover(
            self._directory, self.membership, local, self._snapshots, self.client, load.no_new_rooms
        )
        self._draining = Draining(
            lambda: {str(room.name): len(room.members) for room in rooms.list()}, self._handover.move
        )
        self.relay = Relay(webrtc_server, self.node_id, self._settings.cluster.secrets, self)
        self.spread = Spread(rooms, self.membership, self.relay, self.node_id, self.client, load.no_new_rooms)
        self.spread.links = RoomLinks(self._bus, self._settings.cluster.secrets, self.node_id, self.spread.accept)

    def connect_egress(self, egress: EgressState) -> None:
        """Egress jobs continue on another node when this one is gone."""
        self._local.egress = egress

    def landing(self) -> Landing:
        return Landing(
            placement=self,
            nodes=self.client,
            authenticate=self._authenticate,
            creates=self._creates,
            resume_keys=self.resume_keys,
            edges=self.spread,
        )

    def routes(self) -> Cluster:
        return Cluster(
            authentication=self.authentication,
            forwarding=Forwarding(
                placement=self.homes,
                nodes=self.client,
                living=lambda: self.membership.nodes(),
                node_id=self.node_id,
                authenticate=self._authenticate,
                creates=self._creates,
                addresses=self._addresses,
                base_path=self._settings.http.base_path,
                merges_metrics=bool(self._settings.cluster.directory_socket),
            ),
            announce=lambda node: self.membership.announce_for(node),
            continue_room=lambda request: self._handover.answer(request),
            asks_for_edges=lambda room: self.spread.asks_for_edges(room),
            relay=lambda node, message: self.relay.receive(node, message),
        )

    async def find_home(self, room: str, *, create: bool) -> NodeInfo | None:
        """Implements Placement."""
        home = await self.membership.find_home(room, create=create)
        if home is None and self.membership.home_of(room) is not None:
            self.spread.continue_room(room)
        return home

    def check_home(self, room: str) -> None:
        """Implements Placement. Also call it before a join, moderation or chat. Raises AtCapacity (`cut_off`)."""
        self.membership.check_home(room)
        self.spread.check_link(room)

    def home_of(self, room: str) -> Home | None:
        """The home of a room that this node serves."""
        return self.membership.home_of(room)

    def forget_home(self, room: str, node: NodeInfo) -> None:
        """Implements Placement: `find_home` remembers no home."""
        self.homes.forget_home(room, node)

    # -- operations of the API (NodesPort) --------------------------------------------------------------------------

    async def list(self) -> Sequence[NodeInfo]:
        nodes = {**await self.membership.nodes(max_age=0.0), self.node_id: self.own}
        return [nodes[node] for node in sorted(nodes)]

    @property
    def own(self) -> NodeInfo:
        return self.membership.info

    async def drain(self) -> None:
        """Raises Conflict when no other node can take the rooms."""
        if all(node.draining or node.id == self.node_id for node in await self.list()):
            raise Conflict("No other node accepts rooms: start one, or end the drain of one.", code="last_node")
        if not self._load.is_draining():
            log.info("draining the node", extra={"rooms": len(self._rooms)})
        self._load.set_draining(True)
        self._draining.start()
        self.spread.drain()

    async def undo_drain(self) -> None:
        if self.stopping:
            raise Conflict("The node is shutting down.")
        await self._draining.stop()
        if self._load.is_draining():
            log.info("the drain of the node has ended")
        self._load.set_draining(False)

    async def move(self, room: str, node: str) -> NodeInfo:
        return await self._handover.move(room, node)

    async def exchange(self, node: str, message: bytes) -> bytes:
        """Implements RelaySignaling."""
        found = (await self.membership.nodes()).get(node)
        if found is None:
            raise Unavailable("The node does not exist any more.")
        return await self.client.relay(found, message)

    # -- life cycle -------------------------------------------------------------------------------------------------

    async def open(self, runner: web.AppRunner) -> None:
        """Listens for other nodes, and joins the cluster before clients connect. Raises ConfigurationError."""
        self._site = NodeSite(runner, self._settings.http, self._settings.cluster.listen)
        await self._site.start()
        self._open = True
        self.membership.open()
        self._tasks = [
            asyncio.create_task(_logged(work))
            for work in (self.revocations.run(self._bus), self.spread.links.run(), self.spread.run())
        ]
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self.membership.joined()
        except TimeoutError:
            log.warning("the directory does not answer; this node serves no rooms until it does")
        log.info("joined the cluster", extra={"node": self.node_id, "url": self.url})

    async def leave(self) -> None:
        """Ends the lease and hands the rooms over: other nodes continue them, clients resume there. Idempotent."""
        if not self._open:
            return
        self._open = False
        await self._draining.stop()
        tasks = [*self._tasks, *self._claiming]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.membership.close()
        for room in self._rooms.names():
            self._rooms.move(room)
        self.spread.close()
        await self.spread.links.close()
        self.relay.close()

    async def close(self) -> None:
        await self.leave()
        self.hls_edge.close()
        await self.client.close()
        await self._driver.close()
        await self._directory.close()

    async def _claim(self, room: str) -> None:
        """Claims a room that exists here, however long the directory is away. Closes it when another node has it already."""
        while self._rooms.has(room) and self.membership.home_of(room) is None:
            try:
                if await self.membership.find_home(room, create=True) is not None:
                    self._rooms.move(room)
            except Unavailable as error:
                log.warning("a room has no home", extra={"room": room, "reason": error.message})
                await asyncio.sleep(CLAIM_RETRY)

    # -- values -----------------------------------------------------------------------------------------------------

    def _info(self) -> NodeInfo:
        rooms = self._rooms.list()
        return NodeInfo(
            id=self.node_id,
            instance="",
            url=self.url,
            inbox=self.spread.links.inbox,
            load=self._load.capacity_used(),
            rooms=len(rooms),
            participants=self._rooms.participant_count,
            joins=self._joins.count(time.monotonic(), self._load.joins()),
            version=__version__,
            draining=self._load.is_draining(),
            started_at=self._started_at,
        )

    def _creates(self, claims: Claims) -> bool:
        return self._settings.rooms.create_on_join or claims.video.room_create


def shared_secret(settings: ClusterSettings, purpose: str) -> str:
    """A secret that all nodes of the cluster derive from its first secret."""
    return hmac.digest(settings.secrets[0].encode(), f"aiosfu {purpose}".encode(), hashlib.sha256).hex()


def internal_url(settings: ClusterSettings) -> str:
    """Where other nodes reach the internal HTTP server. Raises ConfigurationError."""
    if settings.listen.startswith(UNIX):
        return settings.listen
    host, _, port = settings.listen.rpartition(":")
    if is_ip_address(settings.advertise):
        host = f"[{settings.advertise}]" if ":" in settings.advertise else settings.advertise
    elif settings.advertise:
        return f"http://{settings.advertise}"
    if host.strip("[]") in ("", "0.0.0.0", "::"):
        host = _private_address()
    return f"http://{host}:{port}"


def _private_address() -> str:
    """Raises ConfigurationError."""
    found = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_DGRAM)
    for family, _, _, _, address in found:
        host = str(address[0])
        if ipaddress.ip_address(host).is_private and not ipaddress.ip_address(host).is_loopback:
            return f"[{host}]" if family == socket.AF_INET6 else host
    raise ConfigurationError("cluster.advertise is required: this machine's name has no private address.")


def _drivers(settings: ClusterSettings) -> tuple[Directory, BusDriver]:
    """Raises ConfigurationError."""
    if settings.directory_socket:
        client = DirectoryClient(settings.directory_socket)
        return client, client
    # The client of Redis is an extra.
    from sfu.cluster.redis_bus import RedisBus
    from sfu.cluster.redis_directory import RedisDirectory

    return RedisDirectory(settings), RedisBus(settings)


async def _logged(work: Coroutine[object, object, None]) -> None:
    """The root of a task."""
    try:
        await work
    except Exception:
        log.exception("a part of the cluster node failed")
        raise
