"""Compositor: draws the pictures of a scene onto a canvas, and per tick only the tiles that changed.

Cost: a copy of three planes per changed tile, plus a few thousand pixels for its label. Pictures arrive at the size of
their tile; scaling here happens only for a frame or two after a scene change.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from sfu.errors import BadRequest
from sfu.mixer import artwork, labels
from sfu.mixer.picture import Picture, Plane, colour_of, planes_of, refit
from sfu.mixer.scene import Rectangle, Scene, Tile

BORDER_COLOUR: Final = (74, 222, 128)
_BORDER = colour_of(BORDER_COLOUR)
_Drawn = tuple[Tile, Picture | None]


class Compositor:
    """Owned by the video thread.

    `canvas` is I420 of shape (height * 3 // 2, width) and always the same array. It may be encoded without a copy if
    the encoder is done with it before the next `composite`.
    """

    __slots__ = ("_backdrop", "_drawn", "_logo", "_over", "_planes", "_scene", "_under_logo", "canvas", "directory")

    def __init__(self, width: int, height: int, *, directory: Path | None = None) -> None:
        """`width` and `height` are even. `directory` contains the operator's pictures."""
        if width % 2 or height % 2:
            raise ValueError("canvas width and height must be even")
        self.directory = directory
        self.canvas: Plane = np.empty((height * 3 // 2, width), np.uint8)
        self._planes = planes_of(self.canvas)
        self._scene: Scene | None = None
        self._drawn: list[_Drawn | None] = []
        self._over: list[list[int]] = []
        self._backdrop: Picture | None = None
        self._logo: labels.Overlay | None = None
        self._under_logo: frozenset[int] = frozenset()

    def composite(self, scene: Scene, pictures: Mapping[str, Picture | None]) -> Plane:
        """`pictures` by source; a missing source or None is replaced by the avatar. Returns `canvas`."""
        if scene is not self._scene:
            self._enter(scene)
        tiles = scene.tiles
        dirty: set[int] = set()
        contents: list[Picture | None] = []
        for index, tile in enumerate(tiles):
            picture = pictures.get(tile.source) if tile.source else None
            contents.append(picture)
            drawn = self._drawn[index]
            if drawn is None or drawn[1] is not picture or drawn[0] != tile:
                dirty.add(index)
        for index in range(len(tiles)):
            if index in dirty:
                dirty.update(self._over[index])
        logo = scene.logo if self._logo is not None and self._under_logo & dirty else None
        if logo is not None:
            # The logo is translucent and must not be blended twice: redraw everything below it.
            dirty |= self._under_logo
            self._fill(logo.area)
        for index in sorted(dirty):
            self._draw(index, tiles[index], contents[index])
        if logo is not None and self._logo is not None:
            self._logo.apply(self._planes, logo.area.x, logo.area.y)
        return self.canvas

    def _enter(self, scene: Scene) -> None:
        before, self._scene = self._scene, scene
        if before is not None and _redraw_key(before) == _redraw_key(scene):
            return
        tiles = scene.tiles
        self._drawn = [None] * len(tiles)
        self._over = [
            [above for above in range(index + 1, len(tiles)) if tiles[above].area.overlaps(tile.area)]
            for index, tile in enumerate(tiles)
        ]
        height, width = self._planes[0].shape
        self._backdrop = self._logo = None
        self._under_logo = frozenset()
        # A picture that was removed after the scene was accepted is left out; the egress continues.
        try:
            if scene.background_picture:
                rgba = artwork.load(scene.background_picture, self.directory, width, height, whole=False)
                self._backdrop = Picture.of_rgb(rgba[..., :3])
        except BadRequest:
            self._backdrop = None
        self._fill(Rectangle(0, 0, width, height))
        if scene.logo is not None:
            area = scene.logo.area
            try:
                rgba = artwork.load(scene.logo.picture, self.directory, area.width, area.height, whole=True)
            except BadRequest:
                return
            self._logo = labels.Overlay(rgba)
            self._under_logo = frozenset(index for index, tile in enumerate(tiles) if tile.area.overlaps(area))
            if not self._under_logo:
                self._logo.apply(self._planes, area.x, area.y)

    def _fill(self, area: Rectangle) -> None:
        """Fills an area with the background."""
        assert self._scene is not None
        colour = colour_of(self._scene.background)
        backdrop = self._backdrop
        sources = (backdrop.y, backdrop.u, backdrop.v) if backdrop is not None else (None, None, None)
        for index, (plane, source) in enumerate(zip(self._planes, sources, strict=True)):
            slices = _slices(area, chroma=index > 0)
            plane[slices] = colour[index] if source is None else source[slices]

    def _draw(self, index: int, tile: Tile, picture: Picture | None) -> None:
        area = tile.area
        content = picture
        if content is None and tile.name:
            content = labels.avatar(tile.name, area.width, area.height)
        if content is not None and not _fits(content, area):
            content = refit(content, area.width, area.height, tile.fit)
        if content is None:
            self._fill(area)
        else:
            if (content.width, content.height) != (area.width, area.height):
                self._fill(area)
            self._paste(content, area)
        overlay = labels.label(tile.label, tile.muted, area.width, area.height) if tile.label or tile.muted else None
        if overlay is not None:
            margin = max(2, area.height // 45) & ~1
            y = area.y + area.height - overlay.height - margin
            x = area.x + min(margin, (area.width - overlay.width) // 2 & ~1)
            overlay.apply(self._planes, max(area.x, x), max(area.y, y & ~1))
        if tile.border:
            self._frame(area)
        self._drawn[index] = tile, picture

    def _paste(self, picture: Picture, area: Rectangle) -> None:
        x = area.x + ((area.width - picture.width) // 2 & ~1)
        y = area.y + ((area.height - picture.height) // 2 & ~1)
        luma, blue, red = self._planes
        luma[y : y + picture.height, x : x + picture.width] = picture.y
        x, y, width, height = x // 2, y // 2, picture.width // 2, picture.height // 2
        blue[y : y + height, x : x + width] = picture.u
        red[y : y + height, x : x + width] = picture.v

    def _frame(self, area: Rectangle) -> None:
        thickness = max(2, min(area.height // 60, 8) & ~1)
        for index, plane in enumerate(self._planes):
            region = plane[_slices(area, chroma=index > 0)]
            wide = thickness if not index else thickness // 2
            colour = _BORDER[index]
            region[:wide] = region[-wide:] = colour
            region[:, :wide] = region[:, -wide:] = colour


def _fits(picture: Picture, area: Rectangle) -> bool:
    """Whether the picture matches the area in at least one dimension and exceeds it in none."""
    across, down = area.width - picture.width, area.height - picture.height
    return (across == 0 and down >= 0) or (down == 0 and across > 0)


def _slices(area: Rectangle, *, chroma: bool) -> tuple[slice, slice]:
    if not chroma:
        return np.s_[area.y : area.y + area.height, area.x : area.x + area.width]
    return np.s_[area.y // 2 : (area.y + area.height) // 2, area.x // 2 : (area.x + area.width) // 2]


def _redraw_key(scene: Scene) -> tuple[object, ...]:
    """The properties of a scene whose change requires a full redraw."""
    areas = tuple([(tile.area, tile.z) for tile in scene.tiles])
    return areas, scene.background, scene.background_picture, scene.logo
