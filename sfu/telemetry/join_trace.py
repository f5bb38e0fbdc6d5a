"""A client's way from its join to the first picture: measured for everybody, and traced when an operator wants traces.

    join ─ publish (the offer that it sends, answered)
         ─ negotiate (our first offer, until its answer)
         ─ connect (until the keys are there: ICE and DTLS)
         ─ first picture (until a keyframe goes out to it)

The marks are made where these things happen, except for the last two, which are looked for in every tick of the media
timer while somebody is under way: neither the handshake nor the packet path knows of this.
"""

import time
from collections.abc import Callable
from typing import Protocol

from sfu.telemetry import logs
from sfu.telemetry.histogram import Histogram

PATIENCE = 15.0
"""Seconds from the first answer after which nobody is waited for any more: what comes to them may have no pictures."""


class Span(Protocol):
    """An open span of a trace. Times are seconds since 1970."""

    @property
    def trace_id(self) -> str: ...

    def child(self, name: str, began: float, ended: float, **attributes: str | float | bool) -> None:
        """A span within this one that is over."""

    def end(self, ended: float, **attributes: str | float | bool) -> None: ...


class Tracer(Protocol):
    def start(self, name: str, began: float) -> Span: ...


class View(Protocol):
    """What a client is shown, as far as it is known here."""

    @property
    def established(self) -> bool: ...

    @property
    def sending_video(self) -> bool:
        """Whether a picture is on its way to it."""


class JoinTraces:
    """All that are under way. `now` is monotonic seconds."""

    def __init__(self, tracer: Tracer | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self.tracer = tracer
        self.negotiation = Histogram()
        self.first_picture = Histogram()
        self._waiting: dict[JoinTrace, None] = {}

    def begin(self) -> "JoinTrace":
        """A client asks to join. Its log records carry the trace's id from now on."""
        join_trace = JoinTrace(self)
        if join_trace.span is not None:
            logs.bind(trace_id=join_trace.span.trace_id)
        return join_trace

    def wait(self, join_trace: "JoinTrace") -> None:
        self._waiting[join_trace] = None

    def forget(self, join_trace: "JoinTrace") -> None:
        self._waiting.pop(join_trace, None)

    def tick(self, now: float) -> None:
        """As often as pictures come."""
        for join_trace in list(self._waiting):
            join_trace.look(now)

    def wall(self, at: float) -> float:
        """Seconds since 1970 of a moment."""
        return time.time() - self.now() + at


class JoinTrace:
    __slots__ = ("_answered_at", "_began", "_connected_at", "_join_traces", "_offered_at", "_view", "span")

    def __init__(self, join_traces: JoinTraces) -> None:
        self._join_traces = join_traces
        self._began = join_traces.now()
        self._offered_at: float | None = None
        self._answered_at: float | None = None
        self._connected_at: float | None = None
        self._view: View | None = None
        tracer = join_traces.tracer
        self.span: Span | None = tracer.start("join", join_traces.wall(self._began)) if tracer is not None else None

    def published(self, began: float) -> None:
        """Its offer, which came at `began`, is answered."""
        self._child("publish", began, self._join_traces.now())

    def offered(self) -> None:
        """It was made an offer; the first one counts."""
        if self._offered_at is None:
            self._offered_at = self._join_traces.now()

    def answered(self, view: View) -> None:
        """It answered; `view` is what it will be shown."""
        if self._answered_at is not None or self._offered_at is None:
            return
        self._answered_at = self._join_traces.now()
        self._join_traces.negotiation.observe(self._answered_at - self._offered_at)
        self._child("negotiate", self._offered_at, self._answered_at)
        self._view = view
        self._join_traces.wait(self)

    def look(self, now: float) -> None:
        view, answered_at, offered_at = self._view, self._answered_at, self._offered_at
        if view is None or answered_at is None or offered_at is None:
            return
        if self._connected_at is None and view.established:
            self._connected_at = now
            self._child("connect", answered_at, now)
        if self._connected_at is not None and view.sending_video:
            self._join_traces.first_picture.observe(now - offered_at)
            self._child("first picture", self._connected_at, now)
            self._end(now, sending_video=True)
        elif now - answered_at > PATIENCE:
            self._end(now, sending_video=False)

    def close(self) -> None:
        """It left, or was refused. Idempotent."""
        self._end(self._join_traces.now(), sending_video=False)

    def _end(self, now: float, *, sending_video: bool) -> None:
        self._join_traces.forget(self)
        self._view = None
        span, self.span = self.span, None
        if span is not None:
            span.end(self._join_traces.wall(now), sending_video=sending_video)

    def _child(self, name: str, began: float, ended: float) -> None:
        if self.span is not None:
            self.span.child(name, self._join_traces.wall(began), self._join_traces.wall(ended))
