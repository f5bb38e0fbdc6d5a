"""From a WHEP request to the first picture: `python -m tests.bench.whep --viewers 60`.

A server process, and Chromium with two pages: one publishes 640 × 360 over WHIP, the other opens one viewer after the other.
The time is from the POST until the first picture is shown. The first viewer is left out: no keyframe is cached yet.
"""

import argparse
import asyncio
import statistics
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from playwright.async_api import Browser, Page, async_playwright

from tests.web.conftest import chromium_path, launch
from tests.web.server import ServerProcess, serve

WEB = Path(__file__).parents[1] / "web"
ROOM = "bench"
GOAL = 250.0
"""Milliseconds, 95th percentile."""
ONE = """async ([endpoint, token]) => {
    const created = await whep.play(endpoint, token);
    if (created.status !== 201) throw new Error(JSON.stringify(created));
    const seconds = await whep.firstPicture;
    await whep.send('DELETE');
    whep.pc.close();
    whep.video.remove();
    return seconds;
}"""


class Pages:
    """Pages of Chromium with a few lines of script, on a server of their own."""

    def __init__(self, server: ServerProcess, browser: Browser, http: aiohttp.ClientSession) -> None:
        self.url = server.url
        self.http = http
        self._browser = browser

    async def token(self, identity: str, **grants: object) -> str:
        body = {"room": ROOM, "identity": identity, **grants}
        async with self.http.post("/api/dev/token", json=body) as answer:
            made: str = (await answer.json())["token"]
            return made

    async def open(self, script: str) -> Page:
        """`script`: a file of tests/web."""
        page = await self._browser.new_page()
        await page.goto(f"{self.url}/healthz")
        await page.evaluate((WEB / script).read_text())
        return page

    async def encoder(self, before: str = "() => {}", **options: object) -> Page:
        """A page that publishes over WHIP. `before`: a function that it calls first."""
        page = await self.open("whip.js")
        await page.evaluate(before)
        given = [f"{self.url}/whip/{ROOM}", await self.token("camera"), options]
        created = await page.evaluate("(given) => whip.publish(...given)", given)
        assert created["status"] == 201, created
        return page


@asynccontextmanager
async def pages(settings: Mapping[str, object] | None = None) -> AsyncIterator[Pages]:
    with tempfile.TemporaryDirectory() as folder:
        async with (
            serve(Path(folder) / "log", settings) as server,
            aiohttp.ClientSession(server.url) as http,
            async_playwright() as playwright,
        ):
            browser = await launch(playwright)
            yield Pages(server, browser, http)
            await browser.close()


async def measure(viewers: int) -> list[float]:
    """Milliseconds of each viewer."""
    settings = {
        "signaling.http_session_burst": 1_000_000,
        "signaling.http_session_rate": 1_000.0,
        "signaling.unjoined_per_address": 1_000,
    }
    async with pages(settings) as opened:
        await opened.encoder()
        viewer = await opened.open("whep.js")
        given = [f"{opened.url}/whep/{ROOM}/camera", await opened.token("viewer")]
        took = [float(await viewer.evaluate(ONE, given)) for _ in range(viewers + 1)]
    return took[1:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=60)
    given = parser.parse_args()
    try:
        chromium_path()
    except AssertionError:
        print("left out: there is no Chromium")
        return 0
    took = asyncio.run(measure(given.viewers))
    p95 = statistics.quantiles(took, n=20)[18]
    print(
        f"{len(took)} WHEP viewers: POST to the first picture p50 {statistics.median(took):.0f} ms, p95 {p95:.0f} ms "
        f"(goal {GOAL:.0f})"
    )
    return p95 > GOAL


if __name__ == "__main__":
    raise SystemExit(main())
