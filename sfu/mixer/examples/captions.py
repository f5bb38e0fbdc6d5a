"""Example plug-in: live captions on the mix, from a speech recognition callback.

    captions = Captions({"seconds": "5"}, transcribe=lambda source, sound: recogniser.feed(source, sound))

`transcribe` receives 20 ms of a participant's sound at a time, and returns a text when it has one. Alternatively, a
program calls `caption` with its own texts.
"""

import pkgutil
import threading
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from sfu.mixer.labels import font_of, visible
from sfu.mixer.plugins import I420, MIX, Overlay, Plugin, PluginContext, PluginInputs, Sound

_BACK: Final = (10, 10, 12, 190)
_WHITE: Final = (255, 255, 255, 255)
_LINE_LIMIT: Final = 2

Transcribe = Callable[[str, Sound], str | None]


class Captions(Plugin):
    """Options: `seconds` that a caption stays (4), `language` of the caption track (en), and `callback`, a
    `package.module:function` that is used as `transcribe`.
    """

    inputs = PluginInputs(sound=True, mix_pictures=True)

    def __init__(self, options: Mapping[str, str], transcribe: Transcribe | None = None) -> None:
        self._seconds = float(options.get("seconds", "4"))
        self._language = options.get("language", "en")
        callback = options.get("callback")
        self._transcribe: Transcribe | None = pkgutil.resolve_name(callback) if callback else transcribe
        self._context: PluginContext | None = None
        self._lock = threading.Lock()
        self._text = ""
        self._shown = ""
        self._until = 0.0
        self._now = 0.0
        self._size = (0, 0)

    def start(self, context: PluginContext) -> None:
        self._context = context

    def caption(self, text: str) -> None:
        """Shows a text from the next picture on. May be called from any thread."""
        with self._lock:
            self._text = text
            start, self._until = self._now, self._now + self._seconds
        if self._context is not None:
            self._context.caption(text, start, start + self._seconds, self._language)

    def sound(self, source: str, sound: Sound, at: float) -> Sound | None:
        if source != MIX and self._transcribe is not None:
            text = self._transcribe(source, sound)
            if text:
                self.caption(text)
        return None

    def picture(self, source: str, picture: I420, at: float) -> I420 | None:
        """Updates the caption. The pictures of the mix provide the time and the size of the canvas."""
        with self._lock:
            self._now = at
            text = self._text if at < self._until else ""
        size = picture.shape[1], picture.shape[0] * 2 // 3
        if (text, size) != (self._shown, self._size) and self._context is not None:
            self._shown, self._size = text, size
            overlay = draw(text, *size)
            if overlay is None:
                self._context.show("caption", None)
            else:
                x = (size[0] - overlay.width) // 2 & ~1
                self._context.show("caption", overlay, x, (size[1] - overlay.height - size[1] // 20) & ~1)
        return None


def draw(text: str, width: int, height: int) -> Overlay | None:
    """Draws the last lines that fit, white on dark; None if there is nothing to show."""
    size = max(12, height // 22)
    lines = _lines(text, size, width * 4 // 5)
    if not lines:
        return None
    padding = size // 2
    step = round(size * 1.35)
    box_width = max(round(sum(font_of(word[0], size).getlength(word + " ") for word in line)) for line in lines)
    box = min(width, box_width + 2 * padding) & ~1, min(height, len(lines) * step + padding) & ~1
    image = Image.new("RGBA", box, (0, 0, 0, 0))
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle((0, 0, box[0] - 1, box[1] - 1), size // 3, _BACK)
    for number, line in enumerate(lines):
        x: float = padding
        for word in line:
            font = font_of(word[0], size)
            pen.text((x, padding // 2 + number * step), word, _WHITE, font)
            x += font.getlength(word + " ")
    return Overlay(np.asarray(image))


def _lines(text: str, size: int, room: int) -> list[list[str]]:
    lines: list[list[str]] = [[]]
    used = 0.0
    for start in range(0, min(len(text), 400), 50):
        for word in visible(text[start : start + 50]).split():
            length = font_of(word[0], size).getlength(word + " ")
            if lines[-1] and used + length > room:
                lines.append([])
                used = 0.0
            lines[-1].append(word)
            used += length
    return [line for line in lines if line][-_LINE_LIMIT:]
