"""Metrics of the server's TLS certificate."""

from collections.abc import Iterator
from contextlib import suppress

from prometheus_client.core import Metric

from sfu.telemetry.certificate import expires_at
from sfu.telemetry.metrics import Collector, gauge


class CertificateCollector(Collector):
    """`path`: file of the certificate. Without a path or before the first sample it yields nothing."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._expires_at = 0.0

    def sample(self) -> None:
        if self._path:
            with suppress(OSError, ValueError):  # keeps the last value while the file is being replaced
                self._expires_at = expires_at(self._path)

    def collect(self) -> Iterator[Metric]:
        if self._expires_at:
            yield gauge(
                "sfu_tls_certificate_expiry_time_seconds",
                "Expiry of the TLS certificate in Unix time.",
                self._expires_at,
            )
