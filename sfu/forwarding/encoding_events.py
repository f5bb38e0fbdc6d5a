"""Events of encodings for the driver: it chooses layers again after each one."""

from dataclasses import dataclass

from sfu.forwarding.encoding import Encoding
from sfu.forwarding.media_track import TrackOwner


@dataclass(frozen=True, slots=True)
class EncodingChanged:
    """An encoding was bound, came alive, fell silent, or changed its size: choose layers again."""

    owner: TrackOwner | None
    "The media source of its track, see `Engine.set_owner`."
    rid: str
    alive: bool
    simulcast: bool
    "Whether the track has other encodings."
    first_arrival: float
    "Time when it last came alive."
    width: int
    height: int
    "Size in the last keyframe; zeros if not known."


class EncodingEvents:
    """Collects the encodings that changed; each gets at most one event per `take`, with its state at that time."""

    __slots__ = ("_changed",)

    def __init__(self) -> None:
        self._changed: dict[Encoding, None] = {}
        """In order of their first change."""

    def add(self, encoding: Encoding) -> None:
        self._changed[encoding] = None

    def take(self) -> list[EncodingChanged]:
        """The events since the last call."""
        changed, self._changed = self._changed, {}
        return [
            EncodingChanged(
                encoding.track.owner,
                encoding.rid,
                encoding.alive,
                len(encoding.track.encodings) > 1,
                encoding.first_arrival,
                encoding.width,
                encoding.height,
            )
            for encoding in changed
        ]
