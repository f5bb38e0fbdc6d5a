"""Arranges members on a canvas: takes members and canvas size, returns a `Scene`.

Tile sizes match what cameras send, so that scaling is avoided where possible: on 1280 × 720, four people get 640 × 360
each and sixteen get 320 × 180, which are the simulcast layers of a 720p camera. The stage beside the strip is
960 × 720, a 720p picture cropped at its sides. All coordinates are even because chroma has half the resolution.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sfu.mixer.scene import Artwork, Fit, Rectangle, Scene, SceneTemplate, Slot, Tile

GRID_LIMIT: Final = 25
STRIP_LIMIT: Final = 4
SIDEBAR_LIMIT: Final = 5


class Layout(StrEnum):
    GRID = "grid"
    SPEAKER = "speaker"
    PRESENTATION = "presentation"
    PICTURE_IN_PICTURE = "pip"
    SINGLE = "single"
    CUSTOM = "custom"
    "A `SceneTemplate` from JSON."


VISIBLE: Final = {
    Layout.GRID: GRID_LIMIT,
    Layout.SPEAKER: STRIP_LIMIT + 1,
    Layout.PRESENTATION: SIDEBAR_LIMIT,
    Layout.PICTURE_IN_PICTURE: 2,
    Layout.SINGLE: 1,
    Layout.CUSTOM: 99,
}
"""Maximum number of participants shown per layout."""


@dataclass(frozen=True, slots=True)
class Member:
    """A participant, as far as the layout is concerned."""

    identity: str
    name: str
    camera: str = ""
    "Track id of the camera; empty: no camera, the avatar is shown."
    screen: str = ""
    "Track id of the screen share; empty: none."
    muted: bool = False
    speaking: bool = False


def arrange(
    layout: Layout,
    members: Sequence[Member],
    width: int,
    height: int,
    *,
    stage: str = "",
    presenter: str = "",
    template: SceneTemplate | None = None,
) -> Scene:
    """`stage` and `presenter` are identities. They default to the first member and the first who shares a screen.

    A layout that does not apply (a presentation without a screen share) falls back to the closest one that does.
    """
    if layout is Layout.CUSTOM and template is not None:
        return _custom(template, members, width, height, stage, presenter)
    present = list(members)
    sharing = _find([member for member in present if member.screen], presenter)
    central = _find(present, stage)
    if layout is Layout.PRESENTATION and sharing is None:
        layout = Layout.SPEAKER
    if layout is Layout.SPEAKER and len(present) < 2 and sharing is None:
        layout = Layout.SINGLE
    others = [member for member in present if member is not central]
    whole = Rectangle(0, 0, width, height)
    tiles: list[Tile] = []
    if layout is Layout.PRESENTATION and sharing is not None:
        tiles = _presentation(sharing, present, width, height)
    elif layout is Layout.SPEAKER and central is not None:
        tiles = _speaker(central, others, width, height)
    elif layout is Layout.SINGLE and (sharing is not None or central is not None):
        tiles = [_share(sharing, whole) if sharing is not None else _person(central, whole)]
    elif layout is Layout.PICTURE_IN_PICTURE and central is not None:
        if sharing is not None:
            tiles = [_share(sharing, whole), _person(central, _corner(width, height), z=1)]
        else:
            tiles = [_person(central, whole)]
            tiles += [_person(member, _corner(width, height), z=1) for member in others[:1]]
    else:
        shown = present[:GRID_LIMIT]
        if central is not None and central not in shown:
            shown[-1] = central
        areas = grid(len(shown), width, height)
        tiles = [_person(member, area) for member, area in zip(shown, areas, strict=True)]
    return Scene(width, height, tuple(tiles))


def grid(count: int, width: int, height: int) -> list[Rectangle]:
    """`count` equal rectangles with the aspect ratio of the canvas, in centred rows."""
    if not count:
        return []
    columns = next(columns for columns in range(1, count + 1) if columns * columns >= count)
    rows = -(-count // columns)
    cell_width, cell_height = _even(width // columns), _even(height // columns)
    top = _even((height - rows * cell_height) // 2)
    found = []
    for row in range(rows):
        in_row = min(columns, count - row * columns)
        left = _even((width - in_row * cell_width) // 2)
        found += [
            Rectangle(left + column * cell_width, top + row * cell_height, cell_width, cell_height)
            for column in range(in_row)
        ]
    return found


def _even(number: int) -> int:
    return number & ~1


def _find(members: Sequence[Member], identity: str) -> Member | None:
    return next((member for member in members if member.identity == identity), members[0] if members else None)


def _person(member: Member | None, area: Rectangle, *, z: int = 0) -> Tile:
    if member is None:
        return Tile(area)
    return Tile(area, member.camera, member.name, member.name, Fit.CROP, z, member.speaking, member.muted)


def _share(member: Member, area: Rectangle) -> Tile:
    return Tile(area, member.screen, fit=Fit.FIT)


def _column(members: Sequence[Member], x: int, width: int, height: int, limit: int) -> list[Tile]:
    """A centred column of tiles, each `height / limit` high."""
    shown = members[:limit]
    cell = _even(height // limit)
    top = _even((height - len(shown) * cell) // 2)
    return [_person(member, Rectangle(x, top + index * cell, width, cell)) for index, member in enumerate(shown)]


def _speaker(central: Member, others: Sequence[Member], width: int, height: int) -> list[Tile]:
    strip = _even(width // 4)
    stage = Rectangle(0, 0, width - strip, height)
    return [_person(central, stage), *_column(others, width - strip, strip, height, STRIP_LIMIT)]


def _presentation(sharing: Member, members: Sequence[Member], width: int, height: int) -> list[Tile]:
    sidebar = _even(width // 5)
    share = _share(sharing, Rectangle(0, 0, width - sidebar, height))
    return [share, *_column(members, width - sidebar, sidebar, height, SIDEBAR_LIMIT)]


def _corner(width: int, height: int) -> Rectangle:
    margin = _even(height // 30)
    small_width, small_height = _even(width // 4), _even(height // 4)
    return Rectangle(width - small_width - margin, height - small_height - margin, small_width, small_height)


def _custom(
    template: SceneTemplate, members: Sequence[Member], width: int, height: int, stage: str, presenter: str
) -> Scene:
    sharing = _find([member for member in members if member.screen], presenter)
    central = _find(members, stage)
    others = [member for member in members if member is not central]
    by_identity = {member.identity: member for member in members}
    tiles = []
    for slot in sorted(template.slots, key=lambda slot: slot.z):
        part, _, argument = slot.show.partition(":")
        member: Member | None
        if part == "stage":
            member = central
        elif part == "share":
            member = sharing
        elif part == "member":
            member = others[int(argument) - 1] if int(argument) <= len(others) else None
        else:
            member = by_identity.get(argument)
        if member is not None:
            area = _scaled(slot.area, template, width, height)
            tiles.append(_slot_tile(slot, member, area, share=part == "share"))
    logo = template.logo
    if logo is not None:
        logo = Artwork(logo.picture, _scaled(logo.area, template, width, height))
    return Scene(width, height, tuple(tiles), template.background, template.background_picture, logo)


def _slot_tile(slot: Slot, member: Member, area: Rectangle, *, share: bool) -> Tile:
    if share:
        return Tile(area, member.screen, label=slot.label or "", fit=slot.fit, z=slot.z)
    label = member.name if slot.label is None else slot.label
    border, muted = slot.border and member.speaking, slot.muted and member.muted
    return Tile(area, member.camera, member.name, label, slot.fit, slot.z, border, muted)


def _scaled(area: Rectangle, template: SceneTemplate, width: int, height: int) -> Rectangle:
    """Scales template units to even pixels inside the canvas. Adjacent edges stay adjacent."""
    left, right = _even(area.x * width // template.width), _even((area.x + area.width) * width // template.width)
    top, bottom = _even(area.y * height // template.height), _even((area.y + area.height) * height // template.height)
    left, top = min(left, width - 2), min(top, height - 2)
    return Rectangle(left, top, max(2, right - left), max(2, bottom - top))
