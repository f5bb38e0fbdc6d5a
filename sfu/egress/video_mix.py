"""Draws one picture of the mix: the scene, the sources' pictures, and what plug-ins add to them."""

from collections.abc import Callable

from sfu.egress.inputs import Inputs
from sfu.egress.scene_selection import SceneSelection
from sfu.mixer.compositor import Compositor
from sfu.mixer.picture import Picture, Plane
from sfu.mixer.plugins import MIX, PluginHost
from sfu.outputs.encoder import VIDEO_RATE


class VideoMix:
    """Owned by the tick thread. `output` gets each canvas with its pts (1/90000 s); afterwards it is drawn over."""

    def __init__(
        self,
        scenes: SceneSelection,
        inputs: Inputs,
        compositor: Compositor,
        output: Callable[[Plane, int], None],
        plugins: PluginHost | None = None,
    ) -> None:
        self._scenes = scenes
        self._inputs = inputs
        self._compositor = compositor
        self._output = output
        self._plugins = plugins
        self._offered: dict[str, Picture | None] = {}

    def draw(self, now: float, pts: int) -> None:
        """Draws the tick at `now` (monotonic seconds)."""
        scene = self._scenes.select(now)
        sources = self._inputs.sources
        pictures = {tile.source: sources[tile.source].picture_at(now) for tile in scene.tiles if tile.source in sources}
        if self._plugins is None:
            self._output(self._compositor.composite(scene, pictures), pts)
            return
        at = pts / VIDEO_RATE
        self._replace(self._plugins, pictures, at)
        canvas = self._compositor.composite(scene, pictures)
        self._plugins.offer_picture(MIX, canvas, at)
        with self._plugins.over(canvas):
            self._output(canvas, pts)

    def _replace(self, plugins: PluginHost, pictures: dict[str, Picture | None], at: float) -> None:
        """Offers each new picture to the plug-ins, and replaces those for which they have returned another."""
        offered, self._offered = self._offered, dict(pictures)
        for source, picture in pictures.items():
            if picture is not None and offered.get(source) is not picture:
                plugins.offer_picture(source, picture.as_array, at)
            pictures[source] = plugins.picture(source) or picture
