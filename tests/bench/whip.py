"""Cost of a WHIP session: `python -m tests.bench.whip --sessions 300`.

A real server process; one client posts offers of a microphone and a camera in three layers over one HTTP
connection, each with another identity, and deletes each session. Prints the time from POST to 201, and the server's CPU time
per session without the DELETE.
"""

import argparse
import asyncio
import os
import statistics
import time
from pathlib import Path

import aiohttp

from tests.attacks.field import Field
from tests.bench import descriptions

GOAL_SECONDS, GOAL_CPU = 0.015, 0.004
WARM_UP = 20
PAUSE = 0.02
"""Seconds between requests: one connection gets a quarter of the event loop."""


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(sessions: int) -> tuple[list[float], float]:
    """Seconds of each POST; CPU seconds per POST."""
    limits = ("http_session_burst", "http_session_rate", "max_http_sessions", "unjoined_per_address")
    field = Field(*(word for limit in limits for word in ("--set", f"signaling.{limit}=100000")))
    await field.open(honest=False)
    local = descriptions.Local("abcd", "p" * 24, ":".join(["AA"] * 32), 50_000)
    offer = descriptions.offer(local, 1, 2, ("q", "h", "f"))
    took: list[float] = []
    busy = 0.0
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as http:
            for batch in range(0, sessions + WARM_UP, WARM_UP):
                urls = []
                before = cpu(field.server.pid)
                for number in range(batch, batch + WARM_UP):
                    headers = {
                        "Content-Type": "application/sdp",
                        "Authorization": f"Bearer {field.token(f'e{number}')}",
                    }
                    began = time.perf_counter()
                    async with http.post(f"{field.url}/whip/field", data=offer, headers=headers) as answer:
                        await answer.read()
                        assert answer.status == 201, await answer.text()
                        if batch:
                            took.append(time.perf_counter() - began)
                        await asyncio.sleep(PAUSE)
                        urls.append((answer.headers["Location"], headers["Authorization"]))
                if batch:
                    busy += cpu(field.server.pid) - before
                for url, bearer in urls:
                    async with http.delete(f"{field.url}{url}", headers={"Authorization": bearer}) as answer:
                        assert answer.status == 200
    finally:
        await field.close()
    return took, busy / len(took)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=300)
    took, seconds = asyncio.run(measure(parser.parse_args().sessions))
    p95 = statistics.quantiles(took, n=20)[18]
    print(f"{len(took)} WHIP sessions: POST to 201 p50 {statistics.median(took) * 1e3:.1f} ms, p95 {p95 * 1e3:.1f} ms "
          f"(goal {GOAL_SECONDS * 1e3:.0f}); CPU {seconds * 1e3:.2f} ms (goal {GOAL_CPU * 1e3:.0f})")  # fmt: skip


if __name__ == "__main__":
    main()
