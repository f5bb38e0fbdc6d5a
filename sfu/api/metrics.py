"""Metrics of HTTP requests and connections."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from sfu.api.connection_limiter import ConnectionLimiter
from sfu.api.middleware import RequestCounters
from sfu.telemetry.metrics import Collector, counters, gauge, table


class HttpCollector(Collector):
    def __init__(self, requests: RequestCounters, connections: ConnectionLimiter) -> None:
        self._requests = requests
        self._connections = connections

    def collect(self) -> Iterator[Metric]:
        yield counters("sfu_tokens_refused_total", "Access tokens rejected.", "reason", self._requests.refused_tokens)
        yield table("sfu_http_requests_total", "HTTP requests.", ["method", "route", "status"], self._requests.by_route)
        yield gauge("sfu_http_connections", "Open HTTP connections, including WebSockets.", self._connections.open)
        yield counters(
            "sfu_http_connections_refused_total",
            "HTTP connections rejected or closed: too many in total or per address, or a request header that arrived too late.",
            "reason",
            self._connections.refused,
        )
