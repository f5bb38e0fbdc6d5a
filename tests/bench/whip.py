"""Cost of a WHIP session: `python -m tests.bench.whip --sessions 300`.

A real server process; one client posts offers of a microphone and a camera in three layers over one HTTP
connection, each with another identity, and deletes each session. Prints the time from POST to 201, the part of it in the
server's request handler (from its access log; the rest is the scheduler, HTTP parsing and the client), and the server's CPU
time per session without the DELETE.
"""

import argparse
import asyncio
import json
import os
import statistics
import time
from pathlib import Path

import aiohttp

from tests.attacks.field import Field
from tests.bench import descriptions

GOAL_SECONDS, GOAL_CPU = 0.015, 0.004
ROUTE = "/whip/{room}"
WARM_UP = 20
PAUSE = 0.02
"""Seconds between requests: one connection gets a quarter of the event loop."""


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(sessions: int) -> tuple[list[float], list[float], float]:
    """Seconds of each POST, at the client and in the handler; CPU seconds per POST."""
    limits = ("http_session_burst", "http_session_rate", "max_http_sessions", "unjoined_per_address")
    field = Field(*(word for limit in limits for word in ("--set", f"signaling.{limit}=100000")))
    await field.open(honest=False)
    local = descriptions.Local("abcd", "p" * 24, ":".join(["AA"] * 32), 50_000)
    offer = descriptions.offer(local, 1, 2, ("q", "h", "f"))
    took: list[float] = []
    handled: list[float] = []
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
        records = [json.loads(line) for line in field.records()]
        handled += [each["seconds"] for each in records if each.get("route") == ROUTE and each["method"] == "POST"][
            WARM_UP:
        ]
    finally:
        await field.close()
    return took, handled, busy / len(took)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=300)
    took, handled, seconds = asyncio.run(measure(parser.parse_args().sessions))
    print(
        f"{len(took)} WHIP sessions: POST to 201 {_percentiles(took)} (goal {GOAL_SECONDS * 1e3:.0f}), "
        f"in the handler {_percentiles(handled)}; CPU {seconds * 1e3:.2f} ms (goal {GOAL_CPU * 1e3:.0f})"
    )


def _percentiles(seconds: list[float]) -> str:
    p95 = statistics.quantiles(seconds, n=20)[18]
    return f"p50 {statistics.median(seconds) * 1e3:.1f} ms, p95 {p95 * 1e3:.1f} ms"


if __name__ == "__main__":
    main()
