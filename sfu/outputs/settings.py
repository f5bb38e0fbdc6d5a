"""Settings of the mix: its renditions and HLS."""

import re
from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from sfu.errors import ConfigurationError

_RENDITION = re.compile(r"([1-9]\d{1,3})x([1-9]\d{1,3})@([1-9]\d{1,5})")


@dataclass(frozen=True, slots=True)
class Rendition:
    """One size and bit rate in which the mix is encoded."""

    name: str
    width: int
    height: int
    bit_rate: int

    @classmethod
    def parse(cls, text: str) -> "Rendition":
        """Parses `WIDTHxHEIGHT@KBPS`; `1280x720@1500` is named 720p. Raises ConfigurationError."""
        found = _RENDITION.fullmatch(text.strip())
        width, height, rate = (int(word) for word in found.groups()) if found else (0, 0, 0)
        if not rate or width % 2 or height % 2 or not (width <= 4096 and height <= 4096):
            raise ConfigurationError(
                f"outputs.renditions: {text!r} is not a rendition; use even width and height and kbit/s, as in 1280x720@1500."
            )
        return cls(f"{height}p", width, height, rate * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hls:
    public: tuple[str, ...] = ()
    "Rooms whose live stream needs no token; `*`: every room."
    origins: tuple[str, ...] = ()
    "Further origins of web pages and apps that may play live streams; same syntax as `http.allowed_origins`."
    dvr: Annotated[float, Meta(ge=6, le=86_400)] = 600.0
    "Seconds that viewers can seek back during a live stream."
    memory: Annotated[float, Meta(ge=6)] = 60.0
    "Seconds of a live stream kept in memory; older segments are on disk only."
    replay: Annotated[float, Meta(ge=0)] = 86_400.0
    "Seconds that a live stream can be replayed after its end; 0: no replay, and its files are deleted at the end."
    directory: str = ""
    "Directory of HLS segments; empty: `aiosfu-hls` in the system's temporary directory."
    playback_token_lifetime: Annotated[float, Meta(ge=60)] = 21_600.0
    "Lifetime of a viewer's playback URL in seconds; it also ends when the token expires for which it was issued."


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    renditions: tuple[str, ...] = ("1920x1080@4000", "1280x720@1500", "848x480@700")
    "Video sizes and bit rates as WIDTHxHEIGHT@KBPS. An egress job may use a subset."
    hls: Hls = field(default_factory=Hls)
    "HLS live streams."

    def __post_init__(self) -> None:
        if len({one.name for one in self.ladder}) != len(self.renditions) or not self.renditions:
            raise ConfigurationError("outputs.renditions needs at least one entry, and heights must be unique.")

    @property
    def ladder(self) -> tuple[Rendition, ...]:
        return tuple(Rendition.parse(text) for text in self.renditions)
