"""Ports of a session: its client, the media connections, and egress jobs."""

from collections.abc import Mapping
from typing import Literal, Protocol, TypeVar

from sfu.auth.tokens import Claims
from sfu.forwarding.decision_log import DecisionLog
from sfu.forwarding.loop_budget import LoopBudget
from sfu.ids import ParticipantId, TrackId
from sfu.rooms.egress_status import LayoutName
from sfu.rooms.media_stats import DownlinkStats, QualityLimitation, VideoStats
from sfu.rooms.ports import MediaSink, MediaSource
from sfu.rooms.quality import Link
from sfu.sdp.answer import AcceptedOffer
from sfu.sdp.receive_offer import ReceiveOffer
from sfu.signaling.dialect import Dialect
from sfu.signaling.messages import ServerMessage, TrackSpec


class Client(Protocol):
    """The client of a publishing or subscribing connection: a `Session`, or a `WhipSession`."""

    @property
    def dialect(self) -> Dialect: ...

    @property
    def attached(self) -> bool:
        """Whether the client can receive messages now."""

    def send(self, message: ServerMessage) -> None:
        """Sends a message once; drops it while the client is not attached."""

    def send_event(self, number: int, message: ServerMessage) -> None:
        """Sends a numbered event, and again after a resume if the client missed it."""

    def next_event_number(self) -> int: ...

    def publisher_lost(self) -> None:
        """The publishing connection failed or the client closed it; its publications have ended."""


class ResumeKeys(Protocol):
    """The keys with which clients resume. Without a cluster they are random; in a cluster each is a sealed ticket, so that
    any node recognizes the participant after the node that made the key is gone."""

    def make(self, participant: ParticipantId, claims: Claims) -> str: ...

    def open(self, key: str) -> tuple[ParticipantId, Claims] | None:
        """None: not a ticket of this cluster."""


class Negotiated(Protocol):
    """Result of a publishing offer."""

    @property
    def sdp(self) -> str:
        """The answer."""

    @property
    def sources(self) -> Mapping[str, MediaSource]:
        """Media source of each sending m-line, by mid."""


class Publisher(Protocol):
    """The publishing connection; the client offers."""

    def negotiate(self, offer: AcceptedOffer, tracks: list[TrackSpec]) -> Negotiated:
        """Answers an offer: the first, a changed one, or an ICE restart.

        Raises BadRequest or AtCapacity and then changes nothing.
        """

    def send_data(self, payload: bytes | str, *, reliable: bool) -> None:
        """Sends to the client's data channel; drops and counts the message while none is open."""

    def quality_limitation_changed(self, mid: str, limitation: QualityLimitation) -> None:
        """The client's browser reports why it sends less than requested on an m-line."""

    @property
    def remote_host(self) -> str:
        """IP address that the connection sends to; empty: none yet."""

    def report(self) -> Link | None:
        """None: the connection is not established yet."""

    def close(self) -> None: ...


class Subscriber(MediaSink, Protocol):
    """The subscribing connection; the server offers."""

    def accept_answer(self, offer_id: int, sdp: str) -> None:
        """Raises BadRequest when no offer with this id is open or the answer does not fit it."""

    @property
    def established(self) -> bool: ...

    @property
    def sending_video(self) -> bool:
        """Whether video packets have been sent to the client."""

    def restart(self) -> None:
        """Creates an offer with new ICE credentials."""

    @property
    def remote_host(self) -> str:
        """IP address that the connection sends to; empty: none yet."""

    def report(self) -> Link | None:
        """None: the connection is not established yet."""

    def path(self) -> DownlinkStats | None:
        """None: no estimate yet."""

    def video_stats(self) -> tuple[VideoStats, ...]: ...

    def close(self) -> None: ...


class AnsweringSubscriber(MediaSink, Protocol):
    """A subscribing connection that negotiates once, with one m-line per kind at most."""

    def answer(self, offer: ReceiveOffer, sources: Mapping[Literal["audio", "video"], MediaSource | None]) -> str:
        """Answers the client's offer. `sources`: kinds that the client may receive, with the source that is live now.
        Raises BadRequest."""

    def offer(self, sources: Mapping[Literal["audio", "video"], MediaSource]) -> str:
        """The server's offer, for a client whose own offer cannot carry these sources."""

    def accept_answer(self, sdp: str) -> None:
        """The answer to `offer`. Raises BadRequest and then changes nothing."""

    def restart_ice(self) -> str:
        """A description with new ICE credentials."""

    @property
    def kinds(self) -> frozenset[Literal["audio", "video"]]:
        """Kinds that the client receives."""

    def mid(self, kind: Literal["audio", "video"]) -> str:
        """Mid of the m-line of this kind; empty: none."""

    @property
    def established(self) -> bool: ...

    def report(self) -> Link | None:
        """None: the connection is not established yet."""

    def path(self) -> DownlinkStats | None:
        """None: no estimate yet."""

    def video_stats(self) -> tuple[VideoStats, ...]: ...

    def close(self) -> None: ...


class PublisherListener(Protocol):
    def data_received(self, payload: bytes | str, *, reliable: bool) -> None: ...

    def data_refused(self, size: int) -> None:
        """A data-channel message of `size` bytes exceeds the maximum that the SDP announces."""

    def layers_wanted(self, mid: str, rids: tuple[str, ...]) -> None:
        """The layers of an m-line that have subscribers; the publisher need not send the others."""

    def publisher_lost(self) -> None:
        """The connection failed or the peer closed it. The Publisher is already closed."""


class SubscriptionListener(Protocol):
    def subscription_changed(
        self, track: TrackId, *, paused: bool, reason: str, layer: str, width: int, height: int
    ) -> None: ...

    def subscriber_lost(self) -> None: ...


class SubscriberListener(SubscriptionListener, Protocol):
    def offer_made(self, offer_id: int, sdp: str, tracks: dict[str, TrackId]) -> None: ...


class MediaEdge(Protocol):
    """Opens media connections; `sfu.transport` implements it. One per server."""

    def open_publisher(
        self, name: str, listener: PublisherListener, decision_log: DecisionLog, budget: LoopBudget
    ) -> Publisher:
        """`name`: a participant id, for logs only. `decision_log` receives the connection's decisions. `budget` limits the
        loop time of its datagrams."""

    def open_subscriber(
        self, name: str, listener: SubscriberListener, decision_log: DecisionLog, budget: LoopBudget
    ) -> Subscriber: ...

    def open_answering_subscriber(
        self, name: str, listener: SubscriptionListener, decision_log: DecisionLog, budget: LoopBudget
    ) -> AnsweringSubscriber: ...


Room = TypeVar("Room", contravariant=True)


class EgressPort(Protocol[Room]):
    """Egress jobs; `sfu.egress` implements it. `Room` is the room type that it acts on."""

    def change(
        self,
        room: Room,
        *,
        live: bool | None = None,
        recording: bool | None = None,
        layout: LayoutName | None = None,
        focus: str | None = None,
    ) -> object:
        """None: unchanged. Raises AtCapacity, Conflict or NotFound."""

    def mix_of(self, room: str) -> str:
        """Id of the participant that publishes the mix into the room; empty: none."""
