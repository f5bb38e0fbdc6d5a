"""Metrics of the event stream and its sinks."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from sfu.events.events import Events
from sfu.telemetry.metrics import Collector, counter, counters, gauge, gauges


class EventsCollector(Collector):
    """The label `receiver` is the URL of a webhook without the query."""

    def __init__(self, events: Events) -> None:
        self._events = events

    def collect(self) -> Iterator[Metric]:
        events = self._events
        yield counter("sfu_events_total", "Events of rooms, egress and moderation.", events.stream.published)
        yield counter("sfu_events_dropped_total", "Events dropped before any sink got them.", events.stream.dropped)
        yield gauge("sfu_event_readers", "Readers of server-sent events.", events.readers)
        yield counter(
            "sfu_event_readers_dropped_total",
            "Readers of server-sent events dropped because they were too slow or vanished.",
            events.readers_dropped,
        )
        yield from self._webhooks()
        kafka = events.kafka
        if kafka is not None:
            yield gauge("sfu_kafka_queued", "Events that wait for Kafka.", kafka.queued)
            yield counter("sfu_kafka_sent_total", "Events that Kafka has.", kafka.sent)
            yield counter("sfu_kafka_dropped_total", "Events dropped because Kafka was away.", kafka.dropped)

    def _webhooks(self) -> Iterator[Metric]:
        states = {each.address: each for each in self._events.webhook_states()}
        deliveries = {address: each.delivery for address, each in states.items()}
        yield gauges(
            "sfu_webhooks_queued",
            "Undelivered webhooks.",
            "receiver",
            {address: each.queued for address, each in states.items()},
        )
        yield gauges(
            "sfu_webhooks_failing",
            "1 while a receiver keeps failing.",
            "receiver",
            {address: each.failing for address, each in deliveries.items()},
        )
        yield counters(
            "sfu_webhooks_delivered_total",
            "Webhooks delivered.",
            "receiver",
            {address: each.delivered for address, each in deliveries.items()},
        )
        yield counters(
            "sfu_webhooks_failed_total",
            "Failed attempts of webhooks.",
            "receiver",
            {address: each.failed for address, each in deliveries.items()},
        )
        yield counters(
            "sfu_webhooks_dropped_total",
            "Webhooks lost: refused by the receiver, retried for too long, or dropped from a full queue.",
            "receiver",
            {address: each.dropped + each.expired + each.refused for address, each in deliveries.items()},
        )
