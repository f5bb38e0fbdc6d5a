"""The waist: where everything that brings media meets everything that takes it.

A browser, a WHIP encoder, an RTMP push, the mixer, a recorder and a relay to another node are sources and sinks, and
rooms know nothing else of them.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from sfu.ids import TrackId


@dataclass(frozen=True, slots=True)
class SubscriptionSettings:
    """What a subscriber wants of a track: pixels of its tile (0: no limit), frames per second (0: all), priority 0–255."""

    width: int = 0
    height: int = 0
    fps: float = 0
    priority: int = 128
    paused: bool = False
    withheld: bool = False
    "The room's own limit: only so many are sent. The rest stays wished for."

    @property
    def stopped(self) -> bool:
        return self.paused or self.withheld


class MediaSource(Protocol):
    """The media of one publication."""

    kind: Literal["audio", "video"]
    codec: str

    def set_muted(self, muted: bool) -> None:
        """Stops (or lets pass) the packets at the server, whatever the publisher sends."""

    def take_level(self) -> int | None:
        """Loudest audio level since the last call, −dBov (0 loudest … 127 silence, RFC 6464); None: no packet came."""


class MediaSink(Protocol):
    """Takes publications. Calls are idempotent; media follows as soon as the other side is ready."""

    def subscribe(self, track: TrackId, source: MediaSource, settings: SubscriptionSettings) -> None: ...

    def update(self, track: TrackId, settings: SubscriptionSettings) -> None: ...

    def unsubscribe(self, track: TrackId) -> None: ...
