"""The publishing connection: the client offers, its sending m-lines become media sources."""

import logging
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from sfu.errors import AtCapacity, BadRequest
from sfu.forwarding.decision_log import Cause, DecisionKind, DecisionLog
from sfu.forwarding.layers import Size
from sfu.forwarding.loop_budget import LoopBudget
from sfu.forwarding.stream_table import SSRC_LIMIT
from sfu.forwarding.track import Track
from sfu.rooms.media_stats import QualityLimitation
from sfu.sdp.answer import AcceptedOffer, ReceivedTrack, write_answer
from sfu.sdp.capabilities import is_stereo
from sfu.transport.connection import Connection, State
from sfu.transport.dynacast_manager import DynacastManager
from sfu.transport.published_track import PublishedTrack
from sfu.transport.reports import LinkReport, Negotiated

if TYPE_CHECKING:
    from sfu.transport.webrtc_server import WebRtcServer

log = logging.getLogger(__name__)

SCREEN = ("screen_share", "screen_share_audio")
LIMITS: Final[dict[QualityLimitation, Cause]] = {
    "none": Cause.NONE,
    "cpu": Cause.CPU,
    "bandwidth": Cause.UPLINK,
    "other": Cause.PUBLISHER,
}


class LayerDeclaration(Protocol):
    @property
    def rid(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...


class TrackDeclaration(Protocol):
    """The publisher's description of one m-line (`TrackSpec` of the protocol)."""

    @property
    def mid(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def layers(self) -> Sequence[LayerDeclaration]: ...


class PublisherListener(Protocol):
    def data_received(self, payload: bytes | str, *, reliable: bool) -> None: ...

    def data_refused(self, size: int) -> None:
        """A message of `size` bytes is longer than the SDP announces."""

    def layers_wanted(self, mid: str, rids: tuple[str, ...]) -> None:
        """Only the layers `rids` of an m-line have subscribers; the client may pause the others."""

    def publisher_lost(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Prepared:
    """The decisions about an offer, before it has any effect. By mid, except `offer`."""

    offer: AcceptedOffer
    declared: Mapping[str, TrackDeclaration]
    received: Mapping[str, ReceivedTrack]
    stereo: Set[str]
    kept: Set[str]
    "M-lines whose track continues."


class PublisherConnection:
    """One RTCPeerConnection of a publisher. Implements the Publisher port of signalling."""

    def __init__(
        self,
        webrtc_server: "WebRtcServer",
        name: str,
        listener: PublisherListener,
        decision_log: DecisionLog,
        budget: LoopBudget,
        dynacast_manager: DynacastManager | None = None,
    ) -> None:
        self._webrtc_server = webrtc_server
        self._dynacast_manager = dynacast_manager
        self._name = name
        self._listener = listener
        self._decision_log = decision_log
        self._connection = Connection(webrtc_server, name, self, decision_log, budget)
        self._sources: dict[str, PublishedTrack] = {}
        self._remote_ufrag = ""
        self._fingerprints: tuple[tuple[str, str], ...] = ()

    def negotiate(self, offer: AcceptedOffer, tracks: Sequence[TrackDeclaration]) -> Negotiated:
        """Answers an offer. Raises BadRequest or AtCapacity, and then changes nothing.

        Another certificate is another RTCPeerConnection, for which the caller opens another PublisherConnection.
        """
        return self._commit(self._prepare(offer, tracks))

    def _prepare(self, offer: AcceptedOffer, tracks: Sequence[TrackDeclaration]) -> _Prepared:
        """All decisions and checks, without any effect."""
        if self._connection.state is State.CLOSED:
            raise BadRequest("The publishing connection is closed; join again.", code="connection_closed")
        if self._fingerprints and offer.fingerprints and offer.fingerprints != self._fingerprints:
            raise BadRequest("The offer has the certificate of another connection; publish on a new one.")
        declared = {track.mid: track for track in tracks}
        received = {track.mid: track for track in offer.tracks if track.mid in declared}
        stereo = {
            mid for mid, track in received.items() if track.stereo or declared[mid].source == "screen_share_audio"
        }
        kept = {
            mid
            for mid, source in self._sources.items()
            if _same(source.track, received.get(mid)) and (mid not in stereo or is_stereo(source.track.parameters))
        }
        self._check_streams(received, kept)
        return _Prepared(offer, declared, received, stereo, kept)

    def _check_streams(self, received: Mapping[str, ReceivedTrack], kept: Set[str]) -> None:
        """Raises AtCapacity when the engine would drop packets of these tracks."""
        if sum(track.stream_count for track in received.values()) > SSRC_LIMIT:
            raise AtCapacity(
                f"The tracks need more than {SSRC_LIMIT} RTP streams; publish fewer of them or fewer layers."
            )
        going = sum(len(source.track.encodings) for mid, source in self._sources.items() if mid not in kept)
        fresh = sum(track.stream_count for mid, track in received.items() if mid not in kept)
        if fresh and fresh > self._connection.peer.spare_streams + going:
            raise AtCapacity(
                "This connection has carried too many RTP streams; publish on a new RTCPeerConnection.",
                code="connection_exhausted",
            )

    def _commit(self, prepared: _Prepared) -> Negotiated:
        """Applies a prepared offer. Nothing here refuses it."""
        offer, connection = prepared.offer, self._connection
        if self._remote_ufrag and offer.ufrag and offer.ufrag != self._remote_ufrag:
            connection.ice.restart()  # another user fragment is an ICE restart (RFC 8839 4.4.1.1)
        self._remote_ufrag = offer.ufrag or self._remote_ufrag
        self._fingerprints = offer.fingerprints or self._fingerprints
        answer = write_answer(
            offer,
            connection.local(),
            session_id=connection.session_id,
            session_version=connection.session_version,
            stereo=prepared.stereo,
            paused={mid: self._sources[mid].paused() for mid in prepared.kept},
        )
        if offer.fingerprints:
            connection.start_dtls("server" if offer.setup == "passive" else "client", offer.fingerprints)
        if offer.data is not None:
            connection.open_data(offer.data.sctp_port, offer.data.max_message_size, self)
        for mid in self._sources.keys() - prepared.kept:
            self._webrtc_server.engine.remove_track(self._sources.pop(mid).track)
        for mid, track in prepared.received.items():
            declared, source = prepared.declared[mid], self._sources.get(mid)
            if source is None:
                source = self._sources[mid] = self._open(track, declared, stereo=mid in prepared.stereo)
            source.declared = _sizes(declared, track.layers)
            source.dynacast.negotiated(time.monotonic())
            source.touch()
        return Negotiated(answer, dict(self._sources))

    def _open(self, received: ReceivedTrack, declared: TrackDeclaration, *, stereo: bool) -> PublishedTrack:
        parameters = received.codec.parameters
        if stereo and not is_stereo(parameters):
            parameters = f"{parameters};sprop-stereo=1"
        track = self._webrtc_server.engine.add_track(
            self._connection.peer,
            mid=received.mid,
            kind=received.kind,
            codec=received.codec.name,
            parameters=parameters,
            clock_rate=received.codec.clock_rate,
            payload_types=received.payload_types,
            rtx=received.rtx,
            extensions=received.extensions,
            rids=received.layers,
            ssrcs=received.ssrcs,
            by_ssrc=bool(received.layers) and not received.rids,
        )
        screen = declared.source in SCREEN
        return PublishedTrack(
            self._webrtc_server.engine,
            track,
            f"{self._name}-screen" if screen else self._name,
            screen=screen,
            dynacast_manager=self._dynacast_manager,
            notify_publisher=partial(self._listener.layers_wanted, received.mid),
        )

    def send_data(self, payload: bytes | str, *, reliable: bool) -> None:
        if self._connection.channels is not None:
            self._connection.channels.send("reliable" if reliable else "lossy", payload)

    def quality_limitation_changed(self, mid: str, limitation: QualityLimitation) -> None:
        """The client's browser reports a quality limitation of an m-line; subscribers see it as the reason."""
        source = self._sources.get(mid)
        if source is None or source.limitation == limitation:
            return
        source.limitation = limitation
        now, cause = time.monotonic(), LIMITS[limitation]
        self._decision_log.write(now, DecisionKind.LIMITED, cause, track=source.name or "")
        for name, consumers in source.consumers.items():
            for consumer in consumers:
                consumer.quality_limitation_changed(name, cause, now)

    @property
    def remote_host(self) -> str:
        return self._connection.ice.remote_host

    def report(self) -> LinkReport | None:
        if self._connection.connected_at is None:
            return None
        now = time.monotonic()
        losses = [source.track.inbound_loss for source in self._sources.values()]
        peer = self._connection.peer
        return LinkReport(
            peer.clock.rtt,
            max(losses, default=0.0),
            self._connection.silent_for(now),
            self._connection.state is State.CONNECTED,
        )

    def close(self) -> None:
        self._sources.clear()
        self._connection.close()

    # -- ConnectionListener and DataListener ------------------------------------------------------------------------

    def connected(self) -> None:
        pass

    def lost(self, reason: str) -> None:
        self._sources.clear()
        self._listener.publisher_lost()

    def message_received(self, label: str, payload: bytes | str) -> None:
        self._listener.data_received(payload, reliable=label == "reliable")

    def message_refused(self, size: int) -> None:
        self._listener.data_refused(size)


def _same(track: Track, received: ReceivedTrack | None) -> bool:
    """Whether an m-line still matches the engine's track."""
    return (
        received is not None
        and received.codec.name == track.codec
        and set(received.payload_types) == set(track.payload_types)
        and set(received.layers or ("",)) == set(track.encodings)
        and (
            not received.layers
            or bool(received.rids)
            or _ssrcs(received) == [one.ssrc for one in track.encodings.values()]
        )
    )


def _ssrcs(received: ReceivedTrack) -> list[int]:
    return [ssrc for ssrc, _ in received.ssrcs]


def _sizes(declared: TrackDeclaration, rids: tuple[str, ...]) -> dict[str, Size]:
    """Layer sizes by rid, smallest first. Default: each layer has half the size of the next."""
    named = {layer.rid: Size(layer.width, layer.height) for layer in declared.layers if layer.width and layer.height}
    if all(rid in named for rid in rids) and rids:
        return dict(sorted(((rid, named[rid]) for rid in rids), key=lambda item: item[1].width * item[1].height))
    if not rids:
        return {"": Size(declared.width, declared.height)}
    top = len(rids) - 1
    return {
        rid: Size(declared.width >> (top - index), declared.height >> (top - index)) for index, rid in enumerate(rids)
    }
