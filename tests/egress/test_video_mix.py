"""Pictures of the mix, with and without plug-ins."""

from collections.abc import Iterator

import numpy as np
import pytest

from sfu.egress.scene_selection import SceneSelection
from sfu.egress.video_mix import VideoMix
from sfu.mixer.compositor import Compositor
from sfu.mixer.picture import Plane
from sfu.mixer.plugins import MIX, Plugin, PluginHost, PluginInputs
from tests.egress.mix_inputs import MixInputs, camera, member, until

WIDTH, HEIGHT = 160, 90


class Drawing:
    """A VideoMix of one participant and the luma of its canvases."""

    def __init__(self, plugins: PluginHost | None = None) -> None:
        self.mix = MixInputs()
        scenes = SceneSelection(WIDTH, HEIGHT, self.mix.inputs, lambda visible: None, lambda kind, text, **fields: None)
        self.video_mix = VideoMix(scenes, self.mix.inputs, Compositor(WIDTH, HEIGHT), self.output, plugins)
        self.lumas: list[int] = []
        self.pts: list[int] = []
        self.mix.inputs.apply([member("ada", camera("ada"))])

    def output(self, canvas: Plane, pts: int) -> None:
        self.lumas.append(round(float(np.median(canvas[:HEIGHT]))))
        self.pts.append(pts)

    def draw(self) -> int:
        self.video_mix.draw(self.mix.now, 3000 * len(self.pts))
        self.mix.now += 1 / 30
        return self.lumas[-1]


@pytest.fixture
def drawing() -> Iterator[Drawing]:
    made = Drawing()
    yield made
    made.mix.close()


def test_a_picture_is_drawn_from_its_tick_on(drawing: Drawing) -> None:
    avatar = drawing.draw()
    drawing.mix.show("ada", 200)
    assert abs(drawing.draw() - 200) < 5
    assert abs(drawing.draw() - 200) < 5, "the last picture stays"
    assert abs(avatar - 200) > 20
    drawing.mix.inputs.apply([])
    assert abs(drawing.draw() - 200) > 20
    assert drawing.pts == [0, 3000, 6000, 9000]


class Negative(Plugin):
    """Inverts the pictures of the participants and records those of the mix."""

    inputs = PluginInputs(pictures=True, mix_pictures=True)

    def __init__(self) -> None:
        self.seen: list[str] = []

    def picture(self, source: str, picture: Plane, at: float) -> Plane | None:
        self.seen.append(source)
        return None if source == MIX else 255 - picture


def test_plugins_see_each_picture_once_and_replace_it() -> None:
    plugin = Negative()
    plugins = PluginHost({"negative": plugin}, lambda voice, samples: None)
    drawing = Drawing(plugins)
    drawing.draw()
    drawing.mix.show("ada", 200)
    drawing.draw()
    until(lambda: plugins.picture("ada-camera"))
    assert abs(drawing.draw() - 55) < 5
    until(lambda: plugin.seen.count(MIX) == 3)
    assert plugin.seen.count("ada-camera") == 1
    plugins.close()
    drawing.mix.close()
