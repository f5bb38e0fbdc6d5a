"""Collectors for tests, and the metrics of all real ones."""

from collections.abc import Iterable
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from sfu import config
from sfu.api.connection_limiter import ConnectionLimiter
from sfu.api.metrics import HttpCollector
from sfu.api.middleware import RequestCounters
from sfu.app import Server
from sfu.telemetry.metrics import Collector, Metrics
from tests.support.certificate import self_signed

Samples = dict[tuple[str, tuple[str, ...]], float]
"""Value by name and label values, which are in the order of the label names."""


class Fixed(Collector):
    """Yields the given families."""

    def __init__(self, *families: Metric) -> None:
        self.families = families

    def collect(self) -> Iterable[Metric]:
        return self.families


def samples(*collectors: Collector) -> Samples:
    """The samples of the rendered page."""
    page = Metrics(collectors).render().decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def all_collectors(directory: Path) -> list[Collector]:
    """The collectors of a node of a cluster with TLS after their first sample. Writes a certificate into `directory`."""
    certificate, key = self_signed(directory)
    server = Server(
        config.load(
            flags=[
                ("auth.keys", "{app: 0123456789abcdef0123456789abcdef}"),
                ("http.tls_certificate", str(certificate)),
                ("http.tls_key", str(key)),
                ("turn.urls", "['turn:turn.example.org']"),
                ("turn.secret", "a-secret-of-coturn"),
                ("cluster.directory_socket", str(directory / "directory.sock")),
                ("cluster.advertise", "10.0.0.3:7883"),
                ("cluster.secrets", "[0123456789abcdef0123456789abcdef]"),
            ]
        )
    )
    collectors = [*server.node.collectors, HttpCollector(RequestCounters(), ConnectionLimiter(server.settings.http))]
    for collector in collectors:
        collector.sample()
    return collectors
