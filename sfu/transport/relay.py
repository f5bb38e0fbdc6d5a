"""Media between the nodes of a cluster. A room on many nodes publishes its tracks here and subscribes to those of others.

The node of the publisher forwards each requested encoding once to each other node, over a peer of the engine for each pair
of nodes; the other node distributes it to its own subscribers. What a browser gets from its server, a node gets as well:
layers on demand, merged keyframe requests, retransmissions, sender reports and audio levels.

    Relay.publish    a track of this node, for all other nodes
    Relay.subscribe  a track of another node, as a MediaSource; a second call with another node moves it there
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from sfu.errors import AtCapacity, NotFound, SfuError
from sfu.ids import TrackId
from sfu.rooms.ports import MediaSource
from sfu.transport import relay_messages as messages
from sfu.transport.relay_keys import KeyExchange
from sfu.transport.relay_node import Published, RemoteNode
from sfu.transport.relayed_track import RelayedTrack

if TYPE_CHECKING:
    from sfu.transport.webrtc_server import WebRtcServer

log = logging.getLogger(__name__)

NODES_LIMIT: Final = 256
PUBLISHED_LIMIT: Final = 16_384
SUBSCRIBE_TIMEOUT: Final = 10.0
COLLECT: Final = 0.02
"""Seconds in which changes of layers are collected: a page that arranges its tiles sends many at once."""
RETRY: Final = 0.1
RETRY_LIMIT: Final = 2.0
"""Seconds between attempts to reach a node: doubled after each failure up to the limit."""
IDLE: Final = 30.0
"""Seconds after the last track until the path to a node is closed."""


class RelaySignaling(Protocol):
    """Signed requests between the relays of two nodes."""

    async def exchange(self, node: str, message: bytes) -> bytes:
        """Passes a message to `Relay.receive` of the other node and returns its answer. Raises SfuError and OSError."""


class Relay:
    """One per node. Create it in the event loop and close it before the WebRTC server."""

    def __init__(
        self, webrtc_server: "WebRtcServer", node: str, secrets: Sequence[str], signaling: RelaySignaling
    ) -> None:
        """`secrets`: of the cluster; the first one is used for keys of this node, the other nodes may use any."""
        self._webrtc_server = webrtc_server
        self._node = node
        self._secrets = secrets
        self._signaling = signaling
        self._nodes: dict[str, RemoteNode] = {}
        self._used_at: dict[str, float] = {}
        """When a track last used each node."""
        self.published: dict[TrackId, Published] = {}
        self.relayed: dict[TrackId, RelayedTrack] = {}
        self._generation = 0
        self._origins: dict[TrackId, RemoteNode] = {}
        """The node that each subscribed track comes from."""
        self._end_callbacks: dict[TrackId, Callable[[TrackId], None]] = {}
        self._waiting: dict[TrackId, asyncio.Future[RelayedTrack]] = {}
        self._delivering: dict[str, asyncio.Task[None]] = {}
        self._collecting: asyncio.TimerHandle | None = None
        self._closed = False
        webrtc_server.ticks.append(self._tick)

    def close(self) -> None:
        """Ends all relayed tracks and paths. Idempotent."""
        self._closed = True
        if self._tick in self._webrtc_server.ticks:
            self._webrtc_server.ticks.remove(self._tick)
        for task in self._delivering.values():
            task.cancel()
        for track in list(self.relayed):
            self.relayed.pop(track).close()
        for waiting in self._waiting.values():
            waiting.cancel()
        for remote in self._nodes.values():
            remote.close()
        self._nodes.clear()

    # -- tracks of this node ----------------------------------------------------------------------------------------

    def publish(self, track: TrackId, source: MediaSource) -> None:
        """Makes a track available to other nodes. Called again with another source, their subscribers go on with that.

        Raises AtCapacity.
        """
        if len(self.published) >= PUBLISHED_LIMIT and track not in self.published:
            raise AtCapacity("This node relays too many tracks.")
        self._generation += 1
        self.published[track] = Published(source, self._generation)
        self._published(track)

    def unpublish(self, track: TrackId) -> None:
        """Ends the track at the other nodes. Idempotent."""
        if self.published.pop(track, None) is not None:
            self._published(track)

    def _published(self, track: TrackId) -> None:
        for remote in self._nodes.values():
            remote.published(track)

    # -- tracks of other nodes --------------------------------------------------------------------------------------

    async def subscribe(self, node: str, track: TrackId, on_end: Callable[[TrackId], None]) -> RelayedTrack:
        """The track of another node. If it came from a third node until now, its subscribers notice a keyframe at most.

        `on_end` is called when the node ends the track, or when its path was lost for `relay_node.KEEP` seconds; the
        source is then closed. Raises NotFound and AtCapacity.
        """
        remote = self._remote(node)
        before = self._origins.get(track)
        self._end_callbacks[track] = on_end
        if before is remote and track in self.relayed:
            return self.relayed[track]
        waiting = self._waiting.get(track)
        if waiting is None:
            waiting = self._waiting[track] = asyncio.get_running_loop().create_future()
        self._origins[track] = remote
        if before is not None and before is not remote:
            before.unsubscribe(track)
        remote.subscribe(track)
        try:
            async with asyncio.timeout(SUBSCRIBE_TIMEOUT):
                return await asyncio.shield(waiting)
        except TimeoutError:
            self.unsubscribe(track)
            raise AtCapacity("The node of the track does not answer. Try again.") from None

    def unsubscribe(self, track: TrackId) -> None:
        """Closes the source. Idempotent."""
        remote = self._origins.pop(track, None)
        if remote is not None:
            remote.unsubscribe(track)
        self._drop(track)

    def _drop(self, track: TrackId) -> None:
        self._end_callbacks.pop(track, None)
        waiting = self._waiting.pop(track, None)
        if waiting is not None:
            waiting.cancel()
        relayed = self.relayed.pop(track, None)
        if relayed is not None:
            relayed.close()

    # -- TrackTable -------------------------------------------------------------------------------------------------

    def described(self, track: TrackId) -> None:
        waiting = self._waiting.pop(track, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(self.relayed[track])

    def ended(self, track: TrackId) -> None:
        self._origins.pop(track, None)
        waiting = self._waiting.pop(track, None)
        if waiting is not None and not waiting.done():
            waiting.set_exception(NotFound("The node does not have this track."))
            waiting.exception()  # the subscriber may have left
        on_end = self._end_callbacks.get(track)
        known = track in self.relayed
        self._drop(track)
        if on_end is not None and known:
            on_end(track)

    def touched(self, track: RelayedTrack) -> None:
        remote = self._origins.get(track.id)
        if remote is not None and remote.touch(track.id):
            self._collect()

    def changed(self) -> None:
        self._collect()

    # -- messages ---------------------------------------------------------------------------------------------------

    def receive(self, node: str, message: bytes) -> bytes:
        """Answers a message of another node, which the caller has authenticated. Raises ValueError and RemoteError."""
        now = time.monotonic()
        request = messages.decode_request(message)
        if isinstance(request, messages.Hello):
            return messages.encode(self._remote(node).hello_received(request, now))
        remote = self._nodes.get(node)
        if remote is None:
            return messages.encode(messages.UnknownSession())
        return messages.encode(remote.batch_received(request, now))

    def _remote(self, node: str) -> RemoteNode:
        remote = self._nodes.get(node)
        if remote is None:
            if node == self._node or self._closed:
                raise AtCapacity("A node does not relay to itself, and not after its end.")
            if len(self._nodes) >= NODES_LIMIT:
                raise AtCapacity("This node is connected to too many nodes.")
            exchange = KeyExchange(self._secrets, self._node, node)
            remote = self._nodes[node] = RemoteNode(self._webrtc_server, node, exchange, self)
            self._used_at[node] = time.monotonic()
        return remote

    def _collect(self) -> None:
        if self._collecting is None and not self._closed:
            self._collecting = asyncio.get_running_loop().call_later(COLLECT, self._collected)

    def _collected(self) -> None:
        self._collecting = None
        self._tick(time.monotonic())

    def _tick(self, now: float) -> None:
        for name, remote in list(self._nodes.items()):
            remote.tick(now)
            if not remote.idle:
                self._used_at[name] = now
                if remote.has_messages or remote.needs_hello(now):
                    self._deliver(remote)
            elif now - self._used_at[name] > IDLE:
                del self._nodes[name], self._used_at[name]
                remote.close()

    def _deliver(self, remote: RemoteNode) -> None:
        task = self._delivering.get(remote.name)
        if (task is None or task.done()) and not self._closed:
            task = self._delivering[remote.name] = asyncio.create_task(self._run(remote))
            task.add_done_callback(lambda done: self._delivered(remote.name, done))

    def _delivered(self, name: str, task: asyncio.Task[None]) -> None:
        if self._delivering.get(name) is task:
            del self._delivering[name]
        if not task.cancelled() and task.exception() is not None:
            log.error("relay messages failed", exc_info=task.exception())

    async def _run(self, remote: RemoteNode) -> None:
        """Delivers until nothing waits. One request at a time, so that messages keep their order."""
        pause = RETRY
        while not remote.transport.closed and not remote.idle:
            now = time.monotonic()
            try:
                if remote.needs_hello(now):
                    await self._say_hello(remote, now)
                elif remote.has_messages:
                    await self._send_batch(remote)
                else:
                    return
                pause = RETRY
            except (SfuError, OSError, ValueError) as error:
                log.info("node does not take relay messages", extra={"node": remote.name, "reason": str(error)})
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_LIMIT)

    async def _say_hello(self, remote: RemoteNode, now: float) -> None:
        hello = remote.hello()
        remote.hello_sent(now)
        answer = messages.decode_answer(await self._signaling.exchange(remote.name, messages.encode(hello)))
        if not isinstance(answer, messages.Hello):
            raise ValueError("the node did not answer a request for a session")
        if not remote.transport.closed:
            remote.hello_answered(hello, answer, time.monotonic())

    async def _send_batch(self, remote: RemoteNode) -> None:
        batch = remote.take_batch()
        try:
            answer = messages.decode_answer(await self._signaling.exchange(remote.name, messages.encode(batch)))
        except BaseException:
            remote.restore(batch)
            raise
        if isinstance(answer, messages.UnknownSession):
            remote.restore(batch)
            remote.session_lost(batch.session)
