"""I420 pictures, and the conversion of decoded frames: rotation, scaling and colour space.

The canvas is I420 in limited-range BT.601. Frames that declare another colour space (BT.709, BT.2020, full range) are
converted. Frames that declare none are treated as limited-range BT.601, which senders normally mean. ITU-T H.273 (code
points).
"""

import functools
from typing import Final

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from sfu.mixer.scene import Fit

Plane = npt.NDArray[np.uint8]

CROP_LIMIT: Final = 0.5
"""A picture that would lose more than this fraction when cropped (a portrait in a landscape tile) is fitted instead."""

_COLOURS: Final = {1: Colorspace.ITU709, 9: Colorspace.BT2020, 10: Colorspace.BT2020}
"""Colour spaces that are converted, by H.273 code point."""
_FULL_RANGE = 2
_FORMAT = "yuv420p"


class Picture:
    """An immutable I420 picture: planes `y` (height, width) and `u`, `v` (half of both), uint8, even width and height.

    The planes may be views of a decoder's buffer and keep it alive. Pictures are compared by identity.
    """

    __slots__ = ("height", "u", "v", "width", "y")

    def __init__(self, y: Plane, u: Plane, v: Plane) -> None:
        self.y, self.u, self.v = y, u, v
        self.height: int
        self.width: int
        self.height, self.width = y.shape

    @classmethod
    def of_frame(cls, frame: VideoFrame) -> "Picture":
        """Wraps a yuv420p frame of even width and height without a copy."""
        planes = []
        for plane in frame.planes:
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            planes.append(rows[: plane.height, : plane.width])
        return cls(*planes)

    @classmethod
    def of_array(cls, array: Plane) -> "Picture":
        """Wraps a contiguous I420 array of shape (height * 3 // 2, width) without a copy."""
        return cls(*planes_of(array))

    @classmethod
    def of_rgb(cls, rgb: npt.NDArray[np.uint8]) -> "Picture":
        """Converts sRGB of shape (height, width, 3), with even height and width."""
        return cls(*(np.rint(plane).astype(np.uint8) for plane in rgb_planes(rgb.astype(np.float32))))

    def as_array(self) -> Plane:
        """Copies the picture to a contiguous I420 array of shape (height * 3 // 2, width)."""
        array = np.empty((self.height * 3 // 2, self.width), np.uint8)
        for target, plane in zip(planes_of(array), (self.y, self.u, self.v), strict=True):
            target[:] = plane
        return array

    def cut(self, width: int, height: int) -> "Picture":
        """Crops to the centre, to at most this size."""
        width, height = min(width, self.width), min(height, self.height)
        if (width, height) == (self.width, self.height):
            return self
        x, y = (self.width - width) // 2 & ~1, (self.height - height) // 2 & ~1
        chroma = np.s_[y // 2 : (y + height) // 2, x // 2 : (x + width) // 2]
        return Picture(self.y[y : y + height, x : x + width], self.u[chroma], self.v[chroma])

    def turned(self, rotation: int) -> "Picture":
        """Rotates clockwise by `rotation` degrees, a multiple of 90."""
        turns = rotation // 90 % 4
        if not turns:
            return self
        return Picture(*(np.ascontiguousarray(np.rot90(plane, -turns)) for plane in (self.y, self.u, self.v)))


def planes_of(array: Plane) -> tuple[Plane, Plane, Plane]:
    """Views of the Y, U and V planes of a contiguous I420 array of shape (height * 3 // 2, width)."""
    rows, width = array.shape
    height = rows * 2 // 3
    flat = array.reshape(-1)
    luma, chroma = width * height, width * height // 4
    half = (height // 2, width // 2)
    return (
        flat[:luma].reshape(height, width),
        flat[luma : luma + chroma].reshape(half),
        flat[luma + chroma : luma + 2 * chroma].reshape(half),
    )


def rgb_planes(rgb: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], ...]:
    """Converts (height, width, 3) with values 0–255 to float planes in limited-range BT.601. Chroma is averaged 2 × 2."""
    red, green, blue = (rgb[..., index] / np.float32(255) for index in range(3))
    height, width = red.shape
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes: list[npt.NDArray[np.float32]] = [16 + 219 * luma]
    for colour, scale in ((blue, 1.772), (red, 1.402)):
        chroma = 128 + 224 * (colour - luma) / scale
        planes.append(chroma.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3), dtype=np.float32))
    return tuple(planes)


def colour_of(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
    """Converts one sRGB colour to the Y, U and V of the canvas."""
    planes = rgb_planes(np.full((2, 2, 3), rgb, np.float32))
    y, u, v = (round(float(plane[0, 0])) for plane in planes)
    return y, u, v


@functools.lru_cache(maxsize=256)
def fitting_size(width: int, height: int, area_width: int, area_height: int, fit: Fit) -> tuple[int, int]:
    """Size to scale a picture to before it is cropped to its area or centred in it: even, aspect ratio preserved."""
    across, down = area_width / width, area_height / height
    low, high = sorted((across, down))
    crop = fit is Fit.CROP and low / high >= CROP_LIMIT
    scale = high if crop else low
    if crop:
        found = max(area_width, _even_up(width * scale)), max(area_height, _even_up(height * scale))
        # Ignore an excess of up to two pixels, so that the picture exactly fits the area.
        return (
            area_width if found[0] - area_width <= 2 else found[0],
            area_height if found[1] - area_height <= 2 else found[1],
        )
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


def _even_up(size: float) -> int:
    whole = round(size)
    return whole + whole % 2


class Fitter:
    """Converts the frames of one source to pictures for its tile. Used by one thread at a time; reuses swscale contexts."""

    __slots__ = ("_convert", "_scale")

    def __init__(self) -> None:
        self._scale = VideoReformatter()
        self._convert = VideoReformatter()

    def fit(self, frame: VideoFrame, width: int, height: int, fit: Fit, rotation: int = 0) -> Picture:
        """Returns a picture of exactly the given size, or smaller in one dimension if the picture is fitted."""
        sideways = rotation % 180 != 0
        frame_width, frame_height = frame.width, frame.height
        if sideways:
            frame_width, frame_height = frame_height, frame_width
        scaled_width, scaled_height = fitting_size(frame_width, frame_height, width, height, fit)
        if sideways:
            scaled_width, scaled_height = scaled_height, scaled_width
        scaled = self._scaled(frame, scaled_width, scaled_height)
        return Picture.of_frame(scaled).turned(rotation).cut(width, height)

    def _scaled(self, frame: VideoFrame, width: int, height: int) -> VideoFrame:
        frame_width, frame_height, name = frame.width, frame.height, frame.format.name
        full = frame.color_range == _FULL_RANGE or name.startswith("yuvj")
        colorspace = _COLOURS.get(frame.colorspace)
        how = Interpolation.AREA if width * height < frame_width * frame_height else Interpolation.BILINEAR
        if colorspace is None and not full:
            if (frame_width, frame_height, name) == (width, height, _FORMAT):
                return frame
            return self._scale.reformat(frame, width, height, _FORMAT, interpolation=how, threads=1)
        return self._convert.reformat(
            frame,
            width,
            height,
            _FORMAT,
            src_colorspace=colorspace or Colorspace.ITU601,
            dst_colorspace=Colorspace.ITU601,
            interpolation=how,
            src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )


def refit(picture: Picture, width: int, height: int, fit: Fit) -> Picture:
    """Fits a picture that was made for another tile size. More expensive than `Fitter`, which handles the next frame."""
    frame = VideoFrame.from_ndarray(picture.as_array(), format=_FORMAT)
    return Fitter().fit(frame, width, height, fit)
