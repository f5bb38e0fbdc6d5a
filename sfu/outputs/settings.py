"""What an operator may set of programmes: their renditions, and how they are watched by HLS."""

import re
from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from sfu.errors import ConfigurationError

_RENDITION = re.compile(r"([1-9]\d{1,3})x([1-9]\d{1,3})@([1-9]\d{1,5})")


@dataclass(frozen=True, slots=True)
class Rendition:
    """One size and rate in which a programme is coded."""

    name: str
    width: int
    height: int
    bit_rate: int

    @classmethod
    def parse(cls, words: str) -> "Rendition":
        """`1280x720@1500`, kbit/s, is called 720p. Raises ConfigurationError."""
        found = _RENDITION.fullmatch(words.strip())
        width, height, rate = (int(word) for word in found.groups()) if found else (0, 0, 0)
        if not rate or width % 2 or height % 2 or not (width <= 4096 and height <= 4096):
            raise ConfigurationError(
                f"outputs.renditions: {words!r} is no rendition; write even width and height and kbit/s, as in 1280x720@1500."
            )
        return cls(f"{height}p", width, height, rate * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hls:
    public: tuple[str, ...] = ()
    "Rooms whose programme everybody may watch without a token; `*`: every room."
    origins: tuple[str, ...] = ()
    "Origins of web pages and apps that may play programmes, written as in `http.allowed_origins`; `*` allows all."
    dvr: Annotated[float, Meta(ge=6, le=86_400)] = 600.0
    "Seconds that a viewer can go back while the programme is on air."
    memory: Annotated[float, Meta(ge=6)] = 60.0
    "Seconds of a programme kept in memory; what is older is on disk only."
    replay: Annotated[float, Meta(ge=0)] = 86_400.0
    "Seconds that the whole programme can be watched after its end; 0: not at all, and it leaves nothing on disk."
    directory: str = ""
    "Where programmes lie while they can be watched; empty: `aiosfu-hls` in the system's directory for temporary files."
    pass_lifetime: Annotated[float, Meta(ge=60)] = 21_600.0
    "Seconds that a viewer's address works for which a token was given; a token that ends earlier ends it earlier."


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    renditions: tuple[str, ...] = ("1920x1080@4000", "1280x720@1500", "848x480@700")
    "Sizes and rates of the picture, WIDTHxHEIGHT@KBPS, of which a room may ask for fewer."
    hls: Hls = field(default_factory=Hls)
    "Watching by HLS."

    def __post_init__(self) -> None:
        if len({one.name for one in self.ladder}) != len(self.renditions) or not self.renditions:
            raise ConfigurationError("outputs.renditions: name at least one, and no height twice.")

    @property
    def ladder(self) -> tuple[Rendition, ...]:
        return tuple(Rendition.parse(words) for words in self.renditions)
