"""From the mixer's tick to the viewer's screen: `python -m tests.bench.llhls_latency --seconds 60 --delay 50 100`.

A live stream of test pictures that carry the time of their making, coded, cut, served and played on the watch page in
Chromium, where every picture that is shown is read. Goals: p99 ≤ 0.65 s without a stall, ≤ 1.0 s with 50 to 100 ms of delay
in every answer.
"""

import argparse
import asyncio
from itertools import pairwise
from pathlib import Path

import aiohttp
from playwright.async_api import async_playwright

from tests.support.live_stream_process import opened
from tests.web.conftest import chromium_path, launch

BARCODE = Path(__file__).parents[1] / "support" / "barcode.js"
SETTLING = 12.0
"""Seconds before the measurement begins; the first picture gives the time to start."""


async def measure(seconds: float, renditions: str, delay: tuple[float, float]) -> bool:
    arguments = ("--delay", str(delay[0]), str(delay[1])) if delay[1] else ()
    async with opened(*arguments) as url, aiohttp.ClientSession(url) as client, async_playwright() as playwright:
        browser = await launch(playwright)
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        await page.add_init_script(path=BARCODE)
        await client.post(f"/control/begin?renditions={renditions}")
        await asyncio.sleep(4)
        await page.goto(f"{url}/watch/live")
        await page.evaluate("() => barcode.watch(sfuWatch.video)")
        await asyncio.sleep(SETTLING)
        first = await page.evaluate("() => barcode.shown[0]?.[0] ?? 0")
        await page.evaluate("() => { barcode.shown.length = 0; sfuWatch.player.stalls = 0; }")
        before = await page.evaluate("() => sfuWatch.video.getVideoPlaybackQuality().droppedVideoFrames")
        rates = []
        for _ in range(int(seconds * 2)):
            await asyncio.sleep(0.5)
            rates.append(await page.evaluate("() => sfuWatch.video.playbackRate"))
        shown = await page.evaluate("() => barcode.shown")
        stalls = await page.evaluate("() => sfuWatch.player.stalls")
        dropped = await page.evaluate("() => sfuWatch.video.getVideoPlaybackQuality().droppedVideoFrames") - before
        target = await page.evaluate("() => sfuWatch.player.controller.target")
        said = await page.evaluate("() => sfuWatch.state.latency")
        await client.post("/control/end")
        await browser.close()
    late = sorted(one for _, one in shown)
    gaps = [later[0] - earlier[0] for earlier, later in pairwise(shown)]
    goal = 1000 if delay[1] else 650
    p99 = late[len(late) * 99 // 100]
    print(
        f"{renditions}, delay {delay[0]:.0f} to {delay[1]:.0f} ms, {seconds:.0f} s: {len(late)} pictures, "
        f"tick → screen mean {sum(late) / len(late):.0f}, p50 {late[len(late) // 2]}, p99 {p99}, most {late[-1]} ms "
        f"(goal p99 ≤ {goal}); stalls {stalls}, longest gap {max(gaps):.0f} ms, dropped {dropped}; first picture after "
        f"{first:.0f} ms; rate not 1 for {sum(rate != 1 for rate in rates) / len(rates):.0%}; "
        f"margin aimed at {target:.2f} s; the page says {said:.2f} s"
    )
    return p99 <= goal and not stalls


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="600 for the goal of no stall in ten minutes")
    parser.add_argument("--renditions", default="720p")
    parser.add_argument("--delay", type=float, nargs=2, default=(0.0, 0.0), help="milliseconds, least and most")
    given = parser.parse_args()
    try:
        chromium_path()
    except AssertionError:
        print("left out: there is no Chromium")
        return 0
    return not asyncio.run(measure(given.seconds, given.renditions, tuple(given.delay)))


if __name__ == "__main__":
    raise SystemExit(main())
