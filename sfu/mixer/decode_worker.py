"""A decoder thread and its queue of frames, which it decodes in batches.

Waking a thread costs as much as decoding a small frame. Small frames are therefore batched until a tick is near, when
pictures are needed, or until the batch is worth a wake-up. `lead` is the latency that this adds: frames that arrive
less than `lead` before a tick miss it.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, Protocol

from sfu.rtp.frames import CodedFrame

log = logging.getLogger(__name__)

MAX_WAIT: Final = 0.008
"""Seconds that a frame waits for a batch at most."""
BATCH_COST: Final = 0.001
"""Seconds of decoding that justify waking the thread. This bounds the work that is left when a tick is near."""
MIN_LEAD: Final = 0.001
MAX_LEAD: Final = 0.012
"""Limits of `lead`: seconds before a tick at which the last batch starts."""
_WINDOW: Final = 64
"""Recent batches from whose durations `lead` is computed."""
_SLOWEST: Final = 0.05
"""Fraction of the batches that may take longer than `lead`."""
_EVERY: Final = 8
"""Batches between two updates of `lead`."""

_Job = Callable[[], object]


class Source(Protocol):
    """The part of `sfu.mixer.decoding.VideoSource` that a decode worker needs."""

    cost: float
    "Estimated seconds to decode one frame."

    def decode(self, frame: CodedFrame, begun: float, lead: float) -> None: ...


class DecodeWorker:
    """The receiving thread calls `add`; any thread may call `decode_waiting` and `submit`. Runs until `close`."""

    def __init__(self, name: str, now: Callable[[], float]) -> None:
        self.lead = MIN_LEAD
        self._now = now
        self._waiting: deque[tuple[Source, CodedFrame]] = deque()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._cost = 0.0
        """Estimated seconds to decode the queued frames."""
        self._woken_at: float | None = None
        """When the thread was woken for the queued frames; None if no batch is pending."""
        self._durations: deque[float] = deque(maxlen=_WINDOW)
        self._batches = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def add(self, source: Source, frame: CodedFrame) -> None:
        waiting = self._waiting
        waiting.append((source, frame))
        self._cost += source.cost
        try:
            first = waiting[0][1].arrival
        except IndexError:
            return  # a running batch has already taken it
        if self._cost >= BATCH_COST or frame.arrival - first >= MAX_WAIT:
            self.decode_waiting()

    def decode_waiting(self) -> None:
        """Starts a batch with all queued frames now."""
        if self._waiting and self._woken_at is None:
            self._woken_at = self._now()
            self.submit(self._decode)

    def submit(self, job: _Job) -> None:
        """Runs another job on this thread."""
        self._jobs.put(job)

    def wait_idle(self) -> None:
        """Blocks until all frames queued so far are decoded."""
        done = threading.Event()
        self.submit(self._decode)
        self.submit(done.set)
        done.wait()

    def close(self) -> None:
        """Waits for the running job, at most 5 seconds."""
        self._jobs.put(None)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:
                log.exception("frame decode failed")  # the other sources on this thread continue

    def _decode(self) -> None:
        woken_at, self._woken_at, self._cost = self._woken_at, None, 0.0
        waiting, begun = self._waiting, woken_at if woken_at is not None else self._now()
        count = len(waiting)  # frames that arrive from now on belong to the next batch
        for _ in range(count):
            source, frame = waiting.popleft()
            try:
                source.decode(frame, begun, self.lead)
            except Exception:
                log.exception("frame decode failed")
        if count:
            self._update_lead(self._now() - begun)

    def _update_lead(self, took: float) -> None:
        self._durations.append(took)
        self._batches += 1
        if self._batches % _EVERY == 0:
            order = sorted(self._durations)
            slow = order[len(order) - 1 - int(len(order) * _SLOWEST)]
            self.lead = min(MAX_LEAD, max(MIN_LEAD, slow))
