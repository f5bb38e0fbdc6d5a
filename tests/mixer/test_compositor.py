"""sfu.mixer.compositor: checks the pixels of the canvas."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfu.mixer.compositor import BORDER_COLOUR, Compositor
from sfu.mixer.picture import Picture, colour_of, planes_of
from sfu.mixer.scene import Artwork, Fit, Rectangle, Scene, Tile

BACK = colour_of((16, 20, 24))
WHITE = colour_of((255, 255, 255))


def solid(width: int, height: int, colour: tuple[int, int, int]) -> Picture:
    array = np.empty((height * 3 // 2, width), np.uint8)
    for plane, value in zip(planes_of(array), colour, strict=True):
        plane[:] = value
    return Picture.of_array(array)


def at(canvas: np.ndarray, x: int, y: int) -> tuple[int, int, int]:
    luma, blue, red = planes_of(canvas)
    return int(luma[y, x]), int(blue[y // 2, x // 2]), int(red[y // 2, x // 2])


RED, GREEN, BLUE = (81, 90, 240), (145, 54, 34), (41, 240, 110)
LEFT, RIGHT = Rectangle(0, 0, 160, 90), Rectangle(160, 90, 160, 90)


def test_pictures_are_drawn_in_their_areas() -> None:
    compositor = Compositor(320, 180)
    scene = Scene(320, 180, (Tile(LEFT, "a"), Tile(RIGHT, "b")))
    canvas = compositor.composite(scene, {"a": solid(160, 90, RED), "b": solid(160, 90, GREEN)})
    assert canvas.shape == (270, 320)
    assert canvas.flags.c_contiguous
    for x, y, colour in [
        (0, 0, RED), (159, 89, RED), (160, 0, BACK), (0, 90, BACK), (160, 90, GREEN), (319, 179, GREEN),
    ]:  # fmt: skip
        assert at(canvas, x, y) == colour
    canvas = compositor.composite(scene, {"a": solid(160, 90, BLUE), "b": None})
    assert (at(canvas, 80, 45), at(canvas, 240, 135)) == (BLUE, BACK)
    assert canvas is compositor.canvas


def test_unchanged_tiles_are_not_drawn() -> None:
    compositor = Compositor(320, 180)
    scene = Scene(320, 180, (Tile(LEFT, "a"), Tile(RIGHT, "b")))
    first, second = solid(160, 90, RED), solid(160, 90, GREEN)
    canvas = compositor.composite(scene, {"a": first, "b": second})
    canvas[:] = 0
    compositor.composite(scene, {"a": first, "b": second})
    assert not canvas.any()
    compositor.composite(scene, {"a": first, "b": solid(160, 90, GREEN)})
    assert (at(canvas, 80, 45), at(canvas, 240, 135)) == ((0, 0, 0), GREEN)
    equal = Scene(320, 180, (Tile(LEFT, "a"), Tile(RIGHT, "b", border=True)))
    canvas[:] = 0
    compositor.composite(equal, {"a": first, "b": second})
    assert at(canvas, 80, 45) == (0, 0, 0), "a border on one tile does not redraw the other"
    assert at(canvas, 240, 135) == GREEN


def test_fitted_pictures_have_the_background_beside_them() -> None:
    compositor = Compositor(320, 180)
    scene = Scene(320, 180, (Tile(Rectangle(0, 0, 320, 180), "a", fit=Fit.FIT),), background=(255, 0, 0))
    canvas = compositor.composite(scene, {"a": solid(320, 180, GREEN)})
    canvas = compositor.composite(scene, {"a": solid(240, 180, BLUE)})
    assert [at(canvas, x, 90) for x in (0, 39, 40, 279, 280, 319)] == [RED, RED, BLUE, BLUE, RED, RED]


def test_pictures_of_another_size_are_fitted() -> None:
    compositor = Compositor(320, 180)
    canvas = compositor.composite(Scene(320, 180, (Tile(LEFT, "a"),)), {"a": solid(640, 480, GREEN)})
    assert [at(canvas, x, y) for x, y in [(0, 0), (159, 89), (160, 89)]] == [GREEN, GREEN, BACK]
    canvas = compositor.composite(Scene(320, 180, (Tile(RIGHT, "a"),)), {"a": solid(32, 18, GREEN)})
    assert [at(canvas, x, y) for x, y in [(0, 0), (160, 90), (319, 179)]] == [BACK, GREEN, GREEN]


def test_higher_tiles_stay_above_when_lower_ones_change() -> None:
    compositor = Compositor(320, 180)
    small = Rectangle(200, 100, 80, 44)
    scene = Scene(320, 180, (Tile(Rectangle(0, 0, 320, 180), "a"), Tile(small, "b", z=1)))
    above = solid(80, 44, RED)
    canvas = compositor.composite(scene, {"a": solid(320, 180, GREEN), "b": above})
    canvas = compositor.composite(scene, {"a": solid(320, 180, BLUE), "b": above})
    assert [at(canvas, x, y) for x, y in [(199, 100), (200, 100), (279, 143), (280, 143)]] == [BLUE, RED, RED, BLUE]


def test_avatars_labels_borders() -> None:
    compositor = Compositor(640, 360)
    area = Rectangle(0, 0, 640, 360)
    plain = compositor.composite(Scene(640, 360, (Tile(area, "a"),)), {"a": solid(640, 360, GREEN)}).copy()
    labelled = compositor.composite(Scene(640, 360, (Tile(area, "a", "Anna", "Anna"),)), {"a": solid(640, 360, GREEN)})
    changed = np.argwhere(planes_of(labelled)[0] != planes_of(plain)[0])
    assert changed[:, 0].min() > 300, "at the bottom"
    assert changed[:, 1].max() < 200, "to the left"
    bordered = compositor.composite(Scene(640, 360, (Tile(area, "a", border=True),)), {"a": solid(640, 360, BLUE)})
    frame = colour_of(BORDER_COLOUR)
    assert [at(bordered, x, y) for x, y in [(0, 0), (639, 359), (0, 359), (5, 200), (6, 200), (320, 180)]] == [
        frame, frame, frame, frame, BLUE, BLUE,
    ]  # fmt: skip
    off = compositor.composite(Scene(640, 360, (Tile(area, "a", "Anna", muted=True),)), {})
    assert len(np.unique(planes_of(off)[0])) > 4
    nothing = compositor.composite(Scene(640, 360, (Tile(area, "a"),)), {"a": None})
    assert at(nothing, 320, 180) == BACK


def png(colour: tuple[int, ...], size: tuple[int, int] = (8, 8)) -> str:
    file = io.BytesIO()
    Image.new("RGBA", size, colour).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def test_background_picture_and_logo(tmp_path: Path) -> None:
    Image.new("RGB", (32, 18), (255, 0, 0)).save(tmp_path / "studio.jpg")
    compositor = Compositor(320, 180, directory=tmp_path)
    logo = Artwork(png((255, 255, 255, 255)), Rectangle(140, 80, 40, 20))
    scene = Scene(320, 180, (Tile(LEFT, "a"),), background_picture="studio.jpg", logo=logo)
    canvas = compositor.composite(scene, {"a": solid(160, 90, BLUE)})
    assert at(canvas, 300, 20) == pytest.approx(RED, abs=3)
    for x, y, colour in [(0, 0, BLUE), (150, 88, WHITE), (165, 95, WHITE)]:
        assert at(canvas, x, y) == pytest.approx(colour, abs=1)


def test_a_translucent_logo_is_blended_once() -> None:
    compositor = Compositor(320, 180)
    logo = Artwork(png((255, 255, 255, 128)), Rectangle(150, 80, 20, 20))
    tiles = (Tile(LEFT, "a"), Tile(RIGHT, "b"))
    scene = Scene(320, 180, tiles, logo=logo)
    second = solid(160, 90, GREEN)
    for _ in range(4):
        canvas = compositor.composite(scene, {"a": solid(160, 90, BLUE), "b": second})
    half = tuple(round((low + high) / 2) for low, high in zip(GREEN, WHITE, strict=True))
    assert at(canvas, 164, 94) == pytest.approx(half, abs=2)
    half = tuple(round((low + high) / 2) for low, high in zip(BACK, WHITE, strict=True))
    assert at(canvas, 164, 84) == pytest.approx(half, abs=2)


def test_missing_pictures_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"\x89PNG")
    logo = Artwork("gone.png", Rectangle(0, 0, 20, 20))
    scene = Scene(320, 180, background_picture="torn.png", logo=logo)
    assert at(Compositor(320, 180, directory=tmp_path).composite(scene, {}), 5, 5) == BACK


def test_odd_canvas_sizes_are_rejected() -> None:
    with pytest.raises(ValueError, match="even"):
        Compositor(321, 180)
