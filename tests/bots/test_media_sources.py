import asyncio
from itertools import pairwise

import av
import numpy as np
import pytest

from sfu.bots.media_sources import Camera, Layer, Microphone, Picture, Sound, layers_of
from sfu.bots.voice import SILENT


@pytest.mark.parametrize(
    ("size", "ladder"),
    [
        ((1280, 720), [("q", 320, 180), ("h", 640, 360), ("f", 1280, 720)]),
        ((640, 360), [("q", 160, 90), ("h", 320, 180), ("f", 640, 360)]),
        ((320, 180), [("h", 160, 90), ("f", 320, 180)]),
        ((160, 90), [("", 160, 90)]),
    ],
)
def test_simulcast_layers(size: tuple[int, int], ladder: list[tuple[str, int, int]]) -> None:
    layers = layers_of(*size, fps=15)
    assert [(layer.rid, layer.width, layer.height) for layer in layers] == ladder
    assert [layer.bitrate for layer in layers] == sorted(layer.bitrate for layer in layers)


def test_a_single_layer_has_no_rid() -> None:
    assert layers_of(1280, 720, 30, 2_000_000, 1) == (Layer("", 1280, 720, 2_000_000),)


class Grey:
    drawn = 0

    def picture(self, at: float, width: int, height: int) -> av.VideoFrame:
        self.drawn += 1
        return av.VideoFrame.from_ndarray(np.full((96, 64), 100 + self.drawn % 50, np.uint8), format="yuv420p")

    def sound(self, number: int) -> tuple[bytes, int]:
        return bytes(1920), 33


async def test_a_camera_runs_while_attached_and_makes_keyframes_on_request() -> None:
    source = Grey()
    camera = Camera(source, (*layers_of(64, 64, 60, 50_000, 1), Layer("x", 32, 32, 30_000)), 60)
    seen: list[tuple[int, Picture]] = []
    enough = asyncio.Event()

    def look(layer: int, picture: Picture) -> None:
        seen.append((layer, picture))
        keys = [picture for layer, picture in seen if picture.key]
        if len(keys) < 4:
            camera.request_keyframe()
        else:
            enough.set()

    task = asyncio.create_task(camera.run())
    await asyncio.sleep(0)
    assert source.drawn == 0
    camera.attach(look)
    await asyncio.wait_for(enough.wait(), 10)
    camera.detach(look)
    task.cancel()
    assert seen[0][1].key
    assert seen[1][1].key
    assert {layer for layer, _ in seen} == {0, 1}
    first, second = [picture.timestamp for layer, picture in seen if layer == 0 and picture.key][:2]
    assert second - first >= 0.4 * 90_000


async def test_a_microphone_encodes_only_while_a_bot_speaks() -> None:
    microphone = Microphone(Grey())
    heard: list[Sound] = []
    enough = asyncio.Event()
    speaking = False

    def hear(sound: Sound) -> None:
        heard.append(sound)
        nonlocal speaking
        speaking = len(heard) >= 3
        if len(heard) == 6:
            enough.set()

    task = asyncio.create_task(microphone.run())
    microphone.attach(hear, lambda at: speaking)
    await asyncio.wait_for(enough.wait(), 10)
    task.cancel()
    assert [sound.level for sound in heard[:6]] == [SILENT] * 3 + [33] * 3
    assert heard[5].payload
    assert {(b.timestamp - a.timestamp) % 960 for a, b in pairwise(heard)} == {0}
