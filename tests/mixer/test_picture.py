"""sfu.mixer.picture: planes, colours, sizes and rotations, checked by pixels."""

import numpy as np
import pytest
from av.video.frame import VideoFrame

from sfu.mixer.picture import Fitter, Picture, colour_of, fitting_size, planes_of, refit
from sfu.mixer.scene import Fit


def solid(width: int, height: int, colour: tuple[int, int, int]) -> Picture:
    array = np.empty((height * 3 // 2, width), np.uint8)
    for plane, value in zip(planes_of(array), colour, strict=True):
        plane[:] = value
    return Picture.of_array(array)


def quarters(width: int = 64, height: int = 32) -> Picture:
    """Quarters with luma 40 and 80 above 120 and 160; chroma likewise."""
    picture = solid(width, height, (0, 0, 0))
    for plane in (picture.y, picture.u, picture.v):
        rows, columns = plane.shape[0] // 2, plane.shape[1] // 2
        plane[:rows, :columns], plane[:rows, columns:], plane[rows:, :columns], plane[rows:, columns:] = (
            40,
            80,
            120,
            160,
        )
    return picture


def corners(picture: Picture) -> list[list[int]]:
    return [
        [int(plane[0, 0]), int(plane[0, -1]), int(plane[-1, 0]), int(plane[-1, -1])]
        for plane in (picture.y, picture.u, picture.v)
    ]


def frame_of(picture: Picture) -> VideoFrame:
    return VideoFrame.from_ndarray(picture.as_array(), format="yuv420p")


def test_arrays_and_frames_are_viewed_not_copied() -> None:
    array = np.arange(64 * 48, dtype=np.uint32).astype(np.uint8).reshape(48, 64)
    picture = Picture.of_array(array)
    assert (picture.width, picture.height) == (64, 32)
    assert all(np.shares_memory(plane, array) for plane in (picture.y, picture.u, picture.v))
    assert np.array_equal(picture.as_array(), array)
    assert np.array_equal(Picture.of_frame(frame_of(picture)).as_array(), array)
    assert [plane.shape for plane in planes_of(np.empty((405, 480), np.uint8))] == [(270, 480), (135, 240), (135, 240)]


@pytest.mark.parametrize(
    ("rotation", "expected"),
    [(0, [40, 80, 120, 160]), (90, [120, 40, 160, 80]), (180, [160, 120, 80, 40]), (270, [80, 160, 40, 120])],
)
def test_rotation_is_clockwise(rotation: int, expected: list[int]) -> None:
    turned = quarters().turned(rotation)
    assert corners(turned) == [expected] * 3
    assert (turned.width, turned.height) == ((64, 32) if rotation % 180 == 0 else (32, 64))


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((0, 0, 0), (16, 128, 128)),
        ((255, 255, 255), (235, 128, 128)),
        ((255, 0, 0), (81, 90, 240)),
        ((0, 255, 0), (145, 54, 34)),
        ((0, 0, 255), (41, 240, 110)),
        ((200, 40, 60), (93, 113, 197)),
    ],
)
def test_colours_are_limited_bt601(colour: tuple[int, int, int], expected: tuple[int, int, int]) -> None:
    assert colour_of(colour) == pytest.approx(expected, abs=1)
    picture = Picture.of_rgb(np.full((4, 4, 3), colour, np.uint8))
    assert corners(picture) == [[value] * 4 for value in colour_of(colour)]


@pytest.mark.parametrize(
    ("size", "area", "fit", "expected"),
    [
        ((640, 360), (640, 360), Fit.CROP, (640, 360)),
        ((640, 360), (426, 240), Fit.CROP, (426, 240)),
        ((1280, 720), (960, 720), Fit.CROP, (1280, 720)),
        ((640, 480), (320, 180), Fit.CROP, (320, 240)),
        ((640, 480), (320, 180), Fit.FIT, (240, 180)),
        ((360, 640), (320, 180), Fit.CROP, (102, 180)),
        ((1920, 1080), (1024, 720), Fit.FIT, (1024, 576)),
        ((2, 4000), (320, 180), Fit.FIT, (2, 180)),
    ],
)
def test_sizes(size: tuple[int, int], area: tuple[int, int], fit: Fit, expected: tuple[int, int]) -> None:
    assert fitting_size(*size, *area, fit) == expected


def test_frames_of_the_right_size_are_not_copied() -> None:
    frame = frame_of(quarters())
    fitted = Fitter().fit(frame, 64, 32, Fit.CROP)
    assert np.shares_memory(fitted.y, np.frombuffer(memoryview(frame.planes[0]), np.uint8))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("area", [(64, 32), (320, 180), (30, 60), (426, 240)])
def test_rotated_phones_stand_upright_and_fill_their_tile(rotation: int, area: tuple[int, int]) -> None:
    upright = quarters(256, 144)
    sent = frame_of(upright.turned(-rotation))
    shown = Fitter().fit(sent, *area, Fit.CROP, rotation)
    for plane in corners(shown):
        assert plane == pytest.approx([40, 80, 120, 160], abs=1)
    assert shown.width == area[0] or shown.height == area[1]


def test_odd_sizes_become_even() -> None:
    frame = VideoFrame(321, 181, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes([90]) * plane.buffer_size)
    assert corners(Fitter().fit(frame, 320, 180, Fit.CROP)) == [[90] * 4] * 3


def to_bt601(y: int, u: int, v: int, *, bt709: bool, full: bool) -> tuple[int, int, int]:
    luma, blue, red = (y / 255, (u - 128) / 255, (v - 128) / 255) if full else (
        (y - 16) / 219, (u - 128) / 224, (v - 128) / 224,
    )  # fmt: skip
    kr, kb = (0.2126, 0.0722) if bt709 else (0.299, 0.114)
    r, b = luma + 2 * (1 - kr) * red, luma + 2 * (1 - kb) * blue
    g = (luma - kr * r - kb * b) / (1 - kr - kb)
    return colour_of((round(255 * r), round(255 * g), round(255 * b)))


@pytest.mark.parametrize(("bt709", "full"), [(False, False), (True, False), (False, True), (True, True)])
def test_declared_colours_are_converted(bt709: bool, full: bool) -> None:
    sent = (120, 110, 150)
    frame = frame_of(solid(64, 32, sent))
    if bt709:
        frame.colorspace = 1
    if full:
        frame.color_range = 2
    shown = Fitter().fit(frame, 32, 16, Fit.CROP)
    expected = to_bt601(*sent, bt709=bt709, full=full)
    assert [plane[0] for plane in corners(shown)] == pytest.approx(expected, abs=2)


def test_other_formats_are_converted() -> None:
    frame = frame_of(solid(64, 32, (120, 110, 150))).reformat(format="yuv444p", threads=1)
    shown = Fitter().fit(frame, 64, 32, Fit.CROP)
    assert [plane[0] for plane in corners(shown)] == pytest.approx((120, 110, 150), abs=1)


def test_a_picture_made_for_another_tile_is_refitted() -> None:
    again = refit(quarters(), 32, 16, Fit.CROP)
    assert (again.width, again.height) == (32, 16)
    assert corners(again) == [[40, 80, 120, 160]] * 3
