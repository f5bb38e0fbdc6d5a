"""The subscribing connection of a client that negotiates once (WHEP): one audio and one video m-line at most.

The client offers and the server answers `sendonly`, with all codecs of the m-line that it supports. Later there is no
negotiation: when the track of an m-line ends, the next one of its kind continues the RTP stream, if the client accepted its
codec. If the client's offer cannot carry a track, the server can offer instead (`offer`, `accept_answer`).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sfu.errors import AtCapacity, BadRequest
from sfu.forwarding.decision_log import DecisionLog
from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.loop_budget import LoopBudget
from sfu.ids import TrackId
from sfu.rooms.ports import MediaSource
from sfu.sdp.capabilities import FEEDBACK
from sfu.sdp.offer import AnsweredSection, Transceiver, parse_answer
from sfu.sdp.receive_offer import (
    OfferedTrack,
    ReceiveCodec,
    ReceiveOffer,
    ReceiveSection,
    SentTrack,
    counter_offer,
    write_receive_answer,
)
from sfu.transport.connection import Connection
from sfu.transport.downlink_scheduler import DownlinkScheduler
from sfu.transport.subscriber import SubscriberConnection, SubscriptionListener
from sfu.transport.subscription import SendParameters, Subscription

if TYPE_CHECKING:
    from sfu.transport.webrtc_server import WebRtcServer

Kind = Literal["audio", "video"]


@dataclass(slots=True)
class _Line:
    """An m-line with the RTP stream that it keeps for the lifetime of the connection."""

    section: ReceiveSection
    client_ids: bool
    ssrc: int
    rtx_ssrc: int
    track: TrackId | None = None
    ended: DownTrack | None = None
    "The down track that was sent before; the next one continues its stream."


class AnsweringSubscriber(SubscriberConnection):
    """Implements the port of signalling. Call `answer`, or `offer` and `accept_answer`, before `subscribe`."""

    def __init__(
        self,
        webrtc_server: "WebRtcServer",
        name: str,
        listener: SubscriptionListener,
        downlinks: DownlinkScheduler,
        decision_log: DecisionLog,
        budget: LoopBudget,
    ) -> None:
        super().__init__(webrtc_server, name, listener, downlinks, decision_log, budget)
        self._lines: dict[Kind, _Line] = {}
        self._describe: Callable[[Connection], str] = _undescribed
        self._offered: tuple[Transceiver, ...] = ()

    def answer(self, offer: ReceiveOffer, sources: Mapping[Kind, MediaSource | None]) -> str:
        """The answer. `sources`: kinds that the client may receive, each with the source that is live now.

        The first m-line of each of these kinds is accepted. Raises BadRequest.
        """
        for section in offer.sections.values():
            if section.kind in sources and section.kind not in self._lines:
                has_rtx = any(codec.rtx is not None for codec in section.codecs)
                rtx_ssrc = self._ssrcs.take() if has_rtx else 0
                self._lines[section.kind] = _Line(section, True, self._ssrcs.take(), rtx_ssrc)
        tracks = {line.section.mid: self._sent(line, sources[kind]) for kind, line in self._lines.items()}

        def describe(connection: Connection) -> str:
            return write_receive_answer(
                offer,
                connection.local(),
                tracks,
                session_id=connection.session_id,
                session_version=connection.session_version,
            )

        self._describe = describe
        connection = self._connect()
        connection.start_dtls("server" if offer.setup == "passive" else "client", offer.fingerprints)
        return describe(connection)

    def offer(self, sources: Mapping[Kind, MediaSource]) -> str:
        """The server's offer, for a client whose own offer cannot carry these sources."""
        tracks = [
            OfferedTrack(
                kind,
                source.codec,
                source.track.parameters,
                self._ssrcs.take(),
                self._ssrcs.take() if kind == "video" else None,
                source.stream,
                kind,
            )
            for kind, source in sources.items()
        ]

        def describe(connection: Connection) -> str:
            sdp, self._offered = counter_offer(
                tracks,
                connection.local(),
                session_id=connection.session_id,
                session_version=connection.session_version,
            )
            return sdp

        self._describe = describe
        return describe(self._connect())

    def accept_answer(self, sdp: str) -> None:
        """The answer to `offer`. Raises BadRequest and then changes nothing."""
        connection = self._connect()
        answer = parse_answer(sdp, self._offered)
        if not answer.fingerprints:
            raise BadRequest("The answer accepts no m-line.")
        connection.start_dtls("server" if answer.setup == "active" else "client", answer.fingerprints)
        for slot in self._offered:
            accepted = answer.sections[slot.mid]
            if accepted.accepted:
                section = _section_of(slot, accepted)
                self._lines[slot.kind] = _Line(section, False, slot.ssrc, slot.rtx_ssrc or 0)
        self._offered = ()

    def restart_ice(self) -> str:
        """A description with new ICE credentials."""
        connection = self._connect()
        connection.ice.restart()
        return self._describe(connection)

    @property
    def kinds(self) -> frozenset[Kind]:
        """Kinds that the client receives."""
        return frozenset(self._lines)

    def mid(self, kind: Kind) -> str:
        """Mid of the m-line of this kind; empty: none."""
        line = self._lines.get(kind)
        return line.section.mid if line is not None else ""

    # -- SubscriberConnection ---------------------------------------------------------------------------------------

    def _assign(self, subscription: Subscription) -> None:
        line = self._lines.get(subscription.source.kind)
        if line is None or line.track is not None:
            raise AtCapacity(f"The client receives no further {subscription.source.kind} track.")
        line.track = subscription.track
        source = subscription.source.track
        codec = line.section.choose(source.codec, source.parameters)
        if codec is None:
            self._refuse(subscription)
            return
        red = line.section.red_for(codec)
        parameters = SendParameters(
            line.section.mid,
            line.ssrc,
            line.rtx_ssrc if codec.rtx is not None else 0,
            codec.payload_type,
            red.payload_type if red is not None else None,
            codec.rtx,
            line.section.extensions,
            client_ids=line.client_ids,
            allow_mixed=line.section.allow_mixed,
            nack_without_rtx=line.client_ids and subscription.source.kind == "video" and codec.nack and not codec.rtx,
            continues=line.ended,
        )
        line.ended = None
        self._open(subscription, parameters, time.monotonic())

    def _end_stream(self, down_track: DownTrack) -> None:
        """The next track of the m-line continues the stream."""
        self._lines[down_track.track.kind].ended = down_track

    def _release(self, track: TrackId) -> None:
        for line in self._lines.values():
            if line.track == track:
                line.track = None

    def _sent(self, line: _Line, source: MediaSource | None) -> SentTrack:
        section = line.section
        codecs, parameters, stream = section.codecs, "", self._name
        if source is not None:
            parameters, stream = source.track.parameters, source.stream
            chosen = section.choose(source.codec, parameters)
            codecs = tuple(sorted(codecs, key=lambda codec: codec is not chosen))
        return SentTrack(codecs, parameters, line.ssrc, line.rtx_ssrc or None, stream, section.kind)


def _undescribed(connection: Connection) -> str:
    raise RuntimeError("the connection has no description yet")


def _section_of(slot: Transceiver, accepted: AnsweredSection) -> ReceiveSection:
    feedback = tuple(FEEDBACK[slot.kind])
    rtx = {apt: number for number, apt in accepted.rtx.items()}
    codecs = tuple(
        ReceiveCodec(name, payload_type, rtx.get(payload_type), clock_rate, channels, parameters, feedback)
        for name, clock_rate, channels, parameters, payload_type, _ in slot.codecs
        if payload_type in accepted.payload_types
    )
    return ReceiveSection(slot.mid, slot.kind, codecs, accepted.extensions, True)
