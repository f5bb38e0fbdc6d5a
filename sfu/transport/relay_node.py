"""One other node of the cluster: the tracks in both directions, and the messages about them.

Messages are states. What changed waits in an outbox with one entry per track until the other node has accepted it; a new
session states everything again. `now` is monotonic seconds.
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from sfu.errors import AtCapacity
from sfu.ids import TrackId
from sfu.rooms.ports import MediaSource
from sfu.transport import relay_messages as messages
from sfu.transport.relay_formats import CLOCK_RATES, PAYLOAD_TYPES, RTX_PAYLOAD_TYPES
from sfu.transport.relay_keys import KeyExchange
from sfu.transport.relay_sender import RelaySender, SentSsrcs
from sfu.transport.relay_transport import RTCP_SSRC, RelayTransport
from sfu.transport.relayed_track import RelayedTrack

if TYPE_CHECKING:
    from sfu.transport.webrtc_server import WebRtcServer

log = logging.getLogger(__name__)

KEEP: Final = 10.0
"""Seconds for which tracks wait for a lost path."""
HELLO_INTERVAL: Final = 1.0
"""Seconds between requests for a session while the path is lost."""
SENDERS_LIMIT: Final = 512
"""Tracks sent to one node."""


class Published(NamedTuple):
    source: MediaSource
    generation: int


class TrackTable(Protocol):
    """The tracks of this node."""

    @property
    def published(self) -> Mapping[TrackId, Published]:
        """Tracks that other nodes may subscribe to."""

    @property
    def relayed(self) -> dict[TrackId, RelayedTrack]:
        """Tracks of other nodes. They may move from one node to another."""

    def described(self, track: TrackId) -> None:
        """The track of another node is ready, or continues."""

    def ended(self, track: TrackId) -> None:
        """The other node has no such track any more."""

    def touched(self, track: RelayedTrack) -> None:
        """The demand for layers may have changed."""

    def changed(self) -> None:
        """A message waits."""


class RemoteNode:
    """Owned by the Relay, which carries the messages."""

    def __init__(self, webrtc_server: "WebRtcServer", name: str, exchange: KeyExchange, table: TrackTable) -> None:
        self.name = name
        self._webrtc_server = webrtc_server
        self._exchange = exchange
        self._table = table
        self.transport = RelayTransport(webrtc_server)
        self._senders: dict[TrackId, RelaySender] = {}
        self._subscribed: dict[TrackId, tuple[bytes, int]] = {}
        """Tracks of the node, and the session and generation that they are bound to."""
        self._touched: dict[TrackId, None] = {}
        """Tracks whose demand for layers may have changed."""
        self._outbox: dict[tuple[type[messages.Item], str], messages.Item] = {}
        self._sent = SentSsrcs(self.transport.forget_sent)
        self._next_ssrc = RTCP_SSRC + 1
        self._number = self._received = 0
        """Numbers of the last batches of the session."""
        self._hello_at = float("-inf")
        self._lost_at: float | None = None

    # -- sessions ---------------------------------------------------------------------------------------------------

    @property
    def session(self) -> bytes:
        return self._exchange.keys.session if self._exchange.keys is not None else b""

    @property
    def idle(self) -> bool:
        """No track uses the node."""
        return not self._senders and not self._subscribed and not self._outbox

    def hello(self) -> messages.Hello:
        addresses = self._webrtc_server.node_addresses
        return messages.Hello(self._exchange.nonce, self._exchange.key_id, addresses[: messages.ADDRESSES_LIMIT])

    def needs_hello(self, now: float) -> bool:
        """Whether a session has to be requested: there is none, or its path is lost."""
        path = self.transport.path
        return path is None or (path.is_lost(now) and now - self._hello_at >= HELLO_INTERVAL)

    def hello_sent(self, now: float) -> None:
        self._hello_at = now

    def hello_received(self, hello: messages.Hello, now: float) -> messages.Hello:
        """Answers a request for a session. Raises NotAuthorized."""
        if self._exchange.hello_received(hello.nonce, hello.key_id):
            self._begin(hello, now)
        else:
            self.transport.add_addresses(hello.addresses)
        return self.hello()

    def hello_answered(self, sent: messages.Hello, answer: messages.Hello, now: float) -> None:
        """Takes the answer to our request. Raises NotAuthorized."""
        began, again = self._exchange.answer_received(sent.nonce, answer.nonce, answer.key_id)
        if began:
            self._begin(answer, now)
        elif again:
            self._hello_at = float("-inf")
        else:
            self.transport.add_addresses(answer.addresses)

    def session_lost(self, session: bytes) -> None:
        """The other node does not know this session."""
        if session == self.session:
            self._exchange.restart()
            self.transport.end()

    def _begin(self, hello: messages.Hello, now: float) -> None:
        keys = self._exchange.keys
        assert keys is not None
        for sender in self._senders.values():
            sender.close()
        self._senders.clear()
        self._outbox.clear()
        self._number = self._received = 0
        self.transport.begin(keys, hello.addresses, now)
        self._sent = SentSsrcs(self.transport.forget_sent)
        self._lost_at = None
        self.transport.tick(now)
        for track in self._subscribed:
            self._put(messages.Subscribe(track))
        log.info("relay session began", extra={"node": self.name})

    # -- outbox -----------------------------------------------------------------------------------------------------

    def _put(self, item: messages.Item) -> None:
        self._outbox[type(item), item.track] = item
        self._table.changed()

    @property
    def has_messages(self) -> bool:
        return bool(self._outbox)

    def take_batch(self) -> messages.Batch:
        """The next batch. `restore` it if it is not accepted."""
        keys = list(self._outbox)[: messages.ITEMS_LIMIT]
        self._number += 1
        return messages.Batch(self.session, self._number, tuple(self._outbox.pop(key) for key in keys))

    def restore(self, batch: messages.Batch) -> None:
        """Items that did not change in the meantime wait again, in their order."""
        if batch.session == self.session:
            waiting = {(type(item), item.track): item for item in batch.items}
            self._outbox = {**waiting, **self._outbox}

    def batch_received(self, batch: messages.Batch, now: float) -> messages.Accepted | messages.UnknownSession:
        if batch.session != self.session or self.transport.path is None:
            return messages.UnknownSession()
        if batch.number > self._received:
            self._received = batch.number
            for item in batch.items:
                self._take(item, now)
        return messages.Accepted()

    def _take(self, item: messages.Item, now: float) -> None:
        track = TrackId(item.track)
        if isinstance(item, messages.Subscribe):
            self._send_track(track)
        elif isinstance(item, messages.Unsubscribe):
            self._stop_sending(track)
        elif isinstance(item, messages.LayerRequest):
            published, sender = self._table.published.get(track), self._senders.get(track)
            if published is not None and sender is not None and published.generation == item.generation:
                sender.request(item, now)
        elif isinstance(item, messages.TrackDescription):
            self._describe(track, item, now)
        elif track in self._subscribed:
            del self._subscribed[track]
            self._table.ended(track)

    # -- tracks of this node ----------------------------------------------------------------------------------------

    def published(self, track: TrackId) -> None:
        """A track was replaced or ended."""
        if track in self._senders:
            self._stop_sending(track)
            self._send_track(track)

    def _send_track(self, track: TrackId) -> None:
        published = self._table.published.get(track)
        sender = self._senders.get(track)
        if published is None or published.source.codec not in PAYLOAD_TYPES or published.source.track.closed:
            self._put(messages.Ended(track))
            return
        if sender is None:
            if len(self._senders) >= SENDERS_LIMIT:
                self._put(messages.Ended(track))
                return
            sender = self._senders[track] = RelaySender(
                self._webrtc_server.engine, self.transport.peer, self._sent, track, published.source, self._described
            )
        self._put(sender.description(published.generation))

    def _described(self, track: TrackId) -> None:
        """The description of a sent track changed."""
        published, sender = self._table.published.get(track), self._senders.get(track)
        if published is not None and sender is not None:
            self._put(sender.description(published.generation))

    def _stop_sending(self, track: TrackId) -> None:
        sender = self._senders.pop(track, None)
        if sender is not None:
            sender.close()
        self._outbox.pop((messages.TrackDescription, track), None)

    # -- tracks of the other node -----------------------------------------------------------------------------------

    def subscribe(self, track: TrackId) -> None:
        if track not in self._subscribed:
            self._subscribed[track] = (b"", 0)
            self._outbox.pop((messages.Unsubscribe, track), None)
            self._put(messages.Subscribe(track))

    def unsubscribe(self, track: TrackId) -> None:
        """The track does not come from this node any more. It may continue from another."""
        if self._subscribed.pop(track, None) is not None:
            self._touched.pop(track, None)
            for kind in (messages.Subscribe, messages.LayerRequest):
                self._outbox.pop((kind, track), None)
            self._put(messages.Unsubscribe(track))

    def touch(self, track: TrackId) -> bool:
        """The demand for layers of a track may have changed. False: the track does not come from here."""
        if track not in self._subscribed:
            return False
        self._touched[track] = None
        return True

    def _describe(self, track: TrackId, description: messages.TrackDescription, now: float) -> None:
        if track not in self._subscribed:
            self._put(messages.Unsubscribe(track))
            return
        bound = (self.session, description.generation)
        known = self._table.relayed.get(track)
        if known is not None and self._subscribed[track] == bound:
            known.describe(description)
            return
        try:
            if known is None:
                _check(description)
                rids = [layer.rid for layer in description.layers]
                streams = self._streams(description, rids)
                self._table.relayed[track] = known = RelayedTrack.open(
                    self._webrtc_server.engine, self.transport.peer, description, streams, self._table.touched
                )
            elif known.fits(description):
                streams = self._streams(description, list(known.track.encodings))
                known.bind(self.transport.peer, description, streams)
            else:
                raise ValueError("the track continues with another codec or other layers")
        except (ValueError, AtCapacity) as error:
            log.warning("relayed track refused", extra={"track": track, "reason": str(error)})
            self.unsubscribe(track)
            self._table.ended(track)
            return
        self._subscribed[track] = bound
        known.update_demand(now)
        self._put(known.request())
        self._table.described(track)

    def _streams(self, description: messages.TrackDescription, rids: list[str]) -> tuple[messages.RelayStream, ...]:
        """New SSRCs for the layers of a track. Raises AtCapacity."""
        repaired = description.codec in RTX_PAYLOAD_TYPES
        needed = len(rids) * (2 if repaired else 1)
        if self.transport.peer.spare_streams < needed:
            raise AtCapacity("The other node sends too many streams.")
        streams = []
        for rid in rids:
            ssrc, rtx = self._next_ssrc, self._next_ssrc + 1 if repaired else 0
            self._next_ssrc += 2
            streams.append(messages.RelayStream(rid, ssrc, rtx))
        return tuple(streams)

    # -- time -------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Call it at each tick of the engine."""
        self.transport.tick(now)
        path = self.transport.path
        if (path is not None and not path.is_lost(now)) or self.idle:
            self._lost_at = None
        elif self._lost_at is None:
            self._lost_at = now
        elif now - self._lost_at > KEEP:
            self._give_up()
        touched, self._touched = self._touched, {}
        for track in touched:
            relayed = self._table.relayed.get(track)
            if relayed is None or track not in self._subscribed:
                continue
            if relayed.update_demand(now):
                self._put(relayed.request())
            if relayed.dynacast.next_at is not None:
                self._touched[track] = None

    def _give_up(self) -> None:
        """The path was lost for too long: no track is left in either direction."""
        for track in list(self._senders):
            self._stop_sending(track)
        subscribed, self._subscribed = list(self._subscribed), {}
        self._outbox.clear()
        for track in subscribed:
            self._table.ended(track)

    def close(self) -> None:
        """Idempotent."""
        for track in list(self._senders):
            self._stop_sending(track)
        self._subscribed.clear()
        self._outbox.clear()
        self.transport.close()


def _check(description: messages.TrackDescription) -> None:
    """Raises ValueError."""
    rids = [layer.rid for layer in description.layers]
    fits = CODEC_KINDS.get(description.codec) == description.kind and description.kind in CLOCK_RATES
    if not fits or not 0 < len(rids) <= messages.LAYERS_LIMIT or len(set(rids)) < len(rids):
        raise ValueError("the description of the track is not valid")
    if len(rids) > 1 and "" in rids:
        raise ValueError("the layers of the track need different rids")


CODEC_KINDS: Final = {"opus": "audio"} | dict.fromkeys(RTX_PAYLOAD_TYPES, "video")
