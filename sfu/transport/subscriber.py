"""The subscribing connection: the server offers, one m-line (slot) per track that the participant receives.

Slots are recycled and never removed, so that an offer's m-lines keep their order (RFC 9429 5.2.2); changes that come in
one turn of the loop make one offer; while an offer is open, changes wait for its answer.
"""

import asyncio
import logging
import secrets
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from sfu.errors import AtCapacity, BadRequest
from sfu.forwarding.decision_log import Cause, Diary, Kind
from sfu.forwarding.down_track import Route
from sfu.forwarding.loop_budget import LoopBudget
from sfu.forwarding.selector import choose, size_of
from sfu.ids import TrackId
from sfu.rooms.media_stats import Path, Picture
from sfu.rooms.ports import MediaSource, Wish
from sfu.sdp.capabilities import URI_TRANSPORT_CC, PayloadTable
from sfu.sdp.description import ANSWER_MEDIA_LIMIT
from sfu.sdp.offer import AcceptedSection, Slot, make_offer, read_answer
from sfu.transport.connection import Connection, State
from sfu.transport.downlinks import Downlinks
from sfu.transport.layer_control import Steering
from sfu.transport.publisher import PublishedTrack
from sfu.transport.reports import LinkReport
from sfu.transport.subscription import Line, Outbound, Told

if TYPE_CHECKING:
    from sfu.transport.webrtc_server import Hub

log = logging.getLogger(__name__)

FIRST_SEQUENCE = 1024
"""Least first sequence number: far enough from the wrap that no reordering crosses it while the rollover counter is 0."""
SENT_KEPT = 256
"""Streams of ended subscriptions whose state libsrtp keeps: it searches all of them for each packet (8 µs at 400),"""
SENT_FOR = 30.0
"""and seconds for which it keeps it in any case, so that no packet that waits somewhere is sent with a nonce again."""
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class SubscriberListener(Protocol):
    def offer_made(self, offer_id: int, sdp: str, tracks: dict[str, TrackId]) -> None: ...

    def subscription_changed(
        self, track: TrackId, *, paused: bool, reason: str, layer: str, width: int, height: int
    ) -> None: ...

    def subscriber_lost(self) -> None: ...


