"""What a session needs of the media edge (two connections per participant; `sfu.transport` fulfils it) and of productions."""

from typing import Protocol

from sfu.forwarding.decision_log import DecisionLog
from sfu.forwarding.loop_budget import LoopBudget
from sfu.ids import TrackId
from sfu.rooms.egress_status import LayoutName
from sfu.rooms.media_stats import DownlinkStats, QualityLimitation, VideoStats
from sfu.rooms.ports import MediaSink
from sfu.rooms.room import Room
from sfu.sdp.answer import AcceptedOffer
from sfu.signaling.messages import TrackSpec
from sfu.transport.reports import LinkReport, Negotiated

__all__ = [
    "EgressPort",
    "LinkReport",
    "MediaEdge",
    "Negotiated",
    "Publisher",
    "PublisherListener",
    "Subscriber",
    "SubscriberListener",
]  # fmt: skip


class Publisher(Protocol):
    """The publishing connection (the client offers)."""

    def negotiate(self, offer: AcceptedOffer, tracks: list[TrackSpec]) -> Negotiated:
        """Answers an offer (first, changed, or an ICE restart). Raises BadRequest or AtCapacity; then nothing changed."""

    def send_data(self, payload: bytes | str, *, reliable: bool) -> None:
        """To the client's data channel, if it opened one; dropped and counted otherwise."""

    def quality_limitation_changed(self, mid: str, limitation: QualityLimitation) -> None:
        """The client's browser says why it sends less of an m-line than it should."""

    def report(self) -> LinkReport | None:
        """None: the connection is still being made."""

    def close(self) -> None: ...


class Subscriber(MediaSink, Protocol):
    """The subscribing connection (the server offers)."""

    def accept_answer(self, offer_id: int, sdp: str) -> None:
        """Raises BadRequest when no offer of this id is open or the answer does not fit it."""

    @property
    def established(self) -> bool: ...

    @property
    def sending_video(self) -> bool:
        """Whether a picture is on its way to the client."""

    def restart(self) -> None:
        """Makes a new offer with fresh ICE credentials."""

    def report(self) -> LinkReport | None:
        """None: the connection is still being made."""

    def path(self) -> DownlinkStats | None:
        """What the way to the client carries; None: not known."""

    def video_stats(self) -> tuple[VideoStats, ...]:
        """What is sent of each video, and why."""

    def close(self) -> None: ...


class PublisherListener(Protocol):
    def data_received(self, payload: bytes | str, *, reliable: bool) -> None: ...

    def data_refused(self, size: int) -> None:
        """A data-channel message of `size` bytes is longer than the SDP announces."""

    def layers_wanted(self, mid: str, rids: tuple[str, ...]) -> None:
        """Of an m-line's layers nobody watches the others."""

    def publisher_lost(self) -> None:
        """The connection failed or its peer closed it; the Publisher is closed already."""


class SubscriberListener(Protocol):
    def offer_made(self, offer_id: int, sdp: str, tracks: dict[str, TrackId]) -> None: ...

    def subscription_changed(
        self, track: TrackId, *, paused: bool, reason: str, layer: str, width: int, height: int
    ) -> None: ...

    def subscriber_lost(self) -> None: ...


class MediaEdge(Protocol):
    """Opens connections. One per server."""

    def open_publisher(
        self, name: str, listener: PublisherListener, decision_log: DecisionLog, budget: LoopBudget
    ) -> Publisher:
        """`name`: a participant id, for logs only. `decision_log`: receives its decisions. `budget`: the loop time that its
        datagrams may take."""

    def open_subscriber(
        self, name: str, listener: SubscriberListener, decision_log: DecisionLog, budget: LoopBudget
    ) -> Subscriber: ...


class EgressPort(Protocol):
    """Rooms mixed into one picture for others; `sfu.egress` fulfils it."""

    def change(
        self,
        room: Room,
        *,
        live: bool | None = None,
        recording: bool | None = None,
        layout: LayoutName | None = None,
        focus: str | None = None,
    ) -> object:
        """None: stays. Raises AtCapacity, Conflict or NotFound."""
