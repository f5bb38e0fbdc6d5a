"""From coded packets to parts: segmenters for viewers and for the recording, on a thread of their own.

Whatever starts, starts with the next segment of programme time, in every rendition at once, so that they stay aligned.
The queue before it is bounded: a server that does not take parts costs parts, never a tick.
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
from sfu.outputs.segmenter import Part as Cut

log = logging.getLogger(__name__)

WAITING: Final = 512
"""Packets of all renditions that may wait: several seconds."""
RECORDING: Final = "recording"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be packaged from when on, in programme time of 1/90000 s; None: not."""

    live: int | None = None
    recording: int | None = None


@dataclass(slots=True)
class _Cutter:
    """One stream of parts: from which rendition, since when."""

    source: str
    since: int
    segmenter: Segmenter


class Packaging:
    """`video`, `audio` and `plan` from any thread; parts leave on its own."""

    def __init__(
        self,
        sizes: Mapping[str, tuple[int, int]],
        top: str,
        avcc: Callable[[str], bytes],
        audio_config: bytes,
        send: Callable[[ToServer], None],
    ) -> None:
        """`sizes` by rendition, `top` the one that is recorded; `avcc(rendition)`: its encoder's extradata."""
        self._sizes = sizes
        self._top = top
        self._avcc = avcc
        self._audio_config = audio_config
        self._send = send
        self._queue: queue.Queue[tuple[str, list[EncodedPacket]] | Plan | None] = queue.Queue(WAITING)
        self._plan = Plan()
        self._cutters: dict[str, _Cutter] = {}
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="packaging", daemon=True)
        self._thread.start()

    def video(self, rendition: str, packets: list[EncodedPacket]) -> None:
        self._put((rendition, packets))

    def audio(self, packets: list[EncodedPacket]) -> None:
        self._put(("", packets))

    def plan(self, live: bool, recording: bool, now: int) -> None:
        """What is wanted from programme time `now` on; what begins waits for the next segment."""
        begin = -(-now // SEGMENT_TICKS) * SEGMENT_TICKS
        old = self._plan
        self._plan = Plan(
            (begin if old.live is None else old.live) if live else None,
            (begin if old.recording is None else old.recording) if recording else None,
        )
        if self._plan != old:
            self._queue.put(self._plan)

    def close(self) -> None:
        """Sends what is left."""
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
                    self._arrange(item)
                else:
                    self._take(*item)
            self._arrange(Plan())
        except OSError:
            log.info("the server takes no parts any more")

    def _take(self, rendition: str, packets: list[EncodedPacket]) -> None:
        for name, cutter in self._cutters.items():
            if not rendition:
                since = cutter.since * AUDIO_RATE // VIDEO_RATE
                cutter.segmenter.receive_audio([packet for packet in packets if packet.pts >= since])
            elif cutter.source == rendition:
                wanted = [packet for packet in packets if packet.pts >= cutter.since]
                for part in cutter.segmenter.receive_video(wanted):
                    self._part(name, part)

    def _arrange(self, plan: Plan) -> None:
        wanted: dict[str, tuple[str, int]] = {}
        if plan.live is not None:
            wanted |= {name: (name, plan.live) for name in self._sizes}
        if plan.recording is not None:
            wanted[RECORDING] = (self._top, plan.recording)
        for name in [name for name in self._cutters if name not in wanted]:
            for part in self._cutters.pop(name).segmenter.flush():
                self._part(name, part)
        for name, (source, since) in wanted.items():
            if name not in self._cutters:
                width, height = self._sizes[source]
                video = VideoTrack(width, height, self._avcc(source))
                self._send(Init(rendition=name, data=init_segment(video, AudioTrack(self._audio_config))))
                self._cutters[name] = _Cutter(source, since, Segmenter(name))

    def _part(self, name: str, part: Cut) -> None:
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
