"""Scenes: the tiles of a canvas and their contents, and the JSON format for custom scenes.

A `Scene` is concrete: canvas pixels, even coordinates (chroma has half the resolution), sources by track id. A
`SceneTemplate` is the parsed JSON: its own units, and tiles that refer to a role ("stage", "share", "member:3") or a
participant. `sfu.mixer.layout` resolves it to a `Scene` whenever a participant joins or speaks.

    {"width": 1280, "height": 720, "background": "#101418", "background_picture": "studio.png",
     "logo": {"picture": "logo.png", "x": 1100, "y": 24, "width": 156, "height": 64},
     "tiles": [{"show": "stage", "x": 0, "y": 0, "width": 960, "height": 720, "fit": "crop", "z": 0, "label": true},
               {"show": "member:1", "x": 960, "y": 0, "width": 320, "height": 180},
               {"show": "participant:anna", "x": 960, "y": 180, "width": 320, "height": 180, "label": "Anna, Berlin"}]}

Pictures are file names in the operator's directory, or `data:image/png;base64,…` (also JPEG and WebP).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sfu.errors import BadRequest

TILE_LIMIT: Final = 64
JSON_LIMIT: Final = 4_000_000
"""Characters of a JSON scene, which may contain two embedded pictures."""
CANVAS_LIMIT: Final = 4096
DEFAULT_BACKGROUND: Final = (16, 20, 24)

_COLOUR = re.compile(r"#([0-9A-Fa-f]{6})").fullmatch
_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}").fullmatch
_DATA = re.compile(r"data:image/(?:png|jpeg|webp);base64,[A-Za-z0-9+/]+={0,2}").fullmatch
_SHOW = re.compile(r"stage|share|member:[1-9][0-9]?|participant:.{1,128}", re.DOTALL).fullmatch
_LABEL_LIMIT = 128


class Fit(StrEnum):
    CROP = "crop"
    "Fills the rectangle; the edges are cropped."
    FIT = "fit"
    "Shows the whole picture, with the background beside it."


@dataclass(frozen=True, slots=True)
class Rectangle:
    x: int
    y: int
    width: int
    height: int

    def overlaps(self, other: "Rectangle") -> bool:
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


@dataclass(frozen=True, slots=True)
class Tile:
    area: Rectangle
    "In canvas pixels; all values are even, and the area lies within the canvas."
    source: str = ""
    "Track id; empty: the avatar is shown."
    name: str = ""
    "Name for the avatar that is shown while the source has no picture; empty: the background is shown."
    label: str = ""
    fit: Fit = Fit.CROP
    z: int = 0
    border: bool = False
    "The participant is speaking."
    muted: bool = False


@dataclass(frozen=True, slots=True)
class Artwork:
    """A picture of the operator, such as the logo, and its area."""

    picture: str
    area: Rectangle


@dataclass(frozen=True, slots=True)
class Scene:
    width: int
    height: int
    tiles: tuple[Tile, ...] = ()
    "In drawing order, bottom first."
    background: tuple[int, int, int] = DEFAULT_BACKGROUND
    "Red, green, blue (0–255)."
    background_picture: str = ""
    logo: Artwork | None = None

    def as_json(self) -> str:
        """JSON for logs, or as a starting point for a custom scene. There is no parser for it."""
        return json.dumps(
            {
                "width": self.width,
                "height": self.height,
                "tiles": [
                    {
                        "source": tile.source, "name": tile.name, "x": tile.area.x, "y": tile.area.y,
                        "width": tile.area.width, "height": tile.area.height, "z": tile.z, "fit": str(tile.fit),
                        "label": tile.label, "border": tile.border, "muted": tile.muted,
                    }
                    for tile in self.tiles
                ],
            },
            ensure_ascii=False,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Slot:
    """A tile of a template."""

    show: str
    "`stage`, `share`, `member:N` (the Nth participant who is not on stage, from 1) or `participant:IDENTITY`."
    area: Rectangle
    "In template units."
    fit: Fit = Fit.CROP
    z: int = 0
    label: str | None = None
    "None: the participant's name; empty: no label."
    border: bool = True
    "Whether to draw a border while the participant speaks."
    muted: bool = True
    "Whether to show the muted icon while the participant is muted."


@dataclass(frozen=True, slots=True)
class SceneTemplate:
    width: int
    height: int
    slots: tuple[Slot, ...] = ()
    background: tuple[int, int, int] = DEFAULT_BACKGROUND
    background_picture: str = ""
    logo: Artwork | None = None

    def as_json(self) -> str:
        """JSON that `parse_template` accepts."""
        red, green, blue = self.background
        found: dict[str, object] = {
            "width": self.width,
            "height": self.height,
            "background": f"#{red:02x}{green:02x}{blue:02x}",
            "tiles": [
                {
                    "show": slot.show, "fit": str(slot.fit), "z": slot.z, "border": slot.border, "muted": slot.muted,
                    "label": True if slot.label is None else slot.label, **_area_json(slot.area),
                }
                for slot in self.slots
            ],
        }  # fmt: skip
        if self.background_picture:
            found["background_picture"] = self.background_picture
        if self.logo is not None:
            found["logo"] = {"picture": self.logo.picture, **_area_json(self.logo.area)}
        return json.dumps(found, ensure_ascii=False)


def _area_json(area: Rectangle) -> dict[str, int]:
    return {"x": area.x, "y": area.y, "width": area.width, "height": area.height}


def parse_template(text: str | bytes) -> SceneTemplate:
    """Parses a JSON scene. Raises BadRequest (code `bad_scene`) with the location and the cause."""
    if len(text) > JSON_LIMIT:
        raise _bad("the scene is larger than 4 MB")
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        raise _bad("the scene is not valid JSON") from None
    scene = _Object(found, "the scene")
    scene.only("width", "height", "background", "background_picture", "logo", "tiles")
    width = scene.number("width", 16, CANVAS_LIMIT, 1280)
    height = scene.number("height", 16, CANVAS_LIMIT, 720)
    colour = scene.text("background", "#101418")
    matched = _COLOUR(colour)
    if not matched:
        raise _bad("background must be a colour such as #101418")
    red, green, blue = bytes.fromhex(matched[1])
    logo = None
    if "logo" in scene.fields:
        item = _Object(scene.fields["logo"], "logo")
        item.only("picture", "x", "y", "width", "height")
        logo = Artwork(item.picture("picture", required=True), item.area(width, height))
    tiles = scene.fields.get("tiles", [])
    if not isinstance(tiles, list) or len(tiles) > TILE_LIMIT:
        raise _bad(f"tiles must be a list of at most {TILE_LIMIT}")
    slots = tuple([_slot(_Object(tile, f"tiles[{index}]"), width, height) for index, tile in enumerate(tiles)])
    return SceneTemplate(width, height, slots, (red, green, blue), scene.picture("background_picture"), logo)


def _slot(tile: "_Object", width: int, height: int) -> Slot:
    tile.only("show", "x", "y", "width", "height", "fit", "z", "label", "border", "muted")
    show = tile.text("show", "")
    if not _SHOW(show):
        raise _bad(f"{tile.where}.show must be stage, share, member:1 to member:99 or participant:IDENTITY")
    fit = tile.text("fit", "fit" if show == "share" else "crop")
    if fit not in ("crop", "fit"):
        raise _bad(f"{tile.where}.fit must be crop or fit")
    label = tile.fields.get("label", True)
    if not isinstance(label, str | bool) or (isinstance(label, str) and len(label) > _LABEL_LIMIT):
        raise _bad(f"{tile.where}.label must be true, false or a string of at most {_LABEL_LIMIT} characters")
    return Slot(
        show,
        tile.area(width, height),
        Fit(fit),
        tile.number("z", -1000, 1000, 0),
        None if label is True else label or "",
        tile.flag("border"),
        tile.flag("muted"),
    )


def _bad(message: str) -> BadRequest:
    return BadRequest(message[0].upper() + message[1:] + ".", code="bad_scene")


class _Object:
    """A JSON object and its location for error messages."""

    __slots__ = ("fields", "where")

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise _bad(f"{where} must be an object")
        self.fields: Mapping[str, object] = value
        self.where = where

    def only(self, *names: str) -> None:
        for name in self.fields:
            if name not in names:
                raise _bad(f"{self.where} has no field {name[:40]!r}; it has {', '.join(names)}")

    def number(self, name: str, low: int, high: int, default: int | None = None) -> int:
        value = self.fields.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _bad(f"{self.where}.{name} must be an integer from {low} to {high}")
        return value

    def text(self, name: str, default: str) -> str:
        value = self.fields.get(name, default)
        if not isinstance(value, str):
            raise _bad(f"{self.where}.{name} must be a string")
        return value

    def flag(self, name: str) -> bool:
        value = self.fields.get(name, True)
        if not isinstance(value, bool):
            raise _bad(f"{self.where}.{name} must be true or false")
        return value

    def picture(self, name: str, *, required: bool = False) -> str:
        value = self.text(name, "")
        if (value or required) and not _FILE(value) and not _DATA(value):
            raise _bad(f"{self.where}.{name} must be a file name or data:image/png;base64,…")
        return value

    def area(self, width: int, height: int) -> Rectangle:
        x, y = self.number("x", 0, width - 2), self.number("y", 0, height - 2)
        return Rectangle(x, y, self.number("width", 2, width - x), self.number("height", 2, height - y))
