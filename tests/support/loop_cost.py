"""CPU time of the event loop's callbacks: how long the loop is held in one piece, whatever else the machine does."""

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class LoopCost:
    """Seconds of CPU time of this thread."""

    longest: float = 0.0
    "The most expensive callback."
    total: float = 0.0
    callbacks: int = 0
    what: str = ""
    "The most expensive callback, as asyncio prints it."


@contextmanager
def measured() -> Iterator[LoopCost]:
    """Measures each callback of asyncio's own loops. CPU time: a busy machine does not change it much."""
    cost = LoopCost()
    original = asyncio.Handle._run
    gc.collect()
    gc.disable()  # what the tests imported makes a collection expensive; the server freezes it

    def run(handle: Any) -> None:
        name = repr(getattr(handle, "_callback", ""))
        started = time.thread_time()
        original(handle)
        used = time.thread_time() - started
        cost.total += used
        cost.callbacks += 1
        if used > cost.longest:
            cost.longest, cost.what = used, name

    asyncio.Handle._run = run  # type: ignore[method-assign, assignment]  # measures what asyncio calls
    try:
        yield cost
    finally:
        asyncio.Handle._run = original  # type: ignore[method-assign]  # restores the patched method
        gc.enable()
