"""Draws overlays: name labels in any script, avatars with initials, and the muted icon.

Pillow draws each overlay once. It is stored as a multiplier and an addend per plane, so that blending it into every
frame takes three small numpy operations. Fonts are chosen by script from the installed Noto fonts; without these,
Pillow's default font is used.
"""

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from sfu.mixer.picture import Picture, Plane, colour_of, planes_of, rgb_planes

FONT_DIRECTORIES: Final = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))
LABEL_LIMIT: Final = 64
"""Characters of a name that are drawn at most."""
_Font: TypeAlias = "ImageFont.FreeTypeFont | ImageFont.ImageFont"
_CJK = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH"})
_PLAIN = frozenset({"LATIN", "GREEK", "CYRILLIC"})
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "So", "Sk"})
_PILL = (12, 14, 18, 168)
_WHITE = (255, 255, 255, 255)
_RED = (240, 84, 84, 255)
_AVATARS = (
    (29, 92, 130), (121, 62, 118), (36, 112, 84), (146, 76, 44), (78, 80, 150), (138, 52, 72), (84, 104, 40), (40, 106, 116),
)  # fmt: skip


class Overlay:
    """A translucent image; `apply` blends it into planes at even coordinates."""

    __slots__ = ("_planes", "height", "width")

    def __init__(self, rgba: npt.NDArray[np.uint8]) -> None:
        """`rgba` has shape (height, width, 4), even width and height, and straight (not premultiplied) alpha."""
        self.height, self.width = rgba.shape[:2]
        alpha = rgba[..., 3].astype(np.float32) / np.float32(255)
        # Transparent pixels become black, which is luma 16 and chroma 128. The loop below subtracts it.
        coloured = rgb_planes(rgba[..., :3].astype(np.float32) * alpha[..., None])
        half = alpha.reshape(self.height // 2, 2, self.width // 2, 2).mean(axis=(1, 3))
        self._planes: list[tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]] = []
        for plane, cover, black in zip(coloured, (alpha, half, half), (16, 128, 128), strict=True):
            multiplier = np.rint(256 * (1 - cover)).astype(np.uint16)
            # The weights add up to 256 where the colour is constant; adding 127 rounds.
            addend = np.rint((plane - black) * 256 + black * (256 - multiplier.astype(np.float32)) + 127)
            self._planes.append((multiplier, np.clip(addend, 0, 65535 - 255 * multiplier).astype(np.uint16)))

    def apply(self, planes: tuple[Plane, Plane, Plane], x: int, y: int) -> None:
        """Blends the overlay at (`x`, `y`), clipped to the planes."""
        for index, (plane, (multiplier, addend)) in enumerate(zip(planes, self._planes, strict=True)):
            left, top = (x, y) if not index else (x // 2, y // 2)
            target = plane[top : top + multiplier.shape[0], left : left + multiplier.shape[1]]
            rows, columns = target.shape
            mixed = np.multiply(target, multiplier[:rows, :columns], dtype=np.uint16)
            mixed += addend[:rows, :columns]
            mixed >>= 8
            target[:] = mixed


@lru_cache(maxsize=256)
def label(text: str, muted: bool, tile_width: int, tile_height: int) -> Overlay | None:
    """A dark pill with the name and, if `muted`, a crossed-out microphone; None if there is nothing to show."""
    size = max(11, min(32, tile_height // 13))
    name = visible(text)
    if not name and not muted:
        return None
    padding = size // 2
    mark = size + padding // 2 if muted else 0
    room = tile_width - 4 * padding - mark
    runs = _fitting(name, size, room)
    width = mark + 2 * padding + sum(_length(font, part) for part, font in runs)
    width, height = min(tile_width, round(width)) + 1 & ~1, min(tile_height, round(size * 1.7)) + 1 & ~1
    image = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((0, 0, width - 1, height - 1), height // 4, _PILL)
    if muted:
        _draw_microphone(image, padding, (height - size) // 2, size)
    x: float = padding + mark
    for part, font in runs:
        draw.text((x, height / 2), part, _WHITE, font, anchor="lm" if _scales(font) else None)
        x += _length(font, part)
    return Overlay(np.asarray(image))


@lru_cache(maxsize=48)
def avatar(name: str, width: int, height: int) -> Picture:
    """Initials on a colour derived from the name. `width` and `height` are even."""
    shade = _AVATARS[sum(name.encode("utf-8", "replace")) % len(_AVATARS)]
    red, green, blue = (channel // 3 + 10 for channel in shade)
    radius = min(width, height) * 0.28
    # Pillow draws only the disc and its letters. The rest is filled with one colour, which is faster; this runs in a tick.
    side = max(2, min(width, height, 2 * round(radius * 1.1)) & ~1)
    image = Image.new("RGB", (side, side), (red, green, blue))
    finer = 4 if radius < 64 else 2
    disc = Image.new("L", (max(1, round(2 * finer * radius)),) * 2, 0)
    ImageDraw.Draw(disc).ellipse((0, 0, disc.width - 1, disc.height - 1), 255)
    disc = disc.resize((max(1, round(2 * radius)),) * 2, Image.Resampling.BOX)
    image.paste(shade, (round(side / 2 - radius), round(side / 2 - radius)), disc)
    letters = initials(name)
    if letters:
        font = font_of(letters[0], max(8, round(radius * 0.85)))
        anchor = "mm" if _scales(font) else None
        ImageDraw.Draw(image).text((side / 2, side / 2), letters, (255, 255, 255), font, anchor=anchor)
    whole = np.empty((height * 3 // 2, width), np.uint8)
    patch = Picture.of_rgb(np.asarray(image))
    x, y = (width - side) // 2 & ~1, (height - side) // 2 & ~1
    parts = zip(planes_of(whole), (patch.y, patch.u, patch.v), colour_of((red, green, blue)), strict=True)
    for index, (plane, small, colour) in enumerate(parts):
        plane[:] = colour
        left, top = (x, y) if not index else (x // 2, y // 2)
        plane[top : top + small.shape[0], left : left + small.shape[1]] = small
    return Picture.of_array(whole)


def initials(name: str) -> str:
    """Initials of the first and the last word if both are Latin, Greek or Cyrillic; otherwise the first character."""
    words = [word for word in visible(name).split() if word[0].isalnum()]
    if not words:
        return ""
    first = words[0][0].upper()
    if len(words) < 2 or _script(words[-1][0]) != _script(first) or _script(first) not in _PLAIN:
        return first
    return first + words[-1][0].upper()


def visible(text: str) -> str:
    """The drawable part of a text: no control characters or emoji, at most two combining marks per character, and
    whitespace collapsed.
    """
    found: list[str] = []
    marks = 0
    for sign in unicodedata.normalize("NFC", text[: 4 * LABEL_LIMIT]):
        category = unicodedata.category(sign)
        if category in _INVISIBLE and sign not in "\u200c\u200d":
            found.append(" " if category in ("Zl", "Zp", "Cc") else "")
            continue
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks <= 2:
            found.append(sign)
    return " ".join("".join(found).split())[:LABEL_LIMIT]


def _fitting(text: str, size: int, room: int) -> list[tuple[str, _Font]]:
    """Runs of the text in drawing order, shortened with an ellipsis to a width of `room` pixels."""
    for length in range(len(text), 0, -1):
        shown = text if length == len(text) else text[:length].rstrip() + "…"
        runs = list(_runs(shown, size))
        if sum(_length(font, part) for part, font in runs) <= room:
            return runs
    return []


def _runs(text: str, size: int) -> Iterator[tuple[str, _Font]]:
    """Splits a text into runs of one font each. If the text starts in a right-to-left script, the runs are reversed."""
    parts: list[list[str]] = []
    script = ""
    for sign in text:
        own = _script(sign)
        if not parts or (own and script and own != script):
            parts.append([])
            script = own
        script = script or own
        parts[-1].append(sign)
    found = ["".join(part) for part in parts]
    first = next((sign for sign in text if unicodedata.bidirectional(sign) in ("L", "R", "AL")), "")
    if first and unicodedata.bidirectional(first) != "L":
        found.reverse()
    for part in found:
        yield part, font_of(next((sign for sign in part if _script(sign)), "a"), size)


@lru_cache(maxsize=4096)
def _script(sign: str) -> str:
    """Script of a character (LATIN, ARABIC, CJK …); empty for digits, spaces, punctuation and marks."""
    if not sign.isalpha():
        return ""
    script = unicodedata.name(sign, "LATIN").split()[0].split("-")[0]
    return "CJK" if script in _CJK else script


@lru_cache(maxsize=128)
def font_of(sign: str, size: int) -> _Font:
    """A font for the script of the character."""
    script = _script(sign) or "LATIN"
    for name in _file_names(script):
        path = _fonts().get(name)
        if path is not None:
            try:
                return ImageFont.truetype(path, size)
            except OSError:
                continue
    return ImageFont.load_default(size)


def _file_names(script: str) -> tuple[str, ...]:
    if script == "CJK":
        return ("NotoSansCJK-Bold.ttc", "NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf")
    if script in _PLAIN:
        return (
            "NotoSans-SemiBold.ttf",
            "NotoSans-Bold.ttf",
            "NotoSans-Regular.ttf",
            "DejaVuSans-Bold.ttf",
            "DejaVuSans.ttf",
        )
    own = script.title()
    return (f"NotoSans{own}-Bold.ttf", f"NotoSans{own}-Regular.ttf", "DejaVuSans.ttf", "NotoSans-Regular.ttf")


@lru_cache(maxsize=1)
def _fonts() -> dict[str, str]:
    """Maps file name to path for all installed Noto Sans and DejaVu Sans fonts."""
    found: dict[str, str] = {}
    for directory in FONT_DIRECTORIES:
        for pattern in ("NotoSans*", "DejaVuSans*"):
            found.update({path.name: str(path) for path in directory.rglob(pattern)})
    return found


def _scales(font: _Font) -> bool:
    """Whether it is an outline font, which supports anchors."""
    return isinstance(font, ImageFont.FreeTypeFont)


def _length(font: _Font, text: str) -> float:
    return font.getlength(text)


def _draw_microphone(image: Image.Image, x: int, y: int, size: int) -> None:
    """Draws a crossed-out microphone at four times its size and scales it down."""
    large = 4 * size
    mark = Image.new("RGBA", (large, large), (*_RED[:3], 0))
    draw = ImageDraw.Draw(mark)
    line = max(1, large // 11)
    draw.rounded_rectangle((large * 0.37, large * 0.08, large * 0.63, large * 0.58), large * 0.13, _RED)
    draw.arc((large * 0.24, large * 0.24, large * 0.76, large * 0.74), 0, 180, _RED, line)
    draw.line((large * 0.5, large * 0.74, large * 0.5, large * 0.92), _RED, line)
    draw.line((large * 0.14, large * 0.1, large * 0.86, large * 0.9), _RED, line)
    small = mark.resize((size, size), Image.Resampling.BOX)
    image.paste(small, (x, y), small.getchannel("A"))
