"""The Kafka sink with librdkafka's mock cluster, an independent implementation of the protocol with real sockets."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer

from sfu.events.kafka import Kafka as KafkaSink
from sfu.events.settings import Kafka, Settings
from tests.events.support import meetings

TOPIC = "sfu.events"


@pytest.fixture
def brokers() -> Iterator[str]:
    """The address of a cluster of two brokers, which lives as long as this producer."""
    producer: Any = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 2, "log_level": 0})
    try:
        found = producer.list_topics(timeout=20).brokers.values()
        yield ",".join(f"{broker.host}:{broker.port}" for broker in found)
    finally:
        producer.flush(1)


def consume(brokers: str, count: int) -> list[tuple[str, int, dict[str, Any]]]:
    """(key, partition, JSON value) of records."""
    consumer: Any = Consumer(
        {"bootstrap.servers": brokers, "group.id": "test", "auto.offset.reset": "earliest", "log_level": 0}
    )
    consumer.subscribe([TOPIC])
    found: list[tuple[str, int, dict[str, Any]]] = []
    try:
        for _ in range(300):
            if len(found) == count:
                break
            record = consumer.poll(0.1)
            if record is not None and record.error() is None:
                found.append((record.key().decode(), record.partition(), json.loads(record.value())))
    finally:
        consumer.close()
    return found


async def test_events_of_a_room_arrive_in_order_in_one_partition(brokers: str) -> None:
    rooms = [f"room-{number}" for number in range(6)]
    async with meetings(Settings(kafka=Kafka(brokers=tuple(brokers.split(","))))) as server:
        for room in rooms:
            server.join(room, "ada")
        server.rooms.close()
        records = await asyncio.to_thread(consume, brokers, 4 * len(rooms))
    for room in rooms:
        own = [(partition, value) for key, partition, value in records if key == room]
        assert len({partition for partition, _ in own}) == 1
        names = [value["event"] for _, value in own]
        assert names == ["room_started", "participant_joined", "participant_left", "room_finished"]
        assert [value["sequence"] for _, value in own] == [1, 2, 3, 4]


async def test_events_wait_for_brokers_within_a_bound() -> None:
    settings = Settings(kafka=Kafka(brokers=("127.0.0.1:1",), max_queued=3))
    async with meetings(settings) as server:
        sink = server.events.kafka
        assert isinstance(sink, KafkaSink)
        server.join("hall", "ada")
        server.rooms.close()
        server.events.stream.flush()
        assert (sink.queued, sink.dropped) == (3, 1)
        async with asyncio.timeout(20):
            while not sink.problem:  # noqa: ASYNC110  # a condition of another task without an event
                await asyncio.sleep(0.02)
        assert sink.queued == 3
