"""Outputs of the mix in the worker: encoders, packaging, RTMP pushes and the track that is sent back to the room.

The tick thread calls `video` and `change`; the sound thread calls `sound`; one thread encodes the lower renditions.
Every slow step has a bounded queue and its own thread, so that a tick never blocks.
"""

import logging
import queue
import threading
from collections.abc import Callable
from typing import Final, Literal

from sfu.egress import protocol
from sfu.egress.packaging import Packaging
from sfu.egress.protocol import DestinationState, Outputs, Rendition, Start, ToServer
from sfu.egress.rtp_packetizer import RtpPacketizer
from sfu.errors import BadRequest
from sfu.outputs.encoder import AudioEncoder, Canvas, EncodedPacket, OpusEncoder, Sound, VideoEncoder
from sfu.outputs.rtmp import Destination, Stream, parse_rtmp_url
from sfu.outputs.segmenter import PART_TICKS, SEGMENT_TICKS
from sfu.rtmp.connection import AUDIO, VIDEO

log = logging.getLogger(__name__)

LOWER_WAITING: Final = 3
"""Maximum number of canvases in the queue of the lower renditions."""
PAYLOAD_TYPES: Final = (102, 111)
"""RTP payload types of H.264 and Opus towards the server (`sfu.transport.plain_transport`)."""
_STATES: Final[dict[str, Literal["connecting", "live", "waiting", "failed"]]] = {
    "connecting": "connecting",
    "live": "live",
    "waiting": "waiting",
    "closed": "failed",
}


