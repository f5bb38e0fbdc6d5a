"""A MediaSource without an engine, for tests of rooms and signalling."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sfu.forwarding.layers import Size
from sfu.forwarding.track import Track
from sfu.ids import TrackId
from sfu.rooms.media_stats import QualityLimitation
from sfu.rooms.ports import MediaConsumer


@dataclass(eq=False)
class FakeSource:
    kind: Literal["audio", "video"] = "video"
    codec: str = "VP8"
    muted: bool = False
    level: int | None = None
    stream: str = "stream"
    screen: bool = False
    declared: Mapping[str, Size] = field(default_factory=dict)
    limitation: QualityLimitation = "none"
    consumers: list[tuple[TrackId, MediaConsumer]] = field(default_factory=list)

    @property
    def track(self) -> Track:
        raise AssertionError("a fake source has no engine")

    def max_height(self, sent: int) -> int:
        return sent

    def add_consumer(self, name: TrackId, consumer: MediaConsumer) -> None:
        self.consumers.append((name, consumer))

    def remove_consumer(self, name: TrackId, consumer: MediaConsumer) -> None:
        if (name, consumer) in self.consumers:
            self.consumers.remove((name, consumer))

    def touch(self) -> None: ...

    def set_muted(self, muted: bool) -> None:
        self.muted = muted

    def take_level(self) -> int | None:
        return self.level
