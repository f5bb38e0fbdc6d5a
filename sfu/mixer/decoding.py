"""Decodes and scales video tracks soon after their frames arrive, and shows the pictures when they are due.

One to four threads (`sfu.mixer.decode_worker`) serve all sources. Each source stays on one thread, so its frames are
decoded in order without a lock. libav releases the GIL while it decodes and scales.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from av.error import FFmpegError
from av.video.frame import VideoFrame

from sfu.mixer.decode_worker import BATCH_COST, DecodeWorker
from sfu.mixer.decoder import Decoder
from sfu.mixer.frame_pacer import FramePacer
from sfu.mixer.picture import Fitter, Picture
from sfu.mixer.scene import Fit
from sfu.rtp.frames import CodedFrame

VIDEO_RATE: Final = 90_000
QUEUE_LIMIT: Final = 30
"""Coded frames that one source queues for its decoder. On overflow, frames are dropped until a keyframe."""
STALE_AFTER: Final = 8.0
"""Seconds without a picture after which a camera counts as off. A shared screen may be static for hours."""
HIDDEN_AFTER: Final = 1.0
"""Seconds without a call of `picture_at` after which a source is decoded but no longer scaled."""

COST_GAIN: Final = 1 / 16
"""Weight of the newest picture in the average decoding cost."""
PROCESSING_WINDOW: Final = 128
"""Recent pictures over which the 95th percentile of the processing time is taken."""
REPORT_EVERY: Final = 8
"""Pictures between two reports of that percentile to the track's clock."""


class Clock(Protocol):
    """The part of `sfu.mixer.playout_sync.TrackClock` that a video source needs."""

    def due(self, timestamp: int) -> float | None: ...

    def took(self, seconds: float) -> None:
        """Reports the time from arrival to a finished picture, so that the sound is delayed accordingly."""


class DecoderPool:
    """The decoder threads. One thread calls `open` and the sources' `close`; `close` waits for running jobs."""

    def __init__(self, count: int = 2, *, now: Callable[[], float] = time.monotonic) -> None:
        """`count`: 1 to 4 threads."""
        if not 1 <= count <= 4:
            raise ValueError("the number of decoder threads must be 1 to 4")
        self._now = now
        self._workers = [DecodeWorker(f"decoder-{index}", now) for index in range(count)]
        self._sources = [0] * count

    def open(self, codec: str, clock: Clock | None = None, *, screen: bool = False) -> "VideoSource":
        """`clock`: playout times of the participant's sound; pictures wait for it. Raises ValueError for unknown codecs."""
        thread = self._sources.index(min(self._sources))
        source = VideoSource(
            Decoder(codec), self._workers[thread], lambda: self._release(thread), clock, screen=screen, now=self._now
        )
        self._sources[thread] += 1
        return source

    @property
    def lead(self) -> float:
        """Seconds before a tick at which to call `decode_waiting`, so that the decoded pictures are ready in time."""
        return max([worker.lead for worker in self._workers])

    def decode_waiting(self) -> None:
        """Decodes all queued frames now. Called shortly before a tick."""
        for worker in self._workers:
            worker.decode_waiting()

    def wait_idle(self) -> None:
        """Blocks until all received frames are decoded."""
        for worker in self._workers:
            worker.wait_idle()

    def close(self) -> None:
        for worker in self._workers:
            worker.close()

    def _release(self, thread: int) -> None:
        self._sources[thread] -= 1


