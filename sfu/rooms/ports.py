"""The interface between everything that produces media and everything that consumes it.

A browser, a WHIP encoder, an RTMP ingest, an egress job, a recorder and a relay to another node are sources and sinks.
Rooms know nothing else about them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from sfu.forwarding.decision_log import Cause
from sfu.forwarding.layers import Size
from sfu.forwarding.track import Track
from sfu.ids import TrackId
from sfu.rooms.media_stats import QualityLimitation

FOCUS_PRIORITY: Final = 255
"""Priority that a client gives the track it shows largest. The track is never withheld."""


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


class MediaConsumer(Protocol):
    """One sink that receives a source, as the source uses it."""

    def reselect(self, track: TrackId, now: float) -> None:
        """The source's encodings changed: selects the layer again."""

    def settings_of(self, track: TrackId) -> SubscriptionSettings | None:
        """None: not subscribed any more."""

    def quality_limitation_changed(self, track: TrackId, cause: Cause, now: float) -> None:
        """The source's publisher limits the quality because of `cause`; NONE: not any more."""


class MediaSource(Protocol):
    """The media of one publication, whatever produces it: a browser, an encoder, an egress job or another node.

    Its packets pass `track` of the engine, which keeps the simulcast encodings, repairs losses and merges keyframe requests.
    """

    @property
    def kind(self) -> Literal["audio", "video"]: ...

    @property
    def codec(self) -> str: ...

    @property
    def track(self) -> Track: ...

    @property
    def stream(self) -> str:
        """Tracks of one stream are played in sync: camera with microphone, screen with its sound."""

    @property
    def screen(self) -> bool:
        """Takes precedence over cameras when the bandwidth is short."""

    @property
    def declared(self) -> Mapping[str, Size]:
        """Declared layer sizes by rid, lowest first."""

    @property
    def limitation(self) -> QualityLimitation:
        """Why the publisher limits the quality."""

    def max_height(self, sent: int) -> int:
        """Height of the largest layer, paused ones included. `sent`: height of the largest active layer."""

    def add_consumer(self, name: TrackId, consumer: MediaConsumer) -> None: ...

    def remove_consumer(self, name: TrackId, consumer: MediaConsumer) -> None:
        """Idempotent."""

    def touch(self) -> None:
        """Subscription settings of a consumer changed: layers without subscribers may pause."""

    def set_muted(self, muted: bool) -> None:
        """Stops forwarding packets at the server, or resumes it, whatever the publisher sends."""

    def take_level(self) -> int | None:
        """Loudest audio level since the last call, −dBov (0 loudest … 127 silence, RFC 6464); None: no packet arrived."""


class MediaSink(Protocol):
    """Receives publications. Calls are idempotent; media follows as soon as the remote end is ready."""

    def subscribe(self, track: TrackId, source: MediaSource, settings: SubscriptionSettings) -> None: ...

    def update(self, track: TrackId, settings: SubscriptionSettings) -> None: ...

    def unsubscribe(self, track: TrackId) -> None: ...
