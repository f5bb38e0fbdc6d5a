"""Animated test picture: a face with a moving mouth, a ball that circles it, a clock, and a machine-readable time stamp.

The stamp is a block of 8 × 6 black and white cells, large enough to survive the smallest simulcast layer. `read_stamp`
decodes it to determine when a frame was drawn, for latency measurements and tests.
"""

import colorsys
import math
import time
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sfu.bots import font

Planes = NDArray[np.uint8]
"""A YUV 4:2:0 picture in one array of shape (height × 3 / 2, width), the format of PyAV."""

COLUMNS: Final = 8
ROWS: Final = 6
CELLS: Final = 18
"""Height of a picture in cells."""
STAMP_BITS: Final = 40
"""The stamp is the lower 40 bits of Unix time in milliseconds (34 years), followed by a checksum of 8 bits."""
BLACK: Final = 16
WHITE: Final = 235
UNITS: Final = 36
"""Height of a picture in drawing units. The lowest fifth is left empty for labels of the page."""


class TestPicture:
    """Draws one bot. Only one thread at a time may call `draw`."""

    __test__ = False

    def __init__(self, width: int, height: int, name: str = "", hue: float = 0.6, grain: int = 0) -> None:
        """`hue`: 0–1 as in HSV; `grain`: amplitude of noise in luma steps, which makes an encoder use its bit rate."""
        if width % 2 or height % 2 or width < 64 or height < 36:
            raise ValueError("the size of a test picture must be even and at least 64 × 36")
        self.width = width
        self.height = height
        self._unit = height / UNITS
        self._base = self._background(name, hue)
        self._digits = {digit: font.mask(digit, max(1, round(self._unit * 0.6))) for digit in "0123456789:"}
        randomness = np.random.default_rng(1)
        self._grain = (
            randomness.integers(-grain, grain + 1, (4, height, width), dtype=np.int16).astype(np.int8)
            if grain
            else None
        )
        self._count = 0
        cell = height / CELLS
        self._cell_rows = (np.arange(round(ROWS * cell)) / cell).astype(np.intp)
        self._cell_columns = (np.arange(round(COLUMNS * cell)) / cell).astype(np.intp)

    def draw(self, at: float, loudness: float = 0.0) -> Planes:
        """Draws the picture for Unix time `at`; `loudness` from 0 to 1 opens the mouth."""
        picture = self._base.copy()
        luma = picture[: self.height]
        if self._grain is not None:
            self._count += 1
            # Unsigned wrap-around equals signed addition, and the base picture has headroom.
            luma += self._grain[self._count % 4].view(np.uint8)
        unit, middle = self._unit, self.width / 2
        opening = 0.4 + 2.2 * loudness
        self._box(luma, middle - 3 * unit, (15 - opening) * unit, middle + 3 * unit, (15 + opening) * unit, BLACK)
        lid = 0.2 if at % 4.0 < 0.15 else 1.0
        for side in (-1, 1):
            x = middle + side * 3.6 * unit + math.sin(at) * unit * 0.6
            self._box(luma, x - unit, (8.5 - lid) * unit, x + unit, (8.5 + lid) * unit, BLACK)
        angle = at * 1.5
        x, y = middle + 14 * unit * math.cos(angle), (12 + 9 * math.sin(angle)) * unit
        self._box(luma, x - unit, y - unit, x + unit, y + unit, WHITE)
        self._write_clock(luma, at)
        self._write_stamp(luma, int(at * 1000))
        return picture

    def _background(self, name: str, hue: float) -> Planes:
        height, width, unit = self.height, self.width, self._unit
        picture = np.empty((height * 3 // 2, width), np.uint8)
        shade = np.linspace(0.0, 1.0, height)[:, None]
        y0, u, v = _yuv(hue, 0.55, 0.45)
        picture[:height] = (y0 + 40 * (1 - shade)).astype(np.uint8)
        chroma = picture[height:].reshape(2, height // 2, width // 2)
        chroma[0], chroma[1] = u, v
        middle = width / 2
        face = _yuv(hue + 0.08, 0.35, 0.95)
        rows, columns = np.ogrid[:height, :width]
        disc = ((columns - middle) / (8 * unit)) ** 2 + ((rows - 11 * unit) / (9 * unit)) ** 2 < 1
        picture[:height][disc] = min(face[0], 190)
        chroma[0][disc[::2, ::2]], chroma[1][disc[::2, ::2]] = face[1], face[2]
        scale = max(1, round(unit * 0.45))
        shown = name[: max(1, width // (font.WIDTH * scale))]
        if shown:
            self._write(picture[:height], font.mask(shown, scale), round(20.8 * unit))
        return picture

    def _write(self, luma: Planes, dots: NDArray[np.bool_], top: int) -> None:
        left = max(0, (self.width - dots.shape[1]) // 2)
        part = luma[top : top + dots.shape[0], left : left + dots.shape[1]]
        part[dots[: part.shape[0], : part.shape[1]]] = WHITE

    def _write_clock(self, luma: Planes, at: float) -> None:
        text = time.strftime("%H:%M:%S", time.localtime(at))
        self._write(luma, np.concatenate([self._digits[digit] for digit in text], axis=1), round(25 * self._unit))

    def _write_stamp(self, luma: Planes, milliseconds: int) -> None:
        bits = np.unpackbits(np.frombuffer(_stamp_bytes(milliseconds), np.uint8)).reshape(ROWS, COLUMNS)
        cells = np.where(bits, np.uint8(WHITE), np.uint8(BLACK))
        rows, columns = self._cell_rows, self._cell_columns
        luma[: len(rows), : len(columns)] = cells[rows[:, None], columns]

    def _box(self, luma: Planes, left: float, top: float, right: float, bottom: float, value: int) -> None:
        luma[max(0, round(top)) : max(0, round(bottom)), max(0, round(left)) : max(0, round(right))] = value


def read_stamp(luma: NDArray[np.uint8]) -> int | None:
    """Reads the stamp (lower 40 bits of milliseconds) from a decoded luma plane of any size; None if it has none."""
    height, width = luma.shape
    if height < UNITS or width < UNITS:
        return None
    cell = height / CELLS
    half = max(1, int(cell / 4))  # sample the middle of a cell, away from blurred edges
    values = np.empty((ROWS, COLUMNS))
    for row in range(ROWS):
        for column in range(COLUMNS):
            y, x = int((row + 0.5) * cell), int((column + 0.5) * cell)
            values[row, column] = luma[y - half : y + half, x - half : x + half].mean()
    stamp = np.packbits(values > (BLACK + WHITE) / 2).tobytes()
    if zlib.crc32(stamp[:5]) & 0xFF != stamp[5]:
        return None
    return int.from_bytes(stamp[:5], "big")


def stamp_age(stamp: int, at: float) -> float:
    """Seconds from a stamp to Unix time `at`. Requires synchronized clocks."""
    span = 1 << STAMP_BITS
    return ((int(at * 1000) - stamp + span // 2) % span - span // 2) / 1000


def _stamp_bytes(milliseconds: int) -> bytes:
    value = (milliseconds % (1 << STAMP_BITS)).to_bytes(5, "big")
    return value + bytes((zlib.crc32(value) & 0xFF,))


def _yuv(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    """Converts HSV to limited-range BT.601."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return round(16 + 219 * luma), round(128 + 126.4 * (blue - luma)), round(128 + 159.5 * (red - luma))
