"""A decoder thread with the frames that wait for it.

Waking a thread for every frame costs as much as decoding a small one. So small ones wait for each other: until a tick is
near, which is when pictures are needed, or until together they are worth it. What that adds to a picture's way is `lead`:
the time before a tick from which on it is too late for it.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, Protocol

from sfu.rtp.frames import CodedFrame

log = logging.getLogger(__name__)

PATIENCE: Final = 0.008
"""Seconds that a frame waits for others at most."""
ROUND: Final = 0.001
"""Seconds of decoding that are worth waking the thread: so much, and not much more, is left to do when a tick is near."""
LEAST_LEAD: Final = 0.001
MOST_LEAD: Final = 0.012
"""Seconds before a tick at which what came until then is decoded: as many as that takes, nearly always."""
_WINDOW: Final = 64
_SLOWEST: Final = 0.05
_EVERY: Final = 8
"""Rounds over which `lead` is judged, the share of them that may take longer, and how often."""

_Job = Callable[[], object]


class Source(Protocol):
    """A `sfu.mixer.decoding.VideoSource`."""

    cost: float
    "Seconds that a frame of it takes, about."

    def decode(self, frame: CodedFrame, begun: float, lead: float) -> None: ...


class DecodeWorker:
    """`add` is the receiving thread's, `decode_waiting` and `submit` anybody's. Ends with `close`."""

    def __init__(self, name: str, now: Callable[[], float]) -> None:
        self.lead = LEAST_LEAD
        self._now = now
        self._waiting: deque[tuple[Source, CodedFrame]] = deque()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._cost = 0.0
        """Of what waits."""
        self._called: float | None = None
        """When the thread was last woken for what waits; None: nobody has since it began its last round."""
        self._took: deque[float] = deque(maxlen=_WINDOW)
        self._rounds = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def add(self, source: Source, frame: CodedFrame) -> None:
        waiting = self._waiting
        waiting.append((source, frame))
        self._cost += source.cost
        try:
            first = waiting[0][1].arrival
        except IndexError:
            return  # its round has come already
        if self._cost >= ROUND or frame.arrival - first >= PATIENCE:
            self.decode_waiting()

    def decode_waiting(self) -> None:
        """A round for all that waits, now."""
        if self._waiting and self._called is None:
            self._called = self._now()
            self.submit(self._decode)

    def submit(self, job: _Job) -> None:
        """Anything else that has to be done on this thread."""
        self._jobs.put(job)

    def wait_idle(self) -> None:
        """Returns when nothing waits any more."""
        done = threading.Event()
        self.submit(self._decode)
        self.submit(done.set)
        done.wait()

    def close(self) -> None:
        """Waits for what is running."""
        self._jobs.put(None)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:
                log.exception("frame decode failed")  # one source's, and the others on this thread go on

    def _decode(self) -> None:
        called, self._called, self._cost = self._called, None, 0.0
        waiting, begun = self._waiting, called if called is not None else self._now()
        count = len(waiting)  # what comes meanwhile has a round of its own
        for _ in range(count):
            source, frame = waiting.popleft()
            try:
                source.decode(frame, begun, self.lead)
            except Exception:
                log.exception("frame decode failed")
        if count:
            self._judge(self._now() - begun)

    def _judge(self, took: float) -> None:
        self._took.append(took)
        self._rounds += 1
        if self._rounds % _EVERY == 0:
            order = sorted(self._took)
            slow = order[len(order) - 1 - int(len(order) * _SLOWEST)]
            self.lead = min(MOST_LEAD, max(LEAST_LEAD, slow))
