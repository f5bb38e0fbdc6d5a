"""Takes the picture of all layouts that the README shows, from the watch page: `python -m tests.web.layouts`."""

import asyncio
import base64
import io
import tempfile
from pathlib import Path

import aiohttp
from PIL import Image, ImageDraw, ImageFont
from playwright.async_api import async_playwright

from tests.web.conftest import launch
from tests.web.guest import gathering
from tests.web.server import serve
from tests.web.test_show import Desk, bots

SHEET = Path(__file__).with_name("layouts.webp")
CELL = (424, 240)
COLUMNS = 4


def scene() -> dict[str, object]:
    """A JSON scene with a logo."""
    picture = Image.new("RGBA", (160, 48), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    pen.rounded_rectangle((0, 0, 159, 47), 12, (230, 90, 70, 255))
    pen.text((80, 24), "aiosfu", (255, 255, 255, 255), ImageFont.load_default(28), anchor="mm")
    data = io.BytesIO()
    picture.save(data, "PNG")
    places = (("stage", 24, 60, 832, 600), ("member:1", 880, 132, 376, 212), ("member:2", 880, 368, 376, 212))
    return {
        "background": "#243a5e",
        "logo": {
            "picture": f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}",
            "x": 1096,
            "y": 648,
            "width": 160,
            "height": 48,
        },
        "tiles": [
            {"show": show, "x": x, "y": y, "width": width, "height": height} for show, x, y, width, height in places
        ],
    }


async def main() -> None:
    shots: list[Image.Image] = []
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "SFU_OUTPUTS__RENDITIONS": '["848x480@1500"]',
            "SFU_OUTPUTS__HLS__DIRECTORY": f"{folder}/hls",
            "SFU_OUTPUTS__HLS__PUBLIC": '["*"]',
        }
        async with (
            async_playwright() as playwright,
            serve(Path(folder) / "log", environment=environment) as server,
            aiohttp.ClientSession() as http,
        ):
            browser = await launch(playwright, "--auto-select-desktop-capture-source=Entire screen")
            async with gathering(browser, server.url, "show") as meeting:
                desk = Desk(http, server.url, "show")
                context = await browser.new_context(viewport={"width": 848, "height": 480})
                page = await context.new_page()
                await page.goto(f"{server.url}/watch/show")

                async def take(layout: str, focus: str = "", *, wait: float = 5.0) -> None:
                    await desk.ask("PUT", "/egress/layout", json={"layout": layout, "focus": focus})
                    await asyncio.sleep(wait)
                    shots.append(Image.open(io.BytesIO(await page.locator("video").screenshot())).convert("RGB"))

                guest = await meeting.join("李明", camera="320x180x5")
                async with bots(server.url, "show", "--fps", "10", "--name", "Ada"):
                    await desk.participant("Ada")
                    await desk.ask("PUT", "/egress", json={"live": True, "layout": "grid"})
                    await take("single", wait=10)
                    async with bots(server.url, "show", "--fps", "10", "--count", "2", "--name", "Grace"):
                        await desk.participant("Grace 2")
                        await take("grid")
                        async with bots(server.url, "show", "--fps", "5", "--count", "5", "--name", "Malik"):
                            await desk.participant("Malik 5")
                            await take("grid")
                            await guest.run("() => sfu.act.toggleCamera()")
                            await take("speaker")
                        await take("pip")
                        await desk.ask("PUT", "/egress/scene", json={"scene": scene()})
                        await asyncio.sleep(5)
                        shots.append(Image.open(io.BytesIO(await page.locator("video").screenshot())).convert("RGB"))
                        await guest.run("() => sfu.act.toggleShare()")
                        await take("presentation", wait=8)
            await browser.close()
    rows = -(-len(shots) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (CELL[0] + 4), rows * (CELL[1] + 4)), (255, 255, 255))
    for number, shot in enumerate(shots):
        at = (number % COLUMNS) * (CELL[0] + 4) + 2, number // COLUMNS * (CELL[1] + 4) + 2
        sheet.paste(shot.resize(CELL), at)
    sheet.save(SHEET, quality=80, method=6)


if __name__ == "__main__":
    asyncio.run(main())
