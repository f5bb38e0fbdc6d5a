"""Event-loop time of HTTP requests: measured, charged, and waited for when none is left.

All requests that show no valid token share one budget with the unauthenticated datagrams of the media port, so that no
number of connections can stall the media. A connection whose last request was authorized has a budget of its own. A
WebSocket is charged for its handshake only: `sfu.signaling` charges its messages.
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
"""Fraction of the loop's time for one connection with authorized requests. A proxy may send many clients' on one."""
AUTHORIZED_BURST: Final = 0.25
ALL_AUTHORIZED_SHARE: Final = 0.6
"""Fraction of the loop's time for the requests of all authorized connections: viewers of public rooms are among them."""
ALL_AUTHORIZED_BURST: Final = 1.0
QUEUE_TIMEOUT: Final = 10.0
"""Seconds that a request waits for loop time before it is refused with 503."""
REQUEST_COST: Final = 0.0001
"""Seconds charged for what aiohttp does before and after the measured part of a request: head, response, log record."""
REQUESTS_PER_TURN: Final = 8
"""Requests let through a gate per turn of the loop, some 2 ms of work, so that media are read in between."""
WAITING_LIMIT: Final = 2000
READ_SLICE: Final = 0.001
"""Seconds per turn of the loop for reads of connections without a valid token."""
EXEMPT: Final = frozenset({"/healthz", "/livez", "/readyz"})
"""Probes are cheap, and an orchestrator must not restart a server because strangers flood it."""
AUTHORIZED: Final = ("/api/v1/", "/hls/")
"""Routes below these check a token or a pass, except for `OPTIONS`: an answer below 400 means that they accepted it."""

R = TypeVar("R")


class Source(Protocol):
    """A connection, as it is charged."""

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
    """Shares out the time for reads of strangers' connections: `READ_SLICE` seconds in each turn of the loop."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._left = READ_SLICE
        self._armed = False

    @property
    def full(self) -> bool:
        """Whether this turn's time is used up: what was read has to wait."""
        return self._left <= 0 or bool(self._waiting)

    def spend(self, seconds: float) -> None:
        self._left -= seconds
        self._arm()

    def defer(self, read: Callable[[], None]) -> None:
        """Calls `read` in a later turn. It is to call `spend`."""
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
    """Lets requests through in order: a few in each turn of the loop, and only while their budget lasts."""

    def __init__(self, budget: LoopBudget) -> None:
        self._budget = budget
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._left = REQUESTS_PER_TURN
        self._armed = False

    async def enter(self) -> bool:
        """Waits for the request's turn; False if it does not come within `QUEUE_TIMEOUT`."""
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
    """Charges requests to the budget of their connection; those of authorized ones share a further budget.

    `source_of`: the connection; None: it is not charged. `base_path`: prefix that a proxy may leave in paths.
    """
    everybody = LoopBudget(ALL_AUTHORIZED_SHARE, ALL_AUTHORIZED_BURST, time.monotonic())
    gate, authorized_gate = Gate(unauthenticated_budget), Gate(everybody)
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
                return problem_of(AtCapacity("This server gets too many requests without a token. Try again later."))
        else:
            if delay := budget.delay(time.monotonic()):
                await asyncio.sleep(delay)
            if not await authorized_gate.enter():
                return problem_of(AtCapacity("This server gets too many requests. Try again later."))
        if not known and may_authorize:
            # The answer shows whether the token is valid. A proxy without keep-alive opens a connection for each request.
            budget = LoopBudget(AUTHORIZED_SHARE, AUTHORIZED_BURST, time.monotonic())
        used = budget.used
        budget.charge(REQUEST_COST, time.monotonic())
        upgrade = hdrs.UPGRADE in request.headers
        if upgrade:
            # Strangers that exhaust their budget must not delay the sockets of participants.
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
                (everybody if known or authorized else unauthenticated_budget).charge(
                    budget.used - used, time.monotonic()
                )
            source.budget = budget if authorized else unauthenticated_budget
        return answer

    return middleware
