"""OpenTelemetry traces over OTLP/HTTP (extra `otel`). The SDK is imported only if a collector is configured.

A thread of the SDK batches and sends spans. If the collector is too slow, the SDK drops spans instead of blocking.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sfu import __version__
from sfu.errors import ConfigurationError
from sfu.telemetry.join_trace import Span
from sfu.telemetry.settings import TraceSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OpenSpan

NANOSECONDS = 1e9


@dataclass(frozen=True, slots=True)
class Traces:
    """Implements `join_trace.Tracer`. `close` sends the remaining spans."""

    start: Callable[[str, float], Span]
    close: Callable[[], None]


class _Span:
    """Implements `join_trace.Span`."""

    __slots__ = ("_provider", "_span")

    def __init__(self, provider: "TracerProvider", span: "OpenSpan") -> None:
        self._provider = provider
        self._span = span

    @property
    def trace_id(self) -> str:
        return f"{self._span.get_span_context().trace_id:032x}"

    def child(self, name: str, began: float, ended: float, **attributes: str | float | bool) -> None:
        from opentelemetry.trace import set_span_in_context

        tracer = self._provider.get_tracer("sfu", __version__)
        parent = set_span_in_context(self._span)
        span = tracer.start_span(name, parent, attributes=attributes, start_time=int(began * NANOSECONDS))
        span.end(int(ended * NANOSECONDS))

    def end(self, ended: float, **attributes: str | float | bool) -> None:
        self._span.set_attributes(attributes)
        self._span.end(int(ended * NANOSECONDS))


def open_traces(settings: TraceSettings) -> Traces | None:
    """Returns None if no collector is configured. Raises ConfigurationError if the extra is not installed."""
    if not settings.endpoint:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
    except ImportError:
        raise ConfigurationError(
            "traces.endpoint: OpenTelemetry is not installed. Install it with `pip install aiosfu[otel]`."
        ) from None
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    resource = Resource.create({"service.name": settings.service, "service.version": __version__})
    provider = TracerProvider(resource=resource, sampler=ParentBasedTraceIdRatio(settings.ratio))
    exporter = OTLPSpanExporter(endpoint=settings.endpoint.rstrip("/") + "/v1/traces", timeout=5)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=round(settings.delay * 1000)))
    tracer = provider.get_tracer("sfu", __version__)

    def start(name: str, began: float) -> Span:
        return _Span(provider, tracer.start_span(name, start_time=int(began * NANOSECONDS)))

    return Traces(start, provider.shutdown)
