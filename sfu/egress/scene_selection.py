"""The scene of the mix at each tick, from the layout command, the members and the dominant speaker."""

from collections.abc import Callable
from typing import Protocol

from sfu.egress import protocol
from sfu.egress.inputs import Inputs
from sfu.egress.protocol import TileSize, VisibleTracks
from sfu.errors import BadRequest
from sfu.mixer.director import Director
from sfu.mixer.layout import Layout
from sfu.mixer.scene import Scene, parse_template


class LogEvent(Protocol):
    """Writes to the event log."""

    def __call__(self, kind: str, text: str, *, chapter: bool = False, **fields: str) -> None: ...


class SceneSelection:
    """Owned by the tick thread. Sets the tile sizes of the sources, and sends `VisibleTracks` whenever they change."""

    def __init__(
        self,
        width: int,
        height: int,
        inputs: Inputs,
        send: Callable[[VisibleTracks], None],
        log_event: LogEvent,
    ) -> None:
        self._width, self._height = width, height
        self._inputs = inputs
        self._send = send
        self._log_event = log_event
        self._director = Director()
        self._focus = ""
        self._key: tuple[object, ...] = ()
        self._last_decision: object = None
        self._visible_sent: VisibleTracks | None = None
        self.scene = Scene(width, height)

    @property
    def layout(self) -> str:
        return str(self._director.decision.layout)

    def apply(self, command: protocol.Layout) -> None:
        """Changes the layout. An invalid scene leaves the layout unchanged and is logged as an event."""
        self._focus = command.focus
        self._key = ()
        if command.scene:
            try:
                self._director.use_template(parse_template(command.scene))
            except BadRequest as error:
                self._log_event("scene-refused", error.message)
        else:
            self._director.choose(None if command.layout == "auto" else Layout(command.layout))

    def select(self, now: float) -> Scene:
        """The scene for the tick at `now`. It is the same object until something changes."""
        inputs = self._inputs
        version, members = inputs.version, inputs.members
        self._director.pin(inputs.identity(self._focus) if self._focus else "")
        decision = self._director.direct(members, inputs.dominant, now)
        key = (version, decision)
        if key == self._key:
            return self.scene
        self._key = key
        scene = self._director.scene(members, self._width, self._height)
        if scene != self.scene:
            self.scene = scene
        self._request_tiles(self.scene)
        if decision != self._last_decision:
            self._last_decision = decision
            self._log_event("layout", decision.layout, chapter=True, stage=decision.stage, presenter=decision.presenter)
        return self.scene

    def waited(self, now: float) -> float | None:
        """Seconds that the picture of the largest tile has waited for the tick at `now`."""
        tile = max(self.scene.tiles, key=lambda tile: tile.area.width * tile.area.height, default=None)
        source = self._inputs.sources.get(tile.source) if tile is not None else None
        return source.waited(now) if source is not None else None

    def _request_tiles(self, scene: Scene) -> None:
        sources = self._inputs.sources
        tiles: dict[str, TileSize] = {}
        for tile in scene.tiles:
            source = sources.get(tile.source)
            if source is not None:
                source.show(tile.area.width, tile.area.height, tile.fit)
                known = tiles.get(tile.source)
                if known is None or known.height < tile.area.height:
                    tiles[tile.source] = TileSize(width=tile.area.width, height=tile.area.height)
        visible = VisibleTracks(tracks=tiles)
        self._inputs.set_visible_tracks(set(tiles))
        if visible != self._visible_sent:
            self._visible_sent = visible
            self._send(visible)
