"""A programme's way from the wish to its first picture, traced when an operator wants traces.

    mixer start ─ worker (until its process runs and programme time with it)
                ─ first frame (until the first picture is mixed, encoded and here)

A worker that replaces another one is a start of its own, `replacement` by its attribute.
"""

import time
from collections.abc import Callable

from sfu.telemetry.join_trace import Span, Tracer


class EgressTrace:
    """One worker's start. Each mark counts once; `close` is idempotent."""

    __slots__ = ("_began", "_now", "_replacement", "_span", "_started", "_told", "trace_id")

    def __init__(
        self, tracer: Tracer | None, *, replacement: bool = False, now: Callable[[], float] = time.time
    ) -> None:
        """`now`: seconds since 1970."""
        self._now = now
        self._replacement = replacement
        self._began = now()
        self._started: float | None = None
        self._told = False
        self._span: Span | None = tracer.start("mixer start", self._began) if tracer is not None else None
        self.trace_id = self._span.trace_id if self._span is not None else ""

    def started(self) -> None:
        """Programme time runs."""
        if self._started is None and not self._told:
            self._started = self._now()
            self._child("worker", self._began, self._started)

    def first_frame(self) -> float | None:
        """A picture came of it. Seconds since the beginning for the first one, afterwards None."""
        if self._told:
            return None
        now = self._now()
        self._child("first frame", self._began if self._started is None else self._started, now)
        self._end(now, first_frame=True)
        return now - self._began

    def close(self) -> None:
        """It ends, perhaps without a picture."""
        if not self._told:
            self._end(self._now(), first_frame=False)

    def _child(self, name: str, began: float, ended: float) -> None:
        if self._span is not None:
            self._span.child(name, began, ended)

    def _end(self, now: float, *, first_frame: bool) -> None:
        self._told = True
        span, self._span = self._span, None
        if span is not None:
            span.end(now, first_frame=first_frame, replacement=self._replacement)
