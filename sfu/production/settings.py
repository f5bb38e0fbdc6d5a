"""Settings of productions: what a programme looks like, what its worker may take, and where recordings lie."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from sfu.errors import ConfigurationError
from sfu.production.protocol import Rendition

Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    max_productions: Annotated[int, Meta(ge=0)] = 4
    "Rooms that are composed at once, each in a process of its own; 0 turns the feature off."
    renditions: tuple[str, ...] = ("1280x720@1500000", "854x480@700000")
    "Pictures of the programme, the largest first: `WIDTHxHEIGHT@BITS_PER_SECOND`. The first is recorded and pushed."
    audio_bit_rate: Annotated[int, Meta(ge=16_000, le=512_000)] = 128_000
    "Bits per second of the programme's sound (AAC)."
    decoders: Annotated[int, Meta(ge=1, le=16)] = 2
    "Threads that decode what participants send."
    directory: str = "recordings"
    "Where programmes are recorded, one directory each."
    dvr: Annotated[float, Meta(ge=10)] = 7200.0
    "Seconds that viewers of a live programme can go back."
    destinations: Annotated[int, Meta(ge=0, le=64)] = 8
    "RTMP destinations of one programme."
    rtmp_private: bool = False
    "Whether RTMP may be pushed to private and loopback addresses; if not, nobody reaches the inner network with it."
    hooks: tuple[str, ...] = ()
    "Names of `sfu.mixer` plug-ins that every programme loads."
    memory: Annotated[int, Meta(ge=268_435_456)] = 4_294_967_296
    "Bytes of address space that a worker may take."
    nice: Annotated[int, Meta(ge=0, le=19)] = 5
    "How far a worker stands back behind the server for processor time."
    heartbeat_timeout: Seconds = 4.0
    "Seconds without a sign of life after which a worker is replaced."
    linger: Annotated[float, Meta(ge=0)] = 3600.0
    "Seconds that a live programme that ended can still be watched from its beginning."

    def __post_init__(self) -> None:
        if not self.renditions:
            raise ConfigurationError("production.renditions is empty: a programme has at least one picture.")
        self.ladder()

    def ladder(self) -> tuple[Rendition, ...]:
        """The renditions. Raises ConfigurationError for one that is not written as it should be."""
        return tuple(rendition(text) for text in self.renditions)


def rendition(text: str) -> Rendition:
    """`1280x720@1500000`. Raises ConfigurationError."""
    size, _, rate = text.partition("@")
    width, _, height = size.partition("x")
    if not (width.isdigit() and height.isdigit() and rate.isdigit()):
        raise ConfigurationError(f"production.renditions: write {text!r} as WIDTHxHEIGHT@BITS_PER_SECOND.")
    found = Rendition(name=f"{height}p", width=int(width), height=int(height), bit_rate=int(rate))
    if not (64 <= found.width <= 3840 and 36 <= found.height <= 2160) or found.width % 2 or found.height % 2:
        raise ConfigurationError(f"production.renditions: {text!r} needs even sides, at most 3840 by 2160.")
    if not 50_000 <= found.bit_rate <= 50_000_000:
        raise ConfigurationError(f"production.renditions: {text!r} needs 50,000 to 50,000,000 bits per second.")
    return found
