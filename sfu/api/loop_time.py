"""Limits the event loop time of HTTP requests: measures it, charges it to a budget, and delays requests without budget.

All requests without a valid token share one budget with the unauthenticated datagrams of the media port, so that no number
of connections can stall media. A connection whose last request was authorized has its own budget. A WebSocket is charged
for its handshake only; `sfu.signaling` charges its messages.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final, Protocol, TypeVar

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from sfu.api.middleware import problem_of
from sfu.errors import AtCapacity
from sfu.forwarding.loop_budget import LoopBudget

AUTHORIZED_SHARE: Final = 0.25
"""Fraction of the loop's time for one authorized connection. A proxy may multiplex many clients over it."""
AUTHORIZED_BURST: Final = 0.25
ALL_AUTHORIZED_SHARE: Final = 0.6
"""Fraction of the loop's time for all authorized connections, including viewers of public rooms."""
ALL_AUTHORIZED_BURST: Final = 1.0
QUEUE_TIMEOUT: Final = 10.0
"""Seconds that a request waits for loop time before it is refused with 503."""
REQUEST_COST: Final = 0.0001
"""Seconds charged per request for aiohttp's work outside the measured part: head, response, log record."""
REQUESTS_PER_TURN: Final = 8
"""Requests admitted per loop iteration, about 2 ms of work, so that media packets are read in between."""
WAITING_LIMIT: Final = 2000
READ_SLICE: Final = 0.001
"""Seconds per loop iteration for reads from connections without a valid token."""
EXEMPT: Final = frozenset({"/healthz", "/livez", "/readyz"})
"""Probes are cheap, and an orchestrator must not restart a server that is flooded with requests."""
AUTHORIZED: Final = ("/api/v1/", "/hls/", "/whip/", "/whep/", "/whep-session/")
"""Routes below these check a token, except for `OPTIONS`: a status below 400 means that the token is valid."""

R = TypeVar("R")


class Source(Protocol):
    """A connection with its budget."""

    budget: LoopBudget


class MeteredAwaitable(Awaitable[R]):
    """Awaits `inner` and reports the CPU seconds of each step between two suspensions to `charge`.

    `steps`: how many steps are measured; 0: all.
    """

    __slots__ = ("_charge", "_inner", "_steps")

    def __init__(self, inner: Awaitable[R], charge: Callable[[float], None], steps: int = 0) -> None:
        self._inner, self._charge, self._steps = inner, charge, steps

    def __await__(self) -> Generator[Any, Any, R]:
        steps = self._inner.__await__()
        error: BaseException | None = None
        left = self._steps or -1
        while True:
            began = time.thread_time() if left else 0.0
            try:
                waits_for = next(steps) if error is None else steps.throw(error)
            except StopIteration as done:
                result: R = done.value
                return result
            finally:
                if left:
                    left -= 1
                    self._charge(time.thread_time() - began)
            error = None
            try:
                yield waits_for
            except BaseException as thrown:
                error = thrown


class ReadScheduler:
    """Limits reads from connections without a valid token to `READ_SLICE` seconds per loop iteration."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._left = READ_SLICE
        self._armed = False

    @property
    def full(self) -> bool:
        """Whether the time of this iteration is used up, so that further data must be deferred."""
        return self._left <= 0 or bool(self._waiting)

    def spend(self, seconds: float) -> None:
        self._left -= seconds
        self._arm()

    def defer(self, read: Callable[[], None]) -> None:
        """Calls `read` in a later iteration; `read` must call `spend`."""
        self._waiting.append(read)
        self._arm()

    def _arm(self) -> None:
        if not self._armed:
            self._armed = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._left, self._armed = READ_SLICE, False
        while self._waiting and self._left > 0:
            self._waiting.popleft()()
        if self._waiting:
            self._arm()


class Gate:
    """Admits requests in order: a few per loop iteration, and only while their budget lasts."""

    def __init__(self, budget: LoopBudget) -> None:
        self._budget = budget
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._left = REQUESTS_PER_TURN
        self._armed = False

    async def enter(self) -> bool:
        """Waits for admission; False if the queue is full or after `QUEUE_TIMEOUT`."""
        if not self._waiting and self._left and self._budget.admits(time.monotonic()):
            self._left -= 1
            self._arm()
            return True
        if len(self._waiting) >= WAITING_LIMIT:
            return False
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._arm()
        try:
            async with asyncio.timeout(QUEUE_TIMEOUT):
                await turn
        except TimeoutError:
            return False
        return True

    def _arm(self) -> None:
        if not self._armed:
            self._armed = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._left, self._armed = REQUESTS_PER_TURN, False
        now = time.monotonic()
        while self._waiting and self._left and self._budget.admits(now):
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._left -= 1
        if self._waiting:
            self._armed = True
            asyncio.get_running_loop().call_later(self._budget.delay(now), self._turn)


def loop_budget_middleware(
    unauthenticated_budget: LoopBudget, source_of: Callable[[web.Request], Source | None], base_path: str = ""
) -> Middleware:
    """Charges requests to the budget of their connection. All authorized connections also share one total budget.

    `source_of`: the connection of a request; None: not charged. `base_path`: prefix that a proxy may leave in paths.
    """
    all_authorized = LoopBudget(ALL_AUTHORIZED_SHARE, ALL_AUTHORIZED_BURST, time.monotonic())
    gate, authorized_gate = Gate(unauthenticated_budget), Gate(all_authorized)
    below = f"{base_path}/" if base_path else ""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        source = source_of(request)
        path = request.path
        if below and path.startswith(below):
            path = path.removeprefix(base_path)
        if source is None or path in EXEMPT:
            return await handler(request)
        may_authorize = path.startswith(AUTHORIZED) and request.method != "OPTIONS"
        budget = source.budget
        known = budget is not unauthenticated_budget
        if not known:
            if not await gate.enter():
                return problem_of(AtCapacity("The server receives too many requests without a token. Try again later."))
        else:
            if delay := budget.delay(time.monotonic()):
                await asyncio.sleep(delay)
            if not await authorized_gate.enter():
                return problem_of(AtCapacity("The server receives too many requests. Try again later."))
        if not known and may_authorize:
            # The response status shows whether the token is valid. A proxy without keep-alive uses a connection per request.
            budget = LoopBudget(AUTHORIZED_SHARE, AUTHORIZED_BURST, time.monotonic())
        used = budget.used
        budget.charge(REQUEST_COST, time.monotonic())
        upgrade = hdrs.UPGRADE in request.headers
        if upgrade:
            # Clients without a token that exhaust their budget must not delay the sockets of participants.
            source.budget = LoopBudget(AUTHORIZED_SHARE, AUTHORIZED_BURST, time.monotonic())
        status = 500
        try:
            answer = await MeteredAwaitable(
                handler(request),
                lambda seconds: budget.charge(seconds, time.monotonic()),
                steps=1 if upgrade else 0,
            )
            status = answer.status
        finally:
            authorized = status < 400 and may_authorize
            if budget is not unauthenticated_budget:
                (all_authorized if known or authorized else unauthenticated_budget).charge(
                    budget.used - used, time.monotonic()
                )
            source.budget = budget if authorized else unauthenticated_budget
        return answer

    return middleware
