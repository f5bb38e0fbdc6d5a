"""Prometheus metrics, built by collectors at each scrape. Nothing here runs on the packet path.

A collector turns the counters that its subsystem keeps anyway into metric families. Names follow the Prometheus
conventions: prefix `sfu_`, base units, `_total` on counters only. No label contains a room or a participant: these are
unbounded and private.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Protocol, TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from sfu.telemetry.histogram import Distribution

CONTENT_TYPE = CONTENT_TYPE_LATEST

Counts = Mapping[str, float]
"""Value per value of one label."""
K = TypeVar("K", bound=tuple[str, ...])


class Collector(Protocol):
    """The metrics of one subsystem. Implementations derive from it."""

    def sample(self) -> None:
        """Records what is sampled and not counted. Called every few seconds in the event loop's thread."""
        return

    def collect(self) -> Iterable[Metric]:
        """Reads the counters of the subsystem. The families are complete before the next callback of the event loop."""


class Metrics:
    """Renders the metrics page. Uses its own registry, so that several servers can run in one process."""

    def __init__(self, collectors: Iterable[Collector]) -> None:
        self._collectors = tuple(collectors)
        self._process = ProcessCollector(registry=CollectorRegistry(auto_describe=False))

    def render(self) -> bytes:
        """The page in text format (`CONTENT_TYPE`)."""
        return b"".join(self.parts())

    def parts(self) -> Iterator[bytes]:
        """The page in parts, each of which takes a fraction of a millisecond to render."""
        for collector in self._collectors:
            for family in tuple(collector.collect()):
                yield generate_latest(_Only(family))
        for family in self._process.collect():
            yield generate_latest(_Only(family))


class _Only(CollectorRegistry):
    """A registry that contains one metric family."""

    def __init__(self, family: Metric) -> None:
        super().__init__(auto_describe=False)
        self._family = family

    def collect(self) -> Iterator[Metric]:
        yield self._family


def gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=float(value))


def gauges(name: str, words: str, label: str, values: Counts) -> Metric:
    """One gauge per value of `label`."""
    family = GaugeMetricFamily(name, words, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def counter(name: str, words: str, value: float) -> Metric:
    return CounterMetricFamily(name, words, value=value)


def counters(name: str, words: str, label: str, values: Counts) -> Metric:
    """One counter per value of `label`."""
    family = CounterMetricFamily(name, words, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def table(name: str, words: str, labels: Sequence[str], values: Mapping[K, int]) -> Metric:
    """One counter per combination of values of `labels`."""
    family = CounterMetricFamily(name, words, labels=labels)
    for keys, value in values.items():
        family.add_metric(keys, value)
    return family


def directions(name: str, words: str, received: int, sent: int) -> Metric:
    """Two counters: received from clients and sent to clients."""
    return counters(name, words, "direction", {"received": received, "sent": sent})


def histogram(name: str, words: str, value: Distribution) -> Metric:
    bounds = [*map(str, value.bounds), "+Inf"]
    buckets = list(zip(bounds, map(float, accumulate(value.counts)), strict=True))
    return HistogramMetricFamily(name, words, buckets=buckets, sum_value=value.total)
