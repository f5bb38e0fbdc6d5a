"""sfu.events.webhook_queue: the order, the retries and the limits of deliveries to one receiver.

The outbox is in memory and the receiver is scripted; `test_webhooks` uses a disk and HTTP.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from sfu.events import webhook_queue as module
from sfu.events.http_client import Response
from sfu.events.outbox import Row
from sfu.events.webhook_queue import FAILING_AFTER, REFUSALS, WINDOW, WebhookQueue, _delay
from tests.support.running_server import until

FAILED, REFUSED, UNAUTHORIZED = Response(500, "status 500"), Response(400, "status 400"), Response(401, "status 401")
DELIVERED = Response(200)
LONGEST = 0.02
"""Seconds between late attempts in these tests."""


class MemoryOutbox:
    """An OutboxPort. `failures`: reads that fail first."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.failures = 0

    def add(self, room: str, body: bytes, at: float = 0.0) -> None:
        self.rows.append(Row(len(self.rows) + 1, room, at, body))

    async def read(self, receiver: str, after: int, count: int) -> list[Row]:
        if self.failures:
            self.failures -= 1
            raise OSError("disk error")
        return [row for row in self.rows if row.position > after][:count]

    async def remove(self, receiver: str, rows: Sequence[Row]) -> None:
        self.rows = [row for row in self.rows if row not in rows]


class Receiver:
    """`answers`: the answers to the next requests of a body; afterwards, it accepts everything."""

    def __init__(self) -> None:
        self.answers: defaultdict[bytes, deque[Response | Exception]] = defaultdict(deque)
        self.down = False
        self.bodies: list[bytes] = []
        self.open = self.peak = 0
        self.release: asyncio.Event | None = None

    async def post(self, body: bytes) -> Response:
        self.bodies.append(body)
        self.open += 1
        self.peak = max(self.peak, self.open)
        try:
            await (self.release.wait() if self.release is not None else asyncio.sleep(0))
        finally:
            self.open -= 1
        answers = self.answers[body]
        answer = answers.popleft() if answers else FAILED if self.down else DELIVERED
        if isinstance(answer, Exception):
            raise answer
        return answer


