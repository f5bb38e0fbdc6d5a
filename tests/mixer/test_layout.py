"""sfu.mixer.layout: tables of layouts and expected tiles."""

import itertools

import pytest

from sfu.mixer.layout import Layout, Member, arrange, grid
from sfu.mixer.scene import Artwork, Fit, Rectangle, Scene, SceneTemplate, Slot


def people(count: int, *, sharing: int = -1) -> list[Member]:
    return [
        Member(
            f"p{index}",
            f"P {index}",
            f"cam{index}",
            f"screen{index}" if index == sharing else "",
            index == 1,
            index == 2,
        )
        for index in range(count)
    ]


def where(scene: Scene) -> list[tuple[str, int, int, int, int]]:
    return [(tile.source, tile.area.x, tile.area.y, tile.area.width, tile.area.height) for tile in scene.tiles]


@pytest.mark.parametrize(
    ("count", "width", "cell", "places"),
    [
        (0, 1280, None, []),
        (1, 1280, (1280, 720), [(0, 0)]),
        (2, 1280, (640, 360), [(0, 180), (640, 180)]),
        (3, 1280, (640, 360), [(0, 0), (640, 0), (320, 360)]),
        (4, 1280, (640, 360), [(0, 0), (640, 0), (0, 360), (640, 360)]),
        (5, 1280, (426, 240), [(0, 120), (426, 120), (852, 120), (214, 360), (640, 360)]),
        (4, 1920, (960, 540), [(0, 0), (960, 0), (0, 540), (960, 540)]),
    ],
)
def test_grids(count: int, width: int, cell: tuple[int, int], places: list[tuple[int, int]]) -> None:
    assert grid(count, width, width * 9 // 16) == [Rectangle(x, y, *cell) for x, y in places]


@pytest.mark.parametrize(("count", "cell"), [(9, (426, 240)), (16, (320, 180)), (17, (256, 144)), (25, (256, 144))])
def test_grids_keep_the_aspect_ratio(count: int, cell: tuple[int, int]) -> None:
    assert {(area.width, area.height) for area in grid(count, 1280, 720)} == {cell}


@pytest.mark.parametrize(
    ("layout", "count", "sharing", "expected"),
    [
        (Layout.GRID, 0, -1, []),
        (Layout.SPEAKER, 0, -1, []),
        (Layout.SINGLE, 0, -1, []),
        (Layout.PICTURE_IN_PICTURE, 0, -1, []),
        (Layout.PRESENTATION, 0, -1, []),
        (Layout.CUSTOM, 1, -1, [("cam0", 0, 0, 1280, 720)]),
        (Layout.SPEAKER, 1, -1, [("cam0", 0, 0, 1280, 720)]),
        (Layout.SPEAKER, 3, -1, [("cam2", 0, 0, 960, 720), ("cam0", 960, 180, 320, 180), ("cam1", 960, 360, 320, 180)]),
        (Layout.PRESENTATION, 2, -1, [("cam1", 0, 0, 960, 720), ("cam0", 960, 270, 320, 180)]),
        (
            Layout.PRESENTATION,
            2,
            0,
            [("screen0", 0, 0, 1024, 720), ("cam0", 1024, 216, 256, 144), ("cam1", 1024, 360, 256, 144)],
        ),
        (Layout.SINGLE, 3, -1, [("cam2", 0, 0, 1280, 720)]),
        (Layout.SINGLE, 3, 1, [("screen1", 0, 0, 1280, 720)]),
        (Layout.PICTURE_IN_PICTURE, 1, -1, [("cam0", 0, 0, 1280, 720)]),
        (Layout.PICTURE_IN_PICTURE, 3, -1, [("cam2", 0, 0, 1280, 720), ("cam0", 936, 516, 320, 180)]),
        (Layout.PICTURE_IN_PICTURE, 3, 0, [("screen0", 0, 0, 1280, 720), ("cam2", 936, 516, 320, 180)]),
    ],
)
def test_layouts(layout: Layout, count: int, sharing: int, expected: list[tuple[str, int, int, int, int]]) -> None:
    members = people(count, sharing=sharing)
    stage = members[-1].identity if members else ""
    assert where(arrange(layout, members, 1280, 720, stage=stage)) == expected


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (854, 480), (720, 1280), (640, 640)])
@pytest.mark.parametrize("layout", list(Layout))
def test_every_tile_lies_inside_the_canvas_at_even_coordinates(layout: Layout, size: tuple[int, int]) -> None:
    for count, sharing in itertools.product((1, 2, 3, 7, 25, 60), (-1, 0)):
        scene = arrange(layout, people(count, sharing=sharing), *size, stage="p1", presenter="p0")
        assert scene.tiles
        assert len(scene.tiles) <= 25
        for tile in scene.tiles:
            area = tile.area
            assert not (area.x | area.y | area.width | area.height) & 1
            assert 0 <= area.x < area.x + area.width <= size[0]
            assert 0 <= area.y < area.y + area.height <= size[1]
        if layout is not Layout.PICTURE_IN_PICTURE:
            pairs = itertools.combinations(scene.tiles, 2)
            assert not any(first.area.overlaps(second.area) for first, second in pairs)


def test_a_full_grid_includes_the_participant_on_stage() -> None:
    scene = arrange(Layout.GRID, people(40), 1280, 720, stage="p30")
    assert len(scene.tiles) == 25
    assert scene.tiles[-1].source == "cam30"


def test_tiles_carry_name_mute_and_border() -> None:
    scene = arrange(Layout.GRID, people(3), 1280, 720)
    assert [(tile.name, tile.label, tile.muted, tile.border) for tile in scene.tiles] == [
        ("P 0", "P 0", False, False),
        ("P 1", "P 1", True, False),
        ("P 2", "P 2", False, True),
    ]


def test_custom_scenes() -> None:
    area = Rectangle(0, 0, 640, 360)
    template = SceneTemplate(
        1280,
        720,
        (
            Slot("member:1", area, z=2),
            Slot("participant:p2", Rectangle(640, 0, 640, 360), label="The third", border=False, muted=False),
            Slot("share", Rectangle(0, 360, 1, 1), Fit.FIT),
            Slot("stage", Rectangle(321, 181, 639, 359), z=-1),
            Slot("member:9", area),
            Slot("participant:gone", area),
        ),
        (1, 2, 3),
        "studio.png",
        Artwork("logo.png", Rectangle(10, 10, 100, 50)),
    )
    scene = arrange(Layout.CUSTOM, people(3, sharing=1), 1920, 1080, stage="p0", template=template)
    assert where(scene) == [
        ("cam0", 480, 270, 960, 540),
        ("cam2", 960, 0, 960, 540),
        ("screen1", 0, 540, 2, 2),
        ("cam1", 0, 0, 960, 540),
    ]
    third = scene.tiles[1]
    assert (third.label, third.border, third.muted) == ("The third", False, False)
    assert scene.tiles[2].label == ""
    assert scene.logo == Artwork("logo.png", Rectangle(14, 14, 150, 76))
    assert (scene.background, scene.background_picture) == ((1, 2, 3), "studio.png")
    assert where(arrange(Layout.CUSTOM, [], 1920, 1080, template=template)) == []
