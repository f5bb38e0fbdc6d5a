"""Duration of a client's join up to the first picture: always measured, and traced if tracing is enabled.

    join ─ publish (the client's offer, until it is answered)
         ─ negotiate (the server's first offer, until the client answers)
         ─ connect (until ICE and DTLS are complete)
         ─ first picture (until a keyframe is sent to the client)

Signalling reports the first two. The last two are polled in each tick of the media timer while a join is in progress, so
that neither the handshake nor the packet path depends on this module.
"""

import time
from collections.abc import Callable
from typing import Protocol

from sfu.telemetry import logs
from sfu.telemetry.histogram import Histogram

FIRST_PICTURE_TIMEOUT = 15.0
"""Seconds after the first answer at which a trace ends without a picture: the room may have no video."""


class Span(Protocol):
    """An open span of a trace. Times are Unix time."""

    @property
    def trace_id(self) -> str: ...

    def child(self, name: str, began: float, ended: float, **attributes: str | float | bool) -> None:
        """Adds a completed child span."""

    def end(self, ended: float, **attributes: str | float | bool) -> None: ...


class Tracer(Protocol):
    def start(self, name: str, began: float) -> Span: ...


class View(Protocol):
    """State of a subscribing connection, as far as a join trace needs it."""

    @property
    def established(self) -> bool: ...

    @property
    def sending_video(self) -> bool:
        """Whether a keyframe has been sent to the client."""


class JoinTraces:
    """All joins in progress. `now` returns monotonic seconds."""

    def __init__(self, tracer: Tracer | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self.tracer = tracer
        self.negotiation = Histogram()
        self.first_picture = Histogram()
        self._waiting: dict[JoinTrace, None] = {}

    def begin(self) -> "JoinTrace":
        """Starts the trace of a join, and binds its trace id to the log records of the current task."""
        join_trace = JoinTrace(self)
        if join_trace.span is not None:
            logs.bind(trace_id=join_trace.span.trace_id)
        return join_trace

    def wait(self, join_trace: "JoinTrace") -> None:
        self._waiting[join_trace] = None

    def forget(self, join_trace: "JoinTrace") -> None:
        self._waiting.pop(join_trace, None)

    def tick(self, now: float) -> None:
        """Polls the joins in progress. Called in each tick of the media timer."""
        for join_trace in list(self._waiting):
            join_trace.poll(now)

    def wall(self, at: float) -> float:
        """Converts monotonic to Unix time."""
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
        """The server answered the client's offer, which arrived at `began`."""
        self._child("publish", began, self._join_traces.now())

    def offered(self) -> None:
        """The server sent an offer; only the first one counts."""
        if self._offered_at is None:
            self._offered_at = self._join_traces.now()

    def answered(self, view: View) -> None:
        """The client answered the offer; `view` is its subscribing connection."""
        if self._answered_at is not None or self._offered_at is None:
            return
        self._answered_at = self._join_traces.now()
        self._join_traces.negotiation.observe(self._answered_at - self._offered_at)
        self._child("negotiate", self._offered_at, self._answered_at)
        self._view = view
        self._join_traces.wait(self)

    def poll(self, now: float) -> None:
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
        elif now - answered_at > FIRST_PICTURE_TIMEOUT:
            self._end(now, sending_video=False)

    def close(self) -> None:
        """The client left or was rejected. Idempotent."""
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
