"""Trace of an egress worker from its start to its first frame, if tracing is enabled.

    mixer start ─ worker (until its process runs and its clock has started)
                ─ first frame (until the first frame is mixed, encoded and received here)

A worker that replaces another one gets its own trace with the attribute `replacement`.
"""

import time
from collections.abc import Callable

from sfu.telemetry.join_trace import Span, Tracer


class EgressTrace:
    """Trace of one worker's start. Each event counts once; `close` is idempotent."""

    __slots__ = ("_began", "_ended", "_now", "_replacement", "_span", "_started", "trace_id")

    def __init__(
        self, tracer: Tracer | None, *, replacement: bool = False, now: Callable[[], float] = time.time
    ) -> None:
        """`now` returns Unix time."""
        self._now = now
        self._replacement = replacement
        self._began = now()
        self._started: float | None = None
        self._ended = False
        self._span: Span | None = tracer.start("mixer start", self._began) if tracer is not None else None
        self.trace_id = self._span.trace_id if self._span is not None else ""

    def started(self) -> None:
        """The worker runs and its clock has started."""
        if self._started is None and not self._ended:
            self._started = self._now()
            self._child("worker", self._began, self._started)

    def first_frame(self) -> float | None:
        """A frame arrived from the worker. Returns the seconds since the start for the first frame, then None."""
        if self._ended:
            return None
        now = self._now()
        self._child("first frame", self._began if self._started is None else self._started, now)
        self._end(now, first_frame=True)
        return now - self._began

    def close(self) -> None:
        """Ends the trace, if the worker ended without a frame."""
        if not self._ended:
            self._end(self._now(), first_frame=False)

    def _child(self, name: str, began: float, ended: float) -> None:
        if self._span is not None:
            self._span.child(name, began, ended)

    def _end(self, now: float, *, first_frame: bool) -> None:
        self._ended = True
        span, self._span = self._span, None
        if span is not None:
            span.end(now, first_frame=first_frame, replacement=self._replacement)
