"""Packages encoded packets into parts for the live stream and the recording, on its own thread.

An output starts with the next segment of mix time, in all renditions at once, so that they stay aligned. The input
queue is bounded: a server that does not read loses parts, but never delays a tick.
"""

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sfu.egress.protocol import Init, Part, ToServer
from sfu.outputs.encoder import AUDIO_RATE, VIDEO_RATE, EncodedPacket
from sfu.outputs.fmp4 import AudioTrack, VideoTrack, init_segment
from sfu.outputs.segmenter import SEGMENT_TICKS, Segmenter
from sfu.outputs.segmenter import Part as MuxedPart

log = logging.getLogger(__name__)

QUEUE_LENGTH: Final = 512
"""Maximum number of queued packet runs of all renditions; several seconds."""
RECORDING: Final = "recording"


@dataclass(frozen=True, slots=True)
class Plan:
    """Mix times (1/90000 s) from which each output is packaged; None: off."""

    live: int | None = None
    recording: int | None = None


@dataclass(slots=True)
class _PartStream:
    """One stream of parts: its source rendition, its start and its segmenter."""

    source: str
    since: int
    segmenter: Segmenter


class Packaging:
    """`video`, `audio` and `plan` may be called from any thread. Parts are sent on the packaging thread."""

    def __init__(
        self,
        sizes: Mapping[str, tuple[int, int]],
        top: str,
        avcc: Callable[[str], bytes],
        audio_config: bytes,
        send: Callable[[ToServer], None],
    ) -> None:
        """`sizes`: by rendition. `top`: the recorded rendition. `avcc(rendition)`: extradata of its encoder."""
        self._sizes = sizes
        self._top = top
        self._avcc = avcc
        self._audio_config = audio_config
        self._send = send
        self._queue: queue.Queue[tuple[str, list[EncodedPacket]] | Plan | None] = queue.Queue(QUEUE_LENGTH)
        self._plan = Plan()
        self._part_streams: dict[str, _PartStream] = {}
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="packaging", daemon=True)
        self._thread.start()

    def video(self, rendition: str, packets: list[EncodedPacket]) -> None:
        self._put((rendition, packets))

    def audio(self, packets: list[EncodedPacket]) -> None:
        self._put(("", packets))

    def plan(self, live: bool, recording: bool, now: int) -> None:
        """Sets the outputs from mix time `now` on. A new output starts with the next segment."""
        begin = -(-now // SEGMENT_TICKS) * SEGMENT_TICKS
        old = self._plan
        self._plan = Plan(
            (begin if old.live is None else old.live) if live else None,
            (begin if old.recording is None else old.recording) if recording else None,
        )
        if self._plan != old:
            self._queue.put(self._plan)

    def close(self) -> None:
        """Flushes the remaining parts."""
        self._queue.put(None)
        self._thread.join(3.0)

    def _put(self, item: tuple[str, list[EncodedPacket]]) -> None:
        if not item[1] or self._plan == Plan():
            return
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self.dropped += 1

    def _run(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                if isinstance(item, Plan):
                    self._apply_plan(item)
                else:
                    self._segment(*item)
            self._apply_plan(Plan())
        except OSError:
            log.info("server closed the control socket")

    def _segment(self, rendition: str, packets: list[EncodedPacket]) -> None:
        for name, part_stream in self._part_streams.items():
            if not rendition:
                since = part_stream.since * AUDIO_RATE // VIDEO_RATE
                part_stream.segmenter.receive_audio([packet for packet in packets if packet.pts >= since])
            elif part_stream.source == rendition:
                wanted = [packet for packet in packets if packet.pts >= part_stream.since]
                for part in part_stream.segmenter.receive_video(wanted):
                    self._send_part(name, part)

    def _apply_plan(self, plan: Plan) -> None:
        wanted: dict[str, tuple[str, int]] = {}
        if plan.live is not None:
            wanted |= {name: (name, plan.live) for name in self._sizes}
        if plan.recording is not None:
            wanted[RECORDING] = (self._top, plan.recording)
        for name in [name for name in self._part_streams if name not in wanted]:
            for part in self._part_streams.pop(name).segmenter.flush():
                self._send_part(name, part)
        for name, (source, since) in wanted.items():
            if name not in self._part_streams:
                width, height = self._sizes[source]
                video = VideoTrack(width, height, self._avcc(source))
                self._send(Init(rendition=name, data=init_segment(video, AudioTrack(self._audio_config))))
                self._part_streams[name] = _PartStream(source, since, Segmenter(name))

    def _send_part(self, name: str, part: MuxedPart) -> None:
        self._send(
            Part(
                rendition=name,
                msn=part.msn,
                index=part.index,
                independent=part.independent,
                duration=part.duration,
                pts=part.pts,
                data=part.data,
            )
        )
