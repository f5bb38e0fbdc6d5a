"""Opens the two kinds of connection, and keeps layers chosen: what signalling sees of the transport (its MediaEdge)."""

from typing import Final

from sfu.transport.hub import Hub
from sfu.transport.publisher import PublisherConnection, PublisherListener
from sfu.transport.subscriber import SubscriberConnection, SubscriberListener

SELECT_EVERY: Final = 0.5


class WebRtcEdge:
    """One per server. Layers are chosen anew when an encoding changes, and twice a second for those that settle."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._subscribers: set[SubscriberConnection] = set()
        self._next = 0.0
        hub.ticks.append(self._tick)

    def open_publisher(self, name: str, listener: PublisherListener) -> PublisherConnection:
        """`name`: the participant's id, for logs and as the stream's name."""
        return PublisherConnection(self._hub, name, listener)

    def open_subscriber(self, name: str, listener: SubscriberListener) -> SubscriberConnection:
        subscriber = SubscriberConnection(self._hub, name, listener, self._subscribers.discard)
        self._subscribers.add(subscriber)
        return subscriber

    def _tick(self, now: float) -> None:
        changed = {id(event.encoding.track) for event in self._hub.engine.take_events()}
        if changed:
            for subscriber in list(self._subscribers):
                for track in changed:
                    subscriber.reselect(track, now)
        if now >= self._next:
            self._next = now + SELECT_EVERY
            for subscriber in list(self._subscribers):
                subscriber.select_layers(now)
