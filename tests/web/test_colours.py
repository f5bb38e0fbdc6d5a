"""Colours of a live stream read back where viewers see them: known patches, composed, coded and shown by Chromium."""

import asyncio
import base64
import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from playwright.async_api import Browser

from tests.egress.support import ROOM, bots, egress_server, until
from tests.web.test_watch import Viewer

Colour = tuple[int, int, int]
PATCHES: tuple[Colour, ...] = (
    (255, 255, 255), (0, 0, 0), (128, 128, 128), (200, 40, 60),
    (30, 160, 70), (40, 70, 200), (230, 200, 40), (220, 170, 150),
)  # fmt: skip
"""The reds and greens are those that BT.709 and BT.601, taken for each other, put ten to twenty levels apart."""
ACROSS = 4
WIDTH, HEIGHT = 640, 360
TOLERANCE = 5
"""Levels of 255: a limited range of 219 steps, the quantizer's, and twice a conversion."""
READ = """([width, height]) => {
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext('2d');
    context.drawImage(sfuWatch.video, 0, 0, width, height);
    return Array.from(context.getImageData(0, 0, width, height).data);
}"""


def patches(width: int, height: int) -> np.ndarray:
    colours = np.array(PATCHES, np.uint8).reshape(-1, ACROSS, 3)
    rows = colours.shape[0]
    return colours[np.arange(height)[:, None] * rows // height, np.arange(width) * ACROSS // width]


def middles(picture: np.ndarray) -> Iterator[Colour]:
    height, width = picture.shape[:2]
    rows = len(PATCHES) // ACROSS
    for row in range(rows):
        for column in range(ACROSS):
            y, x = (2 * row + 1) * height // (2 * rows), (2 * column + 1) * width // (2 * ACROSS)
            red, green, blue = picture[y - 8 : y + 8, x - 8 : x + 8].reshape(-1, 3).mean(axis=0)
            yield round(float(red)), round(float(green)), round(float(blue))


def farthest(picture: np.ndarray) -> tuple[int, list[Colour]]:
    """Levels that any patch is away from what it should be, and all of them."""
    found = list(middles(picture))
    return max(
        abs(a - b) for one, two in zip(found, PATCHES, strict=True) for a, b in zip(one, two, strict=True)
    ), found


def png(picture: np.ndarray) -> str:
    memory = io.BytesIO()
    Image.fromarray(picture).save(memory, "PNG")
    return "data:image/png;base64," + base64.b64encode(memory.getvalue()).decode()


def film(path: Path, *, seconds: int = 4) -> None:
    """The patches as a camera sends them: BT.601, limited range, as VP8 is."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=10, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.colorspace = 6
        frame = av.VideoFrame.from_ndarray(patches(WIDTH, HEIGHT), format="rgb24").reformat(
            format="yuv420p", dst_colorspace="ITU601", dst_color_range="MPEG"
        )
        for number in range(10 * seconds):
            frame.pts, frame.time_base = number, Fraction(1, 10)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


@pytest.mark.parametrize("source", ["a background", "a camera"])
async def test_patches_are_shown_in_their_colours(chromium: Browser, tmp_path: Path, source: str) -> None:
    """720 lines: what is not tagged is taken for BT.709 there."""
    await asyncio.to_thread(film, tmp_path / "patches.mp4")
    settings = {"outputs__hls__public": '["*"]', "outputs__renditions": '["1280x720@3000"]'}
    what = ("--publish", "file", str(tmp_path / "patches.mp4"), "--size", f"{WIDTH}x{HEIGHT}", "--bitrate", "3000000")
    async with egress_server(tmp_path, **settings) as here, bots(here.server, 1, *what):
        rooms = here.server.rooms
        await until(lambda: len(rooms.list()) == 1 and len(rooms.find(ROOM).publications) >= 1)
        await here.ask("PUT", "/egress", json={"live": True, "layout": "single"})
        scene: dict[str, object] = {"width": 1280, "height": 720}
        if source == "a background":
            scene |= {"background_picture": png(patches(1280, 720)), "tiles": []}
        else:
            tile = {"show": "stage", "x": 0, "y": 0, "width": 1280, "height": 720, "label": False, "border": False}
            scene["tiles"] = [tile | {"muted": False}]
        await here.ask("PUT", "/egress/scene", json={"scene": scene})
        context = await chromium.new_context()
        page = await context.new_page()
        viewer = Viewer(page)
        await page.goto(f"{here.server.url}/watch/{ROOM}")
        await viewer.until("the page", "() => Boolean(globalThis.sfuWatch)")
        await viewer.plays(within=30)
        await asyncio.sleep(2)
        data = await viewer.run(READ, [WIDTH, HEIGHT])
        await context.close()
    shown = np.array(data, np.uint8).reshape(HEIGHT, WIDTH, 4)[..., :3]
    off, found = farthest(shown)
    assert off <= TOLERANCE, dict(zip(PATCHES, found, strict=True))