class CompositeOutputs:
    def __init__(self, start: Start, send: Callable[[ToServer], None], send_rtp: Callable[[list[bytes]], None]) -> None:
        self._start = start
        self.started_at = 0.0
        """Unix time, in seconds, of mix time 0."""
        self._send_rtp = send_rtp
        self._wanted = Outputs()
        self._top = self._encoder(start.renditions[0])
        self._lower: list[tuple[str, VideoEncoder]] = []
        self._ready: list[tuple[str, VideoEncoder]] = []
        self._aac = AudioEncoder(start.audio_bit_rate)
        self._opus: OpusEncoder | None = None
        self._track: RtpPacketizer | None = None
        self._keyframe_wanted = False
        self._keyframe_group = -1
        self._destinations: dict[str, Destination] = {}
        self._refused: dict[str, str] = {}
        self._extradata = {start.renditions[0].name: self._top.extradata}
        self._packaging = Packaging(
            {one.name: (one.width, one.height) for one in start.renditions},
            start.renditions[0].name,
            self._extradata.__getitem__,
            self._aac.extradata,
            send,
        )
        self.lower_dropped = 0
        self._canvases: queue.Queue[tuple[Canvas, int] | None] = queue.Queue(LOWER_WAITING)
        self._thread = threading.Thread(target=self._run_lower, name="lower-renditions", daemon=True)
        self._thread.start()

    def prepare(self, wanted: Outputs) -> None:
        """Opens the encoders that `change` will need. It takes too long for the tick thread; call it from another thread."""
        if wanted.live and not self._ready:
            ready = [(one.name, self._encoder(one)) for one in self._start.renditions[1:]]
            self._extradata |= {name: encoder.extradata for name, encoder in ready}
            self._ready = ready

    def change(self, wanted: Outputs, pts: int) -> None:
        """Switches to the outputs `wanted` at mix time `pts` (1/90000 s). `prepare` must be called first."""
        if not wanted.live:
            self._ready = []
        self._lower = self._ready
        self._packaging.plan(wanted.live, wanted.recording, pts)
        self._change_track(wanted)
        self._change_destinations(wanted.destinations)
        self._wanted = wanted

    def video(self, canvas: Canvas, pts: int) -> None:
        """Encodes one canvas. Returns when the caller may overwrite it."""
        if self._lower:
            try:
                self._canvases.put_nowait((canvas.copy(), pts))
            except queue.Full:
                self.lower_dropped += 1
        self._place_keyframe(pts)
        packets = self._top.encode(canvas, pts)
        self._packaging.video(self._start.renditions[0].name, packets)
        if (track := self._track) is not None:
            track.video(packets)
        self._push(VIDEO, packets)

    def sound(self, samples: Sound, pts: int) -> None:
        """Encodes one block of sound. `pts` counts samples."""
        packets = self._aac.encode(samples, pts)
        self._packaging.audio(packets)
        self._push(AUDIO, packets)
        track, opus = self._track, self._opus
        if track is not None and opus is not None:
            track.audio(opus.encode(samples, pts))

    def keyframe(self) -> None:
        """Requests a keyframe for a subscriber of the track. Any thread."""
        self._keyframe_wanted = True

    def states(self) -> list[DestinationState]:
        found = []
        for name, destination in self._destinations.items():
            now = destination.snapshot()
            found.append(
                DestinationState(
                    id=name,
                    state=_STATES[now.status],
                    sent_bytes=now.sent_bytes,
                    dropped=now.dropped,
                    detail=now.error,
                )
            )
        return found + [DestinationState(id=name, state="failed", detail=why) for name, why in self._refused.items()]

    def overloaded(self) -> dict[str, int]:
        return {"lower": self.lower_dropped, "packaging": self._packaging.dropped}

    def close(self) -> None:
        """Flushes packaging and closes all destinations."""
        self._canvases.put(None)
        self._thread.join(2.0)
        self._packaging.close()
        self._change_destinations([])

    def _encoder(self, rendition: Rendition) -> VideoEncoder:
        return VideoEncoder(rendition.width, rendition.height, rendition.bit_rate, self._start.fps)

    def _place_keyframe(self, pts: int) -> None:
        """Forces a requested keyframe: at most one per segment, and none close to the regular ones.

        Segments must begin with the same picture in all renditions. A request just before or after a regular keyframe
        is answered by that keyframe.
        """
        if not self._keyframe_wanted:
            return
        group, within = divmod(pts, SEGMENT_TICKS)
        if within < SEGMENT_TICKS // 30:
            self._keyframe_wanted = False  # this picture is a regular keyframe
        if within < PART_TICKS or within >= SEGMENT_TICKS - PART_TICKS or group == self._keyframe_group:
            return
        self._keyframe_wanted, self._keyframe_group = False, group
        if self._track is not None:
            self._top.force_keyframe()

    def _push(self, kind: int, packets: list[EncodedPacket]) -> None:
        for destination in tuple(self._destinations.values()):
            for packet in packets:
                destination.push(kind, packet)

    def _run_lower(self) -> None:
        while (item := self._canvases.get()) is not None:
            canvas, pts = item
            picture = None
            for name, encoder in self._lower:
                # Scale from the next larger rendition: fewer pixels to read.
                picture = encoder.scale(canvas if picture is None else picture)
                self._packaging.video(name, encoder.encode(picture, pts))

    def _change_track(self, wanted: Outputs) -> None:
        ssrcs = (wanted.video_ssrc, wanted.audio_ssrc)
        if not all(ssrcs):
            self._track = self._opus = None
        elif self._track is None or self._track.ssrcs != ssrcs:
            self._opus = OpusEncoder()
            self._track = RtpPacketizer(*ssrcs, PAYLOAD_TYPES, self._top.extradata, self.started_at, self._send_rtp)

    def _change_destinations(self, wanted: list[protocol.Destination]) -> None:
        ids = {one.id for one in wanted}
        left = {name: one for name, one in self._destinations.items() if name in ids}
        gone = [one for name, one in self._destinations.items() if name not in ids]
        top = self._start.renditions[0]
        stream = Stream(
            self._top.extradata, self._aac.extradata, top.width, top.height, top.bit_rate, self._start.audio_bit_rate
        )
        self._refused = {name: why for name, why in self._refused.items() if name in ids}
        for one in wanted:
            if one.id in left or one.id in self._refused:
                continue
            try:
                left[one.id] = Destination(parse_rtmp_url(one.url), stream, private=self._start.rtmp_allow_private)
            except BadRequest as error:
                self._refused[one.id] = error.message
        self._destinations = left
        for destination in gone:
            threading.Thread(target=destination.close, name="rtmp-close", daemon=True).start()
