"""The interface between everything that produces media and everything that consumes it.

A browser, a WHIP encoder, an RTMP ingest, an egress job, a recorder and a relay to another node are sources and sinks.
Rooms know nothing else about them.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from sfu.ids import TrackId


@dataclass(frozen=True, slots=True)
class SubscriptionSettings:
    """Settings that a subscriber requests for a track.

    Tile size in pixels (0: no limit), frames per second (0: no limit), priority 0 to 255.
    """

    width: int = 0
    height: int = 0
    fps: float = 0
    priority: int = 128
    paused: bool = False
    withheld: bool = False
    "The room's last-N limit withholds the track. The other settings stay for the time after."

    @property
    def stopped(self) -> bool:
        return self.paused or self.withheld


class MediaSource(Protocol):
    """The media of one publication."""

    kind: Literal["audio", "video"]
    codec: str

    def set_muted(self, muted: bool) -> None:
        """Stops forwarding packets at the server, or resumes it, whatever the publisher sends."""

    def take_level(self) -> int | None:
        """Loudest audio level since the last call, −dBov (0 loudest … 127 silence, RFC 6464); None: no packet arrived."""


class MediaSink(Protocol):
    """Receives publications. Calls are idempotent; media follows as soon as the remote end is ready."""

    def subscribe(self, track: TrackId, source: MediaSource, settings: SubscriptionSettings) -> None: ...

    def update(self, track: TrackId, settings: SubscriptionSettings) -> None: ...

    def unsubscribe(self, track: TrackId) -> None: ...
