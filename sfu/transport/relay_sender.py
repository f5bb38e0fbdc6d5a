"""Sends one published track to another node: a down track for each encoding that the node requests."""

from collections.abc import Callable
from typing import Final

from sfu.forwarding.decision_log import Cause
from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.engine import Engine
from sfu.forwarding.layers import Size
from sfu.forwarding.peer import EnginePeer
from sfu.ids import TrackId
from sfu.rooms.ports import MediaSource, SubscriptionSettings
from sfu.transport.relay_formats import PAYLOAD_TYPES, RTX_PAYLOAD_TYPES
from sfu.transport.relay_messages import LayerDescription, LayerRequest, RelayStream, TrackDescription

SSRC_WINDOW: Final = 8_192
"""How far behind the highest SSRC a new one may be: several times the streams of a node."""
PARKED: Final = SubscriptionSettings(paused=True)


class SentSsrcs:
    """The SSRCs that one session has sent. With AES-GCM, none may begin a second time."""

    def __init__(self, forget: Callable[[int], object]) -> None:
        """`forget` frees the SRTP state of an SSRC that is never sent again."""
        self.forget = forget
        self._used: set[int] = set()
        """Used SSRCs above `_floor`, like the replay window of SRTP."""
        self._floor = 0

    def take(self, stream: RelayStream) -> bool:
        """Whether the SSRCs of a stream are new. The other node numbers its streams, and requests them in almost this order."""
        new = {ssrc for ssrc in (stream.ssrc, stream.rtx_ssrc) if ssrc}
        if not stream.ssrc or stream.ssrc == stream.rtx_ssrc:
            return False
        if not all(self._floor < ssrc < 1 << 32 and ssrc not in self._used for ssrc in new):
            return False
        self._used |= new
        floor = max(new) - SSRC_WINDOW
        if floor > self._floor + SSRC_WINDOW:
            self._floor = floor
            self._used = {ssrc for ssrc in self._used if ssrc > floor}
        return True


class RelaySender:
    """A MediaConsumer of the source. Belongs to one session with one node."""

    def __init__(
        self,
        engine: Engine,
        peer: EnginePeer,
        ssrcs: SentSsrcs,
        track: TrackId,
        source: MediaSource,
        describe: Callable[[TrackId], None],
    ) -> None:
        """`describe` is called when the description of the track has changed."""
        self.source = source
        self._engine = engine
        self._peer = peer
        self._ssrcs = ssrcs
        self._track = track
        self._describe = describe
        self._settings = PARKED
        self._down_tracks: dict[str, DownTrack] = {}
        """By rid; those that are not in `_wanted` are parked."""
        self._wanted: frozenset[str] = frozenset()
        self._described: TrackDescription | None = None
        source.add_consumer(track, self)

    def description(self, generation: int) -> TrackDescription:
        self._described = describe(self._track, self.source, generation)
        return self._described

    def request(self, request: LayerRequest, now: float) -> None:
        """Sends the wanted encodings and parks the others."""
        track = self.source.track
        if track.closed:
            return
        known = [rid for rid in request.wanted if rid in track.encodings]
        streams = {stream.rid: stream for stream in request.streams}
        for rid, down_track in list(self._down_tracks.items()):
            if rid in streams and streams[rid].ssrc != down_track.ssrc:
                # The other node has subscribed again, to new streams.
                del self._down_tracks[rid]
                self._end(down_track)
        for rid in known:
            if rid not in self._down_tracks and rid in streams and self._ssrcs.take(streams[rid]):
                self._down_tracks[rid] = self._open(streams[rid])
        self._wanted = frozenset(rid for rid in known if rid in self._down_tracks)
        for rid, down_track in self._down_tracks.items():
            if rid not in self._wanted:
                self._engine.clear_target(down_track)
        self._settings = self._demand()
        self.source.touch()
        self.reselect(self._track, now)

    def _open(self, stream: RelayStream) -> DownTrack:
        track = self.source.track
        return self._engine.add_down_track(
            track,
            self._peer,
            mid="00",
            ssrc=stream.ssrc,
            rtx_ssrc=stream.rtx_ssrc,
            payload_type=PAYLOAD_TYPES[track.codec],
            red_payload_type=PAYLOAD_TYPES["red"] if track.kind == "audio" else None,
            rtx_payload_type=RTX_PAYLOAD_TYPES.get(track.codec) if stream.rtx_ssrc else None,
            first_sequence=1,
            cname=self.source.stream,
        )

    def _demand(self) -> SubscriptionSettings:
        """The demand of the other node as one subscriber, for dynacast."""
        declared = self.source.declared
        highest = next((rid for rid in reversed(list(declared)) if rid in self._wanted), None)
        if not self._wanted:
            return PARKED
        if highest is None or highest == list(declared)[-1]:
            return SubscriptionSettings()
        size = declared[highest]
        return SubscriptionSettings(width=size.width, height=size.height)

    def close(self) -> None:
        """Stops sending. Idempotent."""
        self.source.remove_consumer(self._track, self)
        for down_track in self._down_tracks.values():
            self._end(down_track)
        self._down_tracks.clear()

    def _end(self, down_track: DownTrack) -> None:
        self._engine.remove_down_track(down_track)
        for ssrc in (down_track.ssrc, down_track.rtx_ssrc):
            if ssrc:
                self._ssrcs.forget(ssrc)

    # -- MediaConsumer ----------------------------------------------------------------------------------------------

    def reselect(self, track: TrackId, now: float) -> None:
        """Sends each wanted encoding that is alive."""
        encodings = self.source.track.encodings
        for rid in self._wanted:
            encoding, down_track = encodings.get(rid), self._down_tracks[rid]
            if encoding is None or not encoding.ssrc or self.source.track.muted:
                continue
            if (encoding.alive or encoding.track.kind == "audio") and down_track.selected is not encoding:
                self._engine.set_target(down_track, encoding, now)
        old = self._described
        if old is not None and describe(self._track, self.source, old.generation) != old:
            self._describe(self._track)

    def settings_of(self, track: TrackId) -> SubscriptionSettings | None:
        return self._settings

    def quality_limitation_changed(self, track: TrackId, cause: Cause, now: float) -> None:
        self._describe(self._track)


def describe(track: TrackId, source: MediaSource, generation: int) -> TrackDescription:
    media = source.track
    declared = dict(source.declared)
    for rid in media.encodings:
        declared.setdefault(rid, Size(0, 0))
    return TrackDescription(
        track=track,
        generation=generation,
        kind=source.kind,
        codec=source.codec,
        parameters=media.parameters,
        stream=source.stream,
        screen=source.screen,
        red=1 in media.payload_types.values(),
        layers=tuple(
            LayerDescription(rid, size.width, size.height) for rid, size in declared.items() if rid in media.encodings
        ),
        limitation=source.limitation,
    )
