"""Serves `/metrics`: renders at most once a second and shares the page among all waiting requests.

Rendering takes milliseconds and needs no authentication. Without the cache, hundreds of simultaneous requests would block
the event loop for seconds.
"""

import asyncio
import time
from collections.abc import Callable

from sfu.telemetry.metrics import Metrics

INTERVAL = 1.0
"""Minimum seconds between two renderings."""
MAX_WAITING = 64
"""Requests that wait for the next rendering; further ones get the previous page at once."""
SLICE = 0.0005
"""Seconds of rendering after which it yields to the event loop."""


class ScrapeCache:
    """A page is rendered after its request arrived, except for requests beyond `MAX_WAITING`."""

    def __init__(self, metrics: Metrics, now: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._now = now
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._page = b""
        self._began = -INTERVAL
        self.rendered = 0

    async def page(self) -> bytes:
        if self._waiting >= MAX_WAITING and self._page:
            return self._page
        asked = self._now()
        self._waiting += 1
        try:
            async with self._lock:
                if self._began < asked or not self._page:
                    await asyncio.sleep(max(0.0, self._began + INTERVAL - self._now()))
                    self._page = await self._render()
                return self._page
        finally:
            self._waiting -= 1

    async def _render(self) -> bytes:
        self._began = started = self._now()
        self.rendered += 1
        parts = []
        for part in self._metrics.parts():
            parts.append(part)
            if self._now() - started > SLICE:
                await asyncio.sleep(0)
                started = self._now()
        return b"".join(parts)
