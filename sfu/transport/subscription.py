"""One subscription of a browser on its way: what is wished, the m-line it was offered on, and the route that carries it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sfu.forwarding.decision_log import Cause, Diary, Kind
from sfu.forwarding.down_track import Route
from sfu.ids import TrackId
from sfu.rooms.media_stats import Picture
from sfu.rooms.ports import Wish
from sfu.sdp.offer import AcceptedSection, Slot
from sfu.transport.publisher import PublishedTrack

HELD_DOWN: Final = (Cause.BUDGET, Cause.HOLD, Cause.TIER, Cause.SETTLING)
"""Causes whose end is what a better picture is owed to."""
NEWS_AT_ONCE: Final = (Cause.BUDGET, Cause.HOLD, Cause.TIER, Cause.CODEC)
"""Causes of a pause that are worth a word though nothing was there before."""


@dataclass(slots=True)
class Line:
    """One m-line: its slot as offered, and whose track it carries."""

    slot: Slot
    track: TrackId | None = None
    accepted: AcceptedSection | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What a client knows of one of its subscriptions: whether it is paused, why it is no better, and which layer comes."""

    paused: bool
    reason: str = ""
    layer: str = ""
    width: int = 0
    height: int = 0
    cause: Cause = field(default=Cause.WISH, compare=False)
    "The reason exactly: for the diary."
    top_height: int = field(default=0, compare=False)
    "Lines of the largest layer that the publisher sends, or would if anybody had a place for it."


@dataclass(slots=True)
class Outbound:
    """One subscription: the source, the wish, the m-line, and the engine's route once it is accepted."""

    track: TrackId
    source: PublishedTrack
    wish: Wish
    line: Line | None = None
    route: Route | None = None
    told: Told | None = field(default=None)
    "What the client was last told."

    def picture(self) -> Picture | None:
        """None: it is sound, or nothing was decided yet."""
        told = self.told
        if told is None or self.source.kind != "video":
            return None
        return Picture(
            self.track,
            told.paused,
            told.cause,
            told.layer,
            told.width,
            told.height,
            told.top_height,
            self.source.limitation,
        )

    def enter(self, diary: Diary, told: Told, rate: float, now: float) -> None:
        """Writes what `told` changes, if a viewer would notice it. `rate`: bits per second that the path carries."""
        before = self.told
        if self.source.kind != "video":
            return
        if told.paused:
            if before.reason != told.reason if before is not None else told.cause in NEWS_AT_ONCE:
                height = before.height if before is not None else 0
                diary.write(now, Kind.PAUSED, told.cause, track=self.track, before=height, rate=rate)
                return
        elif before is not None:
            if before.paused:
                diary.write(now, Kind.RESUMED, before.cause, track=self.track, after=told.height, rate=rate)
                return
            grown = told.width * told.height - before.width * before.height
            if grown:
                diary.write(
                    now,
                    Kind.LAYER_UP if grown > 0 else Kind.LAYER_DOWN,
                    _rise(before, told) if grown > 0 else _fall(before, told),
                    track=self.track,
                    before=before.height,
                    after=told.height,
                    rate=rate,
                )
                return
        diary.touch()


def _rise(before: Told, after: Told) -> Cause:
    """What held it down until now."""
    if before.layer == after.layer or (before.cause not in HELD_DOWN and before.top_height < after.height):
        return Cause.PUBLISHER
    return before.cause


def _fall(before: Told, after: Told) -> Cause:
    if before.layer == after.layer or after.top_height < before.height:
        return Cause.PUBLISHER  # what was sent is there no more
    return after.cause


Tell = Callable[[Outbound, Told], None]
