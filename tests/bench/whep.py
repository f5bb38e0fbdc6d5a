"""From a WHEP request to the first picture: `python -m tests.bench.whep --viewers 60`.

A server process, and Chromium with two pages: one publishes 640 × 360 over WHIP, the other opens one viewer after the other.
The time is from the POST until the first picture is shown. The first viewer is left out: no keyframe is cached yet.
"""

import argparse
import asyncio
import statistics
import tempfile
from pathlib import Path

import aiohttp
from playwright.async_api import Page, async_playwright

from tests.web.conftest import chromium_path, launch
from tests.web.server import serve

WEB = Path(__file__).parents[1] / "web"
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


async def measure(viewers: int) -> list[float]:
    """Milliseconds of each viewer."""
    settings = {
        "signaling.http_session_burst": 1_000_000,
        "signaling.http_session_rate": 1_000.0,
        "signaling.unjoined_per_address": 1_000,
    }
    with tempfile.TemporaryDirectory() as folder:
        async with serve(Path(folder) / "log", settings) as server, async_playwright() as playwright:
            browser = await launch(playwright)

            async def token(identity: str) -> str:
                body = {"room": "bench", "identity": identity}
                async with (
                    aiohttp.ClientSession() as http,
                    http.post(f"{server.url}/api/dev/token", json=body) as answer,
                ):
                    made: str = (await answer.json())["token"]
                    return made

            async def page(script: str) -> Page:
                opened = await browser.new_page()
                await opened.goto(f"{server.url}/healthz")
                await opened.evaluate((WEB / script).read_text())
                return opened

            encoder, viewer = await page("whip.js"), await page("whep.js")
            created = await encoder.evaluate(
                "(given) => whip.publish(...given)", [f"{server.url}/whip/bench", await token("obs")]
            )
            assert created["status"] == 201, created
            given = [f"{server.url}/whep/bench/obs", await token("viewer")]
            took = [float(await viewer.evaluate(ONE, given)) for _ in range(viewers + 1)]
            await browser.close()
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