class SubscriberConnection:
    """Implements the signalling's Subscriber port, and so rooms' MediaSink."""

    def __init__(
        self,
        hub: "Hub",
        name: str,
        listener: SubscriberListener,
        downlinks: Downlinks,
        diary: Diary,
        budget: LoopBudget,
    ) -> None:
        self._hub = hub
        self._name = name
        self._listener = listener
        self._diary = diary
        self._budget = budget
        self._steering = Steering(hub, downlinks, self._tell, diary)
        self._connection: Connection | None = None
        """Made with the first subscription: who is alone in a room costs nothing here."""
        self._ended = False
        self._payload_types = PayloadTable()
        self._lines: list[Line] = []
        self._next_ssrc = secrets.randbits(31) | 1
        self._sent: deque[tuple[float, int]] = deque()
        """Streams of ended subscriptions, and when they ended."""
        self._outbound: dict[TrackId, Outbound] = {}
        self._offer_id = 0
        self._open_offer: list[Slot] | None = None
        self._changed = False
        self._scheduled: asyncio.Handle | None = None

    # -- MediaSink --------------------------------------------------------------------------------------------------

    def subscribe(self, track: TrackId, source: MediaSource, wish: Wish) -> None:
        """Raises AtCapacity when all m-lines are in use."""
        if self._ended:
            return
        if not isinstance(source, PublishedTrack):
            raise TypeError(f"a browser cannot be sent a {type(source).__name__}")
        known = self._outbound.get(track)
        if known is not None:
            if known.source is source:
                self.update(track, wish)
                return
            self.unsubscribe(track)
        outbound = Outbound(track, source, wish)
        outbound.line = self._line_for(outbound)
        self._outbound[track] = outbound
        source.add_taker(track, self)
        self._schedule()

    def update(self, track: TrackId, wish: Wish) -> None:
        outbound = self._outbound.get(track)
        if outbound is not None and outbound.wish != wish:
            outbound.wish = wish
            outbound.source.touch()
            self._select(outbound, time.monotonic())

    def unsubscribe(self, track: TrackId) -> None:
        outbound = self._outbound.pop(track, None)
        if outbound is None:
            return
        outbound.source.remove_taker(track, self)
        if outbound.route is not None:
            self._steering.remove(outbound.route)
            self._hub.engine.remove_route(outbound.route)
            self._retire(outbound.route, time.monotonic())
        line = outbound.line
        if line is not None:
            line.track = None
            line.accepted = None
            line.slot = line.slot._replace(active=False)
            self._schedule()

    def _retire(self, route: Route, now: float) -> None:
        self._sent.extend((now, ssrc) for ssrc in (route.ssrc, route.rtx_ssrc) if ssrc)
        while len(self._sent) > SENT_KEPT and now - self._sent[0][0] > SENT_FOR:
            _, ssrc = self._sent.popleft()
            if self._connection is not None:
                self._connection.forget_sent(ssrc)

    def _take_ssrc(self) -> int:
        """One that this connection never sent."""
        self._next_ssrc = (self._next_ssrc + 2) & 0xFFFFFFFF
        return self._next_ssrc

    # -- negotiation ------------------------------------------------------------------------------------------------

    def _line_for(self, outbound: Outbound) -> Line:
        source = outbound.source
        parameters, codec = source.track.parameters, source.track.codec
        video = source.kind == "video"
        payload_type, rtx = self._payload_types.assign(codec, parameters, video)
        codecs = [(codec, source.track.clock_rate, 1 if video else 2, parameters, payload_type, rtx)]
        if codec == "opus":  # what the publisher does not send twice is, when the path to this subscriber loses packets
            inside = f"{payload_type}/{payload_type}"
            red, _ = self._payload_types.assign("red", inside, False)
            codecs.append(("red", source.track.clock_rate, 2, inside, red, None))
        mine = [line for line in self._lines if line.track is None and line.slot.kind == source.kind]
        if mine:
            line = mine[0]
        else:
            if len(self._lines) >= ANSWER_MEDIA_LIMIT:
                raise AtCapacity(f"A participant can receive at most {ANSWER_MEDIA_LIMIT} tracks at once.")
            number = len(self._lines)
            line = Line(Slot(DIGITS[number // 36] + DIGITS[number % 36], source.kind, (), 0, None, "", "", False))
            self._lines.append(line)
        line.track = outbound.track
        line.accepted = None
        line.slot = Slot(
            line.slot.mid,
            source.kind,
            tuple(codecs),
            self._take_ssrc(),
            self._take_ssrc() if rtx is not None else None,
            source.stream,
            str(outbound.track),
            True,
        )
        return line

    def _schedule(self) -> None:
        self._changed = True
        if self._scheduled is None and self._open_offer is None and not self._ended:
            self._scheduled = asyncio.get_running_loop().call_soon(self._offer)

    def _offer(self) -> None:
        self._scheduled = None
        if self._open_offer is not None or not self._lines or self._ended:
            return
        self._changed = False
        self._offer_id += 1
        slots = [line.slot for line in self._lines]
        self._open_offer = slots
        connection = self._connection
        if connection is None:
            connection = self._connection = Connection(self._hub, self._name, self)
            connection.peer.diary = self._diary
            connection.peer.budget = self._budget
        sdp = make_offer(
            slots, connection.local(), session_id=connection.session_id, session_version=connection.session_version
        )
        tracks = {line.slot.mid: line.track for line in self._lines if line.track is not None}
        self._listener.offer_made(self._offer_id, sdp, tracks)

    def accept_answer(self, offer_id: int, sdp: str) -> None:
        """Raises BadRequest when no offer of this id is open or the answer does not fit it."""
        if self._connection is None or self._open_offer is None or offer_id != self._offer_id:
            raise BadRequest("There is no open offer with this id.", code="no_open_offer")
        if self._ended:
            raise BadRequest("The subscribing connection is closed.", code="connection_closed")
        answer = read_answer(sdp, self._open_offer)
        if answer.fingerprints:
            self._connection.secure("server" if answer.setup == "active" else "client", answer.fingerprints)
        offered = {slot.mid: slot for slot in self._open_offer}
        self._open_offer = None
        now = time.monotonic()
        for line in self._lines:
            section = answer.sections.get(line.slot.mid)
            if section is None or line.track is None or line.slot.ssrc != offered[line.slot.mid].ssrc:
                continue  # changed since it was offered: the next offer says so
            line.accepted = section
            self._open_route(self._connection, self._outbound[line.track], line, section, now)
        if self._changed:
            self._schedule()

    @property
    def established(self) -> bool:
        return self._connection is not None and self._connection.state is State.CONNECTED

    @property
    def pictured(self) -> bool:
        """Whether a picture is on its way to the client."""
        routes = (outbound.route for outbound in self._outbound.values())
        return any(route is not None and route.current is not None and route.track.kind == "video" for route in routes)

    def _open_route(
        self, connection: Connection, outbound: Outbound, line: Line, section: AcceptedSection, now: float
    ) -> None:
        if outbound.route is not None or outbound.source.track.closed:
            return
        codec = outbound.source.track.codec
        payload_type = next((number for number, name in section.payload_types.items() if name == codec), None)
        if not section.accepted or payload_type is None:
            self._tell(outbound, Told(True, "codec", cause=Cause.CODEC))
            return
        slot = line.slot
        outbound.route = self._hub.engine.add_route(
            outbound.source.track,
            connection.peer,
            mid=slot.mid,
            ssrc=slot.ssrc,
            rtx_ssrc=slot.rtx_ssrc or 0,
            payload_type=payload_type,
            red_payload_type=next((n for n, name in section.payload_types.items() if name == "red"), None),
            rtx_payload_type=next((n for n, apt in section.rtx.items() if apt == payload_type), None),
            first_sequence=FIRST_SEQUENCE + secrets.randbits(14),
            cname=slot.stream_id,
        )
        feedback = URI_TRANSPORT_CC in section.extensions
        self._steering.add(outbound, connection.peer, feedback=feedback, now=now)
        self._select(outbound, now)

    def restart(self) -> None:
        """Fresh ICE credentials in a new offer; an open one is withdrawn (its answer will be refused)."""
        if self._ended or self._connection is None:
            return
        self._connection.restart_ice()
        self._open_offer = None
        self._schedule()

    # -- layers -----------------------------------------------------------------------------------------------------

    def reselect(self, track: TrackId, now: float) -> None:
        """The encodings of a track changed."""
        outbound = self._outbound.get(track)
        if outbound is not None:
            self._select(outbound, now)

    def _select(self, outbound: Outbound, now: float) -> None:
        route, source = outbound.route, outbound.source
        if route is None or self._connection is None or self._connection.state is not State.CONNECTED:
            return
        steering = self._steering
        if outbound.wish.paused:
            route.park()
            steering.want(outbound)
            self._tell(outbound, Told(True, "wish", cause=Cause.HIDDEN))
            return
        if outbound.wish.withheld:
            route.park()
            steering.want(outbound)
            # Of sound nobody is told: who is not heard says nothing that matters, and it changes all the time.
            video = source.kind == "video"
            self._tell(outbound, Told(True, "last_n", cause=Cause.LAST_N) if video else Told(False))
            return
        if source.track.muted:
            steering.want(outbound)
            self._tell(outbound, Told(True, "muted", cause=Cause.MUTED))
            return
        if steering.downlink is not None:
            steering.want(outbound)
            if source.kind == "video":
                return
        best = choose(
            source.track.encodings.values(),
            source.declared,
            outbound.wish.width,
            outbound.wish.height,
            route.target or route.current,
            now,
        )
        if best is None:
            if source.kind == "video":
                self._tell(outbound, Told(True, "no_layer", cause=Cause.SILENT))
            return
        self._hub.engine.aim(route, best, now)
        size = size_of(best, source.declared)
        sent = (encoding for encoding in source.track.encodings.values() if encoding.ssrc and encoding.alive)
        top = max((size_of(encoding, source.declared).height for encoding in sent), default=0)
        self._tell(outbound, Told(False, "", best.rid, size.width, size.height, top_height=source.top_height(top)))

    def wish_of(self, track: TrackId) -> Wish | None:
        outbound = self._outbound.get(track)
        return outbound.wish if outbound is not None else None

    def limited(self, track: TrackId, cause: Cause, now: float) -> None:
        """A track's publisher says why it sends less than it should."""
        self._diary.write(now, Kind.LIMITED, cause, track=track, counted=False)

    def _tell(self, outbound: Outbound, told: Told) -> None:
        before = outbound.told
        if before == told:
            if before.cause is not told.cause or before.top_height != told.top_height:
                outbound.told = told
                self._diary.touch()
            return
        if before is None and not told.paused and outbound.source.kind == "audio":
            return
        downlink = self._steering.downlink
        rate = downlink.estimator.target if downlink is not None else 0.0
        outbound.enter(self._diary, told, rate, time.monotonic())
        outbound.told = told
        self._listener.subscription_changed(
            outbound.track,
            paused=told.paused,
            reason=told.reason,
            layer=told.layer,
            width=told.width,
            height=told.height,
        )

    # -- state ------------------------------------------------------------------------------------------------------

    def report(self) -> LinkReport | None:
        if self._connection is None or self._connection.connected_at is None:
            return None
        now = time.monotonic()
        routes = [outbound.route for outbound in self._outbound.values() if outbound.route is not None]
        losses = [
            route.reported.fraction_lost / 256 for route in routes if route.reported is not None and route.current
        ]
        return LinkReport(
            self._connection.peer.rtt,
            max(losses, default=0.0),
            self._connection.silent_for(now),
            self._connection.state is State.CONNECTED,
        )

    def pictures(self) -> tuple[Picture, ...]:
        """What is sent of every video, and why."""
        found = (outbound.picture() for outbound in self._outbound.values())
        return tuple(picture for picture in found if picture is not None)

    def path(self) -> Path | None:
        """None: it has sent no picture yet, or the operator wants no estimates."""
        downlink = self._steering.downlink
        verdict = downlink.verdict if downlink is not None else None
        if downlink is None or verdict is None:
            return None
        estimator = downlink.estimator
        return Path(estimator.target, estimator.path_rtt, estimator.loss, verdict.height, Cause(verdict.reason.value))

    def connected(self) -> None:
        now = time.monotonic()
        for outbound in self._outbound.values():
            self._select(outbound, now)

    def lost(self, reason: str) -> None:
        self._end()
        self._listener.subscriber_lost()

    def close(self) -> None:
        self._end()
        if self._connection is not None:
            self._connection.close()

    def _end(self) -> None:
        self._ended = True
        self._steering.close()
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        for track, outbound in self._outbound.items():
            outbound.source.remove_taker(track, self)
        self._outbound.clear()
