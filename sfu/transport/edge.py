"""Opens the two kinds of connection, and keeps layers chosen: what signalling sees of the transport (its MediaEdge)."""

from collections import deque

from sfu.forwarding.selector import SETTLE
from sfu.transport.hub import Hub
from sfu.transport.publisher import PublishedTrack, PublisherConnection, PublisherListener
from sfu.transport.subscriber import SubscriberConnection, SubscriberListener


class WebRtcEdge:
    """One per server. A track's layers are chosen anew when one of its encodings changed, and once more when a new one
    has settled; otherwise nothing is looked at."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._settling: deque[tuple[float, PublishedTrack]] = deque()
        hub.ticks.append(self._tick)

    def open_publisher(self, name: str, listener: PublisherListener) -> PublisherConnection:
        """`name`: the participant's id, for logs and as the stream's name."""
        return PublisherConnection(self._hub, name, listener)

    def open_subscriber(self, name: str, listener: SubscriberListener) -> SubscriberConnection:
        return SubscriberConnection(self._hub, name, listener)

    def _tick(self, now: float) -> None:
        changed: dict[PublishedTrack, None] = {}
        for event in self._hub.engine.take_events():
            owner = event.encoding.track.owner
            if isinstance(owner, PublishedTrack):
                changed[owner] = None
                if event.encoding.alive and len(owner.track.encodings) > 1:
                    self._settling.append((event.encoding.first_arrival + SETTLE, owner))
        while self._settling and self._settling[0][0] <= now:
            changed[self._settling.popleft()[1]] = None
        for source in changed:
            source.reselect(now)
