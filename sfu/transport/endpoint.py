"""Opens publishing and subscribing connections and triggers layer selection. Implements the MediaEdge port of signalling."""

from collections import deque
from typing import Final

from sfu.bandwidth.settings import Settings
from sfu.forwarding.decision_log import DecisionLog
from sfu.forwarding.loop_budget import LoopBudget, media_budget
from sfu.forwarding.media_track import TrackOwner
from sfu.forwarding.selector import SETTLE
from sfu.transport.answering_subscriber import AnsweringSubscriber
from sfu.transport.downlink_scheduler import DownlinkScheduler
from sfu.transport.dynacast_manager import DynacastManager
from sfu.transport.publisher import PublisherConnection, PublisherListener
from sfu.transport.subscriber import OfferingSubscriber, SubscriberListener, SubscriptionListener
from sfu.transport.webrtc_server import WebRtcServer

SELECTIONS: Final = 1000
"""Layer selections per tick, about 4 ms; the rest waits for the next tick."""
SETTLED: Final = SETTLE + 0.01


class WebRtcEndpoint:
    """One per server. Selects a track's layers again when one of its encodings changes, and once more when a new encoding has
    settled."""

    def __init__(self, webrtc_server: WebRtcServer, bandwidth: Settings = Settings()) -> None:  # noqa: B008  # frozen
        self._webrtc_server = webrtc_server
        self._downlink_scheduler = DownlinkScheduler(webrtc_server, bandwidth)
        self._dynacast_manager = DynacastManager(enabled=bandwidth.dynacast)
        self._changed: dict[TrackOwner, None] = {}
        """Tracks with changed encodings, in order."""
        self._settling: deque[tuple[float, TrackOwner]] = deque()
        webrtc_server.ticks.append(self._tick)

    def open_publisher(
        self,
        name: str,
        listener: PublisherListener,
        decision_log: DecisionLog | None = None,
        budget: LoopBudget | None = None,
    ) -> PublisherConnection:
        """`name`: the participant's id, for logs and as the stream's name. `decision_log`, `budget`: the participant's."""
        return PublisherConnection(
            self._webrtc_server,
            name,
            listener,
            decision_log or DecisionLog(),
            budget or media_budget(),
            self._dynacast_manager,
        )

    def open_subscriber(
        self,
        name: str,
        listener: SubscriberListener,
        decision_log: DecisionLog | None = None,
        budget: LoopBudget | None = None,
    ) -> OfferingSubscriber:
        return OfferingSubscriber(
            self._webrtc_server,
            name,
            listener,
            self._downlink_scheduler,
            decision_log or DecisionLog(),
            budget or media_budget(),
        )

    def open_answering_subscriber(
        self,
        name: str,
        listener: SubscriptionListener,
        decision_log: DecisionLog | None = None,
        budget: LoopBudget | None = None,
    ) -> AnsweringSubscriber:
        return AnsweringSubscriber(
            self._webrtc_server,
            name,
            listener,
            self._downlink_scheduler,
            decision_log or DecisionLog(),
            budget or media_budget(),
        )

    def _tick(self, now: float) -> None:
        for event in self._webrtc_server.engine.take_events():
            owner = event.owner
            if owner is not None:
                self._changed[owner] = None
                if event.alive and event.simulcast:
                    self._settling.append((event.first_arrival + SETTLED, owner))
        while self._settling and self._settling[0][0] <= now:
            self._changed[self._settling.popleft()[1]] = None
        budget = SELECTIONS
        while self._changed and budget > 0:
            source = next(iter(self._changed))
            del self._changed[source]
            budget -= source.reselect(now)
        self._downlink_scheduler.tick(now)
        self._dynacast_manager.tick(now)
