"""The media of a restored publication until its publisher sends again."""

from collections.abc import Mapping
from typing import Literal

from sfu.forwarding.layers import Size
from sfu.forwarding.track import Track
from sfu.ids import TrackId
from sfu.rooms.media_stats import QualityLimitation
from sfu.rooms.ports import MediaConsumer


class UnboundMedia:
    """A MediaSource without a track. Subscriptions keep it away from their sinks."""

    __slots__ = ("codec", "kind")

    screen = False
    stream = ""
    declared: Mapping[str, Size] = {}
    limitation: QualityLimitation = "none"

    def __init__(self, kind: Literal["audio", "video"], codec: str) -> None:
        self.kind: Literal["audio", "video"] = kind
        self.codec = codec

    @property
    def track(self) -> Track:
        raise RuntimeError("the publication has no track yet")

    def max_height(self, sent: int) -> int:
        return sent

    def add_consumer(self, name: TrackId, consumer: MediaConsumer) -> None:
        raise RuntimeError("the publication has no track yet")

    def remove_consumer(self, name: TrackId, consumer: MediaConsumer) -> None:
        pass

    def touch(self) -> None:
        pass

    def set_muted(self, muted: bool) -> None:
        pass

    def take_level(self) -> int | None:
        return None
