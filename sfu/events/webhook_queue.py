"""Delivers the queued events of one receiver: in order per room, rooms beside each other, retried with back-off.

A window of the outbox is in memory, one lane per room. The head of a lane is sent until it succeeds or expires. A failed lane
waits; a receiver that keeps failing gets one request at a time, with growing pauses.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sfu.events.http_client import Response
from sfu.events.outbox import Row

log = logging.getLogger(__name__)

WINDOW = 512
"""Events in memory per receiver; the others are on disk only."""
WINDOW_BYTES = 4_194_304
BATCH_INTERVAL = 0.02
"""Seconds between batches of disk work, so that many events share a transaction."""
FIRST_DELAY, MAX_DELAY = 0.5, 60.0
"""Seconds until the first and between late attempts."""
STARTS_PER_TURN = 4
"""Requests that are started in one turn of the event loop, less than 1 ms of work, so that media is not delayed."""
FAILING_AFTER = 5
"""Failures in a row, without a success between them, after which requests to a receiver are sent one at a time."""
REFUSALS = frozenset(range(400, 500)) - {401, 403, 404, 407, 408, 409, 421, 423, 425, 429}
"""Statuses that say that the receiver does not accept this event: it is dropped, as LiveKit does. The others may pass."""


class OutboxPort(Protocol):
    async def read(self, receiver: str, after: int, count: int) -> list[Row]: ...

    async def remove(self, receiver: str, rows: Sequence[Row]) -> None: ...


@dataclass(slots=True, eq=False)
class _Lane:
    """The rows of one room."""

    room: str
    rows: deque[Row] = field(default_factory=deque)
    attempts: int = 0
    "Failed attempts of the first row."


@dataclass(slots=True)
class DeliveryState:
    """Counters and times of one receiver."""

    delivered: int = 0
    failed: int = 0
    "Failed attempts."
    dropped: int = 0
    "Events dropped because the queue was full."
    expired: int = 0
    "Events dropped because they were retried for too long."
    refused: int = 0
    "Events dropped because the receiver refused them."
    failing: bool = False
    last_error: str = ""
    last_error_at: float = 0.0
    "Seconds since 1970; 0: never."
    last_success_at: float = 0.0


class WebhookQueue:
    def __init__(
        self,
        receiver: str,
        outbox: OutboxPort,
        post: Callable[[bytes], Awaitable[Response]],
        *,
        concurrency: int,
        retry: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`receiver`: its name in the outbox. `retry`: seconds that an event is retried. `clock()`: seconds since 1970."""
        self._receiver = receiver
        self._outbox = outbox
        self._post = post
        self._concurrency = concurrency
        self._retry = retry
        self._clock = clock
        self.state = DeliveryState()
        self._lanes: dict[str, _Lane] = {}
        self._ready: deque[_Lane] = deque()
        self._waiting: dict[_Lane, asyncio.TimerHandle] = {}
        "Lanes that wait for their next attempt. A lane is ready, waiting or in flight."
        self._finished: list[Row] = []
        "Rows to remove from the outbox."
        self._loaded, self._loaded_bytes, self._loaded_to = 0, 0, 0
        self._more = True
        "The outbox may have rows that are not loaded."
        self._in_flight = 0
        self._failures = 0
        self._paused = False
        self._pump_scheduled = False
        self._unreported = 0
        "Dropped events that the receiver does not know of; the next delivery reports them."
        self._wake = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None

    @property
    def settled(self) -> bool:
        """Nothing is left to do at once: all is delivered, or the receiver fails."""
        return self._failures > 0 or (not self._more and not self._loaded)

    def notify(self) -> None:
        """The outbox has new rows."""
        self._more = True
        self._wake.set()

    def dropped(self, count: int, up_to: int) -> None:
        """The outbox dropped rows up to a position, because the queue was full."""
        self.state.dropped += count
        self._unreported += count
        ready = set(self._ready)
        for lane in list(self._lanes.values()):
            kept = 0 if lane in ready else 1  # a row that is in flight or waits for its next attempt
            while len(lane.rows) > kept and lane.rows[kept].position <= up_to:
                self._unload(lane.rows[kept])
                del lane.rows[kept]
            if not lane.rows:
                self._ready.remove(lane)
                del self._lanes[lane.room]
        self._wake.set()

    async def run(self) -> None:
        """Delivers until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                await self._load_continuously()
            finally:
                self._tasks = None

    async def _load_continuously(self) -> None:
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.remove_finished()
                await self._load()
            except Exception as error:
                log.error("webhook outbox failed", extra={"reason": str(error)})
                self._wake.set()
                await asyncio.sleep(1.0)
            await asyncio.sleep(BATCH_INTERVAL)

    async def remove_finished(self) -> None:
        if self._finished:
            rows, self._finished = self._finished, []
            try:
                await self._outbox.remove(self._receiver, rows)
            except BaseException:
                self._finished = rows + self._finished
                raise

    async def _load(self) -> None:
        while self._more and self._loaded < WINDOW // 2 and self._loaded_bytes < WINDOW_BYTES:
            self._more = False
            wanted = WINDOW - self._loaded
            try:
                rows = await self._outbox.read(self._receiver, self._loaded_to, wanted)
            except BaseException:
                self._more = True
                raise
            self._more = self._more or len(rows) == wanted
            for row in rows:
                self._loaded += 1
                self._loaded_bytes += len(row.body)
                self._loaded_to = row.position
                lane = self._lanes.get(row.room)
                if lane is None:
                    lane = self._lanes[row.room] = _Lane(row.room)
                    self._ready.append(lane)
                lane.rows.append(row)
            self._pump()

    def _pump(self) -> None:
        if self._tasks is None:
            return  # a timer, or a delivery that ends, after `run` was cancelled
        limit = 1 if self.state.failing else self._concurrency
        for _ in range(STARTS_PER_TURN):
            if not self._ready or self._in_flight >= limit or self._paused:
                return
            self._in_flight += 1
            self._tasks.create_task(self._deliver(self._ready.popleft()))
        if self._ready and not self._pump_scheduled:
            self._pump_scheduled = True
            asyncio.get_running_loop().call_soon(self._pump_again)

    def _pump_again(self) -> None:
        self._pump_scheduled = False
        self._pump()

    async def _deliver(self, lane: _Lane) -> None:
        """Sends rows of the lane while they succeed and no other lane waits."""
        try:
            while await self._attempt(lane):
                if self._ready:
                    self._ready.append(lane)
                    break
        finally:
            self._in_flight -= 1
        self._pump()

    async def _attempt(self, lane: _Lane) -> bool:
        """Whether the lane can go on at once."""
        row, state = lane.rows[0], self.state
        if self._clock() - row.at > self._retry:
            state.expired += 1
            self._unreported += 1
            return self._advance(lane)
        reported = self._unreported
        body = row.body if not reported else row.body[:-1] + b',"numDropped":%d}' % reported
        try:
            response = await self._post(body)
        except Exception:
            log.exception("webhook delivery failed")
            response = Response(0, "internal error")
        if not response.problem:
            self._unreported -= reported
            self._failures = 0
            state.delivered += 1
            state.last_success_at = self._clock()
            if state.failing:
                self._recover()
            return self._advance(lane)
        state.failed += 1
        state.last_error, state.last_error_at = response.problem, self._clock()
        if response.status in REFUSALS:
            state.refused += 1
            self._unreported += 1
            return self._advance(lane)
        self._fail(lane, min(MAX_DELAY, response.retry_after))
        return False

    def _advance(self, lane: _Lane) -> bool:
        """Finishes the lane's first row."""
        row = lane.rows.popleft()
        lane.attempts = 0
        self._unload(row)
        self._finished.append(row)
        self._wake.set()
        if not lane.rows:
            del self._lanes[lane.room]
        return bool(lane.rows)

    def _fail(self, lane: _Lane, at_least: float) -> None:
        lane.attempts += 1
        self._failures += 1
        loop = asyncio.get_running_loop()
        self._waiting[lane] = loop.call_later(max(at_least, _delay(lane.attempts)), self._retry_lane, lane)
        if self._failures >= FAILING_AFTER and not self._paused:
            if not self.state.failing:
                log.warning("webhook receiver fails", extra={"reason": self.state.last_error})
            self.state.failing = self._paused = True
            loop.call_later(max(at_least, _delay(self._failures - FAILING_AFTER + 1)), self._resume)

    def _retry_lane(self, lane: _Lane) -> None:
        # In front: its events are older than those of the lanes that have not been tried.
        self._waiting.pop(lane).cancel()
        self._ready.appendleft(lane)
        self._pump()

    def _recover(self) -> None:
        """The receiver answers again: tries all waiting lanes now, the oldest event first."""
        self.state.failing = False
        for timer in self._waiting.values():
            timer.cancel()
        self._ready.extendleft(sorted(self._waiting, key=lambda lane: lane.rows[0].position, reverse=True))
        self._waiting.clear()

    def _resume(self) -> None:
        self._paused = False
        self._pump()

    def _unload(self, row: Row) -> None:
        self._loaded -= 1
        self._loaded_bytes -= len(row.body)


def _delay(attempts: int) -> float:
    """Seconds until the next attempt, with jitter, so that receivers of many servers do not get all retries at once."""
    return min(MAX_DELAY, FIRST_DELAY * 2.0 ** min(attempts - 1, 16)) * random.uniform(0.75, 1.0)