class Fixture:
    def __init__(self, *, concurrency: int = 4, retry: float = 100.0) -> None:
        self.outbox, self.receiver, self.now = MemoryOutbox(), Receiver(), 0.0
        self.queue = WebhookQueue(
            "hook", self.outbox, self.receiver.post, concurrency=concurrency, retry=retry, clock=lambda: self.now
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.queue.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def settle(self) -> None:
        """Runs until all rows are delivered or dropped."""
        await until(lambda: self.queue.settled and not self.outbox.rows)


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_DELAY", "BATCH_INTERVAL"):
        monkeypatch.setattr(module, name, 0.001)
    monkeypatch.setattr(module, "MAX_DELAY", LONGEST)


async def test_rooms_are_delivered_beside_each_other_and_each_in_order() -> None:
    one = Fixture(concurrency=3)
    for number in range(4):
        for room in "abcde":
            one.outbox.add(room, f"{room}{number}".encode())
    async with one.running():
        await one.settle()
    for room in "abcde":
        assert [body for body in one.receiver.bodies if body.startswith(room.encode())] == [
            f"{room}{number}".encode() for number in range(4)
        ]
    assert (one.receiver.peak, one.queue.state.delivered) == (3, 20)


async def test_a_failure_delays_its_room_only() -> None:
    one = Fixture()
    one.receiver.answers[b"a0"].extend([FAILED, RuntimeError("a fault"), UNAUTHORIZED])
    for body in (b"a0", b"a1", b"b0"):
        one.outbox.add(body[:1].decode(), body)
    async with one.running():
        await one.settle()
    assert [body for body in one.receiver.bodies if body[:1] == b"a"] == [b"a0"] * 4 + [b"a1"]
    assert (one.queue.state.delivered, one.queue.state.failed) == (3, 3)
    assert one.queue.state.last_error == "status 401"


async def test_a_refused_event_is_dropped_and_reported_with_the_next() -> None:
    one = Fixture()
    one.receiver.answers[b'{"e":1}'].append(REFUSED)
    for number in (1, 2, 3):
        one.outbox.add("a", b'{"e":%d}' % number)
    async with one.running():
        await one.settle()
    assert one.receiver.bodies == [b'{"e":1}', b'{"e":2,"numDropped":1}', b'{"e":3}']
    assert (one.queue.state.refused, one.queue.state.delivered) == (1, 2)


def test_statuses_that_may_pass_are_no_refusals() -> None:
    assert not {401, 403, 404, 408, 409, 425, 429, 500, 503} & REFUSALS
    assert {400, 405, 410, 413, 422} <= REFUSALS


async def test_an_expired_event_is_dropped() -> None:
    one = Fixture(retry=10.0)
    one.now = 20.0
    one.outbox.add("a", b'{"e":1}', at=9.0)
    one.outbox.add("a", b'{"e":2}', at=11.0)
    async with one.running():
        await one.settle()
    assert one.receiver.bodies == [b'{"e":2,"numDropped":1}']
    assert one.queue.state.expired == 1


async def test_a_receiver_that_keeps_failing_gets_one_request_at_a_time() -> None:
    one = Fixture(concurrency=8)
    one.receiver.down = True
    for room in range(40):
        one.outbox.add(str(room), b"%d" % room)
    async with one.running():
        await until(lambda: one.queue.state.failing)
        await until(lambda: one.receiver.open == 0)
        one.receiver.peak = 0
        before = one.queue.state.failed
        await until(lambda: one.queue.state.failed > before + 3)
        assert one.receiver.peak == 1
        one.receiver.down = False
        await one.settle()
    assert before >= FAILING_AFTER
    assert (one.queue.state.failing, one.queue.state.delivered) == (False, 40)


async def test_rows_that_the_outbox_dropped_are_not_sent() -> None:
    one = Fixture(concurrency=1)
    one.receiver.release = asyncio.Event()
    for number in range(4):
        one.outbox.add("a", b'{"e":%d}' % number)
    one.outbox.add("b", b'{"e":9}')
    async with one.running():
        await until(lambda: one.receiver.open == 1)
        one.queue.dropped(4, up_to=5)  # the first row of room a is in flight
        one.receiver.release.set()
        one.outbox.rows = one.outbox.rows[:1]
        await one.settle()
        one.outbox.rows.append(Row(6, "b", 0.0, b'{"e":10}'))
        one.queue.notify()
        await one.settle()
    assert one.receiver.bodies == [b'{"e":0}', b'{"e":10,"numDropped":4}']
    assert one.queue.state.dropped == 4


async def test_a_window_of_the_outbox_is_in_memory() -> None:
    one = Fixture(concurrency=1)
    one.receiver.release = asyncio.Event()
    for number in range(2 * WINDOW):
        one.outbox.add("a", b"%d" % number)
    async with one.running():
        await until(lambda: one.receiver.open == 1)
        await asyncio.sleep(0.01)
        assert one.queue._loaded == WINDOW
        one.receiver.release.set()
        await one.settle()
    assert one.queue.state.delivered == 2 * WINDOW
    assert (one.queue._loaded, one.queue._loaded_bytes, one.queue._lanes) == (0, 0, {})


async def test_an_outbox_that_fails_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Fixture()
    one.outbox.failures = 1
    one.outbox.add("a", b"1")
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda seconds: sleep(min(seconds, 0.001)))
    async with one.running():
        await one.settle()
    assert one.receiver.bodies == [b"1"]


async def test_cancelled_deliveries_stay_in_the_outbox() -> None:
    one = Fixture()
    one.receiver.release = asyncio.Event()
    one.outbox.add("a", b"1")
    async with one.running():
        await until(lambda: one.receiver.open == 1)
    assert (one.receiver.open, [row.body for row in one.outbox.rows]) == (0, [b"1"])


def test_delays_grow_up_to_a_limit_with_jitter() -> None:
    for attempts in (1, 4, 30, 10_000):
        nominal = min(LONGEST, 0.001 * 2 ** min(attempts - 1, 16))
        assert 0.75 * nominal <= _delay(attempts) <= nominal