class VideoSource:
    """Decodes and paces one video track. Created by `DecoderPool.open`.

    Three threads use it: the receiving thread calls `receive` and `close`; the video thread calls `show`, `picture_at`
    and `waited`; the rest runs on a decoder thread. They share single attributes and a deque, each changed atomically.
    """

    def __init__(
        self,
        decoder: Decoder,
        worker: DecodeWorker,
        release: Callable[[], None],
        clock: Clock | None,
        *,
        screen: bool,
        now: Callable[[], float],
    ) -> None:
        self.screen = screen
        self.paused = False
        "The publisher muted the track: no picture is shown, even if frames still arrive."
        self.needs_keyframe = False
        "The decoder failed or fell behind. The last picture stays until a keyframe arrives."
        self.cost = BATCH_COST
        self.decoded = 0
        self.size = (0, 0)
        "Width and height of the last decoded picture after rotation."
        self.on_frame: Callable[[VideoFrame, float], None] | None = None
        "Called on the decoder thread with every decoded frame and its media time in seconds."
        self.pacer: FramePacer[Picture] = FramePacer()
        if clock is not None:
            self.pacer.due_of_sound = lambda media: clock.due(round(media * VIDEO_RATE))
        self._clock = clock
        self._processing_times: deque[float] = deque(maxlen=PROCESSING_WINDOW)
        self._decoder = decoder
        self._fitter = Fitter()
        self._worker = worker
        self._release = release
        self._now = now
        self._waiting = 0
        self._place: tuple[int, int, Fit] | None = None
        self._asked = float("-inf")
        self._last: tuple[VideoFrame, int] | None = None
        self._again: Picture | None = None
        self._shown: Picture | None = None
        self._fresh = now()
        self._closed = False

    @property
    def failed(self) -> int:
        """Frames that could not be decoded."""
        return self._decoder.failed

    def receive(self, frame: CodedFrame) -> None:
        if self._closed:
            return
        full = self._waiting >= QUEUE_LIMIT
        if full:
            self.needs_keyframe = True
        if self.needs_keyframe and (full or not frame.keyframe):
            return
        self.needs_keyframe = False
        self._waiting += 1
        self._worker.add(self, frame)

    def show(self, width: int, height: int, fit: Fit) -> None:
        """Sets the tile size for the next pictures, and scales the last one for it again."""
        wanted = width, height, fit
        if wanted != self._place:
            self._place = wanted
            if self._last is not None:
                self._worker.submit(self._fit_again)

    def picture_at(self, now: float) -> Picture | None:
        """The picture for the tick at `now`; None: there is none. Called only while the scene contains this source."""
        hidden = now - self._asked > HIDDEN_AFTER
        self._asked = now
        if hidden and self._last is not None and self._place is not None:
            self._worker.submit(self._fit_again)
        found = self.pacer.take(now)
        again, self._again = self._again, None
        if found is not None:
            self._shown, self._fresh = found, now
        elif again is not None:
            self._shown = again
        if self.paused:
            self._shown = None
        elif not self.screen and now - self._fresh > STALE_AFTER:
            return None
        return self._shown

    def waited(self, now: float) -> float | None:
        """Seconds between the due time of the current picture and `now`. `FrameClock` minimizes it when locked."""
        return self.pacer.waited(now)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._release()

    def decode(self, frame: CodedFrame, begun: float, lead: float) -> None:
        """Runs on the decoder thread. `begun`: when the batch was started; `lead`: see `DecodeWorker.lead`."""
        self._waiting -= 1
        if self._closed:
            return
        started = self._now()
        try:
            decoded = self._decoder.decode(frame.data)
        except FFmpegError:
            self.needs_keyframe = True
            return
        if decoded is None:
            return
        self.decoded += 1
        self._last = decoded, frame.rotation
        sideways = frame.rotation % 180 != 0
        self.size = (decoded.height, decoded.width) if sideways else (decoded.width, decoded.height)
        media = frame.timestamp / VIDEO_RATE
        if self.on_frame is not None:
            self.on_frame(decoded, media)
        if frame.arrival - self._asked > HIDDEN_AFTER:
            return
        picture = self._fit(decoded, frame.rotation)
        if picture is not None:
            ready = self._now()
            self.cost += COST_GAIN * (ready - started - self.cost)
            took = max(lead, ready - max(begun, frame.arrival))
            self._report_processing_time(took)
            self.pacer.push(media, frame.arrival + took, picture)

    def _report_processing_time(self, took: float) -> None:
        """Reports the processing time to the track's clock: on a busy machine, sound has to wait for the pictures."""
        self._processing_times.append(took)
        if self._clock is not None and self.decoded % REPORT_EVERY == 0:
            order = sorted(self._processing_times)
            self._clock.took(order[len(order) * 19 // 20])

    def _fit_again(self) -> None:
        if self._last is not None and not self._closed:
            self._again = self._fit(*self._last)

    def _fit(self, frame: VideoFrame, rotation: int) -> Picture | None:
        place = self._place
        if place is None:
            return None
        try:
            return self._fitter.fit(frame, *place, rotation)
        except FFmpegError:
            return None  # drop frames in formats that cannot be converted
