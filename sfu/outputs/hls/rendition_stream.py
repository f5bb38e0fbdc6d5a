"""One rendition of a programme: its segments and parts, and the media playlists that list them.

Segments are numbered here, not by the process that made them: when that one starts again the numbers go on, behind a
discontinuity. RFC 8216bis 6.2.1 (a playlist only grows at its end and shrinks at its beginning), 6.2.5.2. Pure.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from sfu.outputs.hls import playlist
from sfu.outputs.hls.storage import Storage
from sfu.outputs.segmenter import PARTS_PER_SEGMENT, Part
from sfu.outputs.settings import Rendition

GRACE = 10.0
"""Seconds that a segment can still be fetched after the playlist forgot it (6.2.2)."""
VIDEO_TIMESCALE = 90_000

KEPT = 86_400
"""Segments of a programme, whatever may be replayed: a day. Each has a row in the playlist, and so some hundred bytes here."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long what stays, in seconds of programme."""

    dvr: float
    "In the live playlist."
    memory: float
    keep: bool
    "Everything stays in the storage, for a replay."


@dataclass(slots=True)
class Segment:
    msn: int
    starts_at: float
    "Seconds since 1970."
    init: int
    discontinuity: bool
    duration: float = 0.0
    size: int = 0
    "Bytes, once it is complete."
    complete: bool = False
    parts: list[Part] = field(default_factory=list)
    "Empty when it is too old for the memory."
    text: str = ""
    "Its lines in a playlist that does not list parts."

    def head(self, rendition: str, *, new_map: bool, program_date_time: bool = True) -> str:
        return (
            (playlist.discontinuity() if self.discontinuity else "")
            + (playlist.map_(f"{rendition}/init{self.init}.mp4") if new_map else "")
            + (playlist.program_date_time(self.starts_at) if program_date_time else "")
        )


class RenditionStream:
    """Parts in; playlists, parts and segments out. `waiting` is called after every change and forgotten."""

    def __init__(self, rendition: Rendition, limits: Limits, storage: Storage) -> None:
        self.rendition = rendition
        self.name = rendition.name
        self.inits: list[bytes] = []
        self.waiting: set[Callable[[], None]] = set()
        self.ended = False
        self.version = 0
        "Changes with every playlist."
        self.last = (-1, -1)
        "Media sequence number and part index of the newest part, which every viewer asks for some times a second."
        self._limits = limits
        self._storage = storage
        self._segments: list[Segment] = []
        self._first = 0
        "Place of the first one that is listed."
        self._in_memory = 0
        "Place of the first one whose parts are held."
        self._removed_discontinuities = 0
        self._epoch = 0.0
        self._source_msn = -1
        self._broken = False
        self._restored = False
        "Parts were told of that are lost: their numbers come again, under other names, which an own init gives them."
        self._next_msn = 0
        self._cache: dict[bool, bytes] = {}
        self._rates: tuple[int, int, int] | None = None
        "For the playlist of this version."

    # What comes in.

    def interrupt(self) -> Segment | None:
        """The encoder is gone: the segment that it left unfinished, if any, is complete as it is."""
        completed = self._close_segment()
        self._changed()
        return completed

    def begin(self, init: bytes, epoch: float) -> None:
        """Media of one encoder follow, whose programme time 0 was at `epoch`, seconds since 1970."""
        self._close_segment()
        self._broken = bool(self._segments)
        self._epoch = epoch
        self._source_msn = -1
        if not self.inits or self.inits[-1] != init or self._restored:
            self.inits.append(init)
            self._storage.write(self._init_name(len(self.inits) - 1), init)
            self._restored = False

    def add(self, part: Part) -> Segment | None:
        """The segment that it completes, if it does. Raises ValueError before `begin` and after `end`."""
        if not self.inits or self.ended:
            raise ValueError("a stream takes parts between its initialization segment and its end")
        completed = None
        last = self._segments[-1] if self._segments else None
        if last is None or last.complete or part.msn != self._source_msn:
            completed = self._close_segment()
            starts_at = self._epoch + part.pts / VIDEO_TIMESCALE
            last = Segment(self._next_msn, starts_at, len(self.inits) - 1, self._broken)
            self._segments.append(last)
            self._next_msn += 1
            self._broken = False
            self._source_msn = part.msn
        last.parts.append(part)
        last.duration += part.duration
        if len(last.parts) >= PARTS_PER_SEGMENT:
            completed = self._close_segment()
        self._forget()
        self._changed()
        return completed

    def end(self) -> Segment | None:
        """Nothing follows any more; everybody who waits is answered. The segment that this completes, if any."""
        completed = self._close_segment()
        self.ended = True
        self._changed()
        return completed

    def restore(self, segments: Iterable[Segment], inits: Iterable[bytes]) -> None:
        """What an earlier process left in the storage; what comes next comes behind a discontinuity."""
        self.inits = list(inits)
        self._segments = list(segments)
        for place, segment in enumerate(self._segments):
            segment.complete = True
            segment.text = self._text(segment, place)
        self._next_msn = self._segments[-1].msn + 1 if self._segments else 0
        self._in_memory = len(self._segments)
        self._broken = self._restored = bool(self._segments)
        self._forget()
        self._changed()

    # What goes out.

    @property
    def next(self) -> tuple[int, int]:
        """The part that will come, as far as one can know."""
        msn, index = self.last
        return (msn, index + 1) if self._segments and not self._segments[-1].complete else (msn + 1, 0)

    def has(self, msn: int, part: int | None) -> bool:
        """Whether a playlist that is asked for with these directives may be sent (6.2.5.2)."""
        if self.ended:
            return True
        if part is not None:
            # A part past its segment's end is the first one of the next segment.
            return self.last >= (msn, part)
        segment = self._segments[-1] if self._segments else None
        return segment is not None and (segment.msn > msn or (segment.msn == msn and segment.complete))

    def part(self, msn: int, index: int, init: int = 0) -> bytes | None:
        segment = self._find(msn)
        if segment is None or segment.init != init or index >= len(segment.parts):
            return None
        return segment.parts[index].data

    def segment(self, msn: int) -> bytes | str | None:
        """Its bytes, or the storage's name of them; None when it is not there or not complete."""
        segment = self._find(msn)
        if segment is None or not segment.complete:
            return None
        return b"".join(part.data for part in segment.parts) or self._segment_name(msn)

    @property
    def first_listed(self) -> int:
        """Media sequence number of the live playlist."""
        return self._segments[self._first].msn if self._segments else self._next_msn

    @property
    def segments(self) -> list[Segment]:
        """All that can be fetched, oldest first."""
        return self._segments

    def playlist(self, reports: Iterable["RenditionStream"], *, skip: bool) -> bytes:
        """The live media playlist, or with `skip` its update (6.2.5.1), if there is anything to skip."""
        cached = self._cache.get(skip)
        if cached is None:
            cached = self._cache[skip] = "".join(self._live(reports, skip)).encode()
        return cached

    def replay(self) -> bytes:
        """Everything, as video on demand."""
        longest = max((segment.duration for segment in self._segments), default=1.0)
        begin = (
            playlist.header(),
            playlist.independent_segments(),
            playlist.playlist_type_vod(),
            playlist.target_duration(max(playlist.TARGET_DURATION, round(longest))),
            playlist.media_sequence(self._segments[0].msn if self._segments else 0),
        )
        return "".join([*begin, *(segment.text for segment in self._segments), playlist.end_list()]).encode()

    def rates(self) -> tuple[int, int]:
        """Highest and average bits per second of the segments there are. Milliseconds of work after an hour: remembered."""
        if self._rates is None or self._rates[0] != self.version:
            self._rates = (self.version, *self._measured_rates())
        return self._rates[1:]

    def _measured_rates(self) -> tuple[int, int]:
        whole = [segment for segment in self._segments if segment.complete and segment.duration > 0 and segment.size]
        if not whole:
            return 0, 0
        highest = max(segment.size / segment.duration for segment in whole)
        return round(8 * highest), round(8 * sum(one.size for one in whole) / sum(one.duration for one in whole))

    def _live(self, reports: Iterable["RenditionStream"], skip: bool) -> Iterator[str]:
        listed = self._segments[self._first :]
        yield playlist.header()
        yield playlist.independent_segments()
        yield playlist.target_duration()
        yield playlist.server_control()
        yield playlist.part_inf()
        yield playlist.media_sequence(self.first_listed)
        yield playlist.discontinuity_sequence(self._removed_discontinuities)
        skipped = self._skippable(listed) if skip else 0
        if skipped:
            yield playlist.skip(skipped)
        with_parts = max(0, sum(segment.complete for segment in listed) - playlist.PART_SEGMENTS)
        for place, segment in enumerate(listed[skipped:], skipped):
            if place < with_parts or not segment.parts:
                # The first one listed names its map, whoever was first before.
                yield segment.text if place else self._text(segment, self._first, new_map=True)
            else:
                yield self._with_parts(segment, self._first + place, new_map=place == 0)
        if self.ended:
            yield playlist.end_list()
            return
        yield playlist.preload_hint(self._part_uri(*self.next, len(self.inits) - 1))
        for other in reports:
            if other is not self and other.last[0] >= 0:
                yield playlist.rendition_report(f"{other.name}.m3u8", *other.last)

    def _skippable(self, listed: list[Segment]) -> int:
        """Segments that end earlier than CAN-SKIP-UNTIL before the playlist's end."""
        left, count = sum(segment.duration for segment in listed), 0
        for segment in listed:
            left -= segment.duration
            if left < playlist.CAN_SKIP_UNTIL:
                break
            count += 1
        return count

    def _with_parts(self, segment: Segment, place: int, *, new_map: bool) -> str:
        lines = [segment.head(self.name, new_map=new_map or self._new_map(segment, place))]
        lines += (
            playlist.part(part.duration, self._part_uri(segment.msn, index, segment.init), independent=part.independent)
            for index, part in enumerate(segment.parts)
        )
        if segment.complete:
            lines.append(playlist.extinf(segment.duration, self._segment_name(segment.msn)))
        return "".join(lines)

    def _text(self, segment: Segment, place: int, *, new_map: bool = False) -> str:
        head = segment.head(self.name, new_map=new_map or self._new_map(segment, place))
        return head + playlist.extinf(segment.duration, self._segment_name(segment.msn))

    def _new_map(self, segment: Segment, place: int) -> bool:
        return place == 0 or self._segments[place - 1].init != segment.init

    def _part_uri(self, msn: int, index: int, init: int) -> str:
        return f"{self.name}/{msn}.{index}{f'.{init}' if init else ''}.m4s"

    def _segment_name(self, msn: int) -> str:
        return f"{self.name}/{msn}.m4s"

    def _init_name(self, number: int) -> str:
        return f"{self.name}/init{number}.mp4"

    # What goes away.

    def _find(self, msn: int) -> Segment | None:
        first = self._segments[0].msn if self._segments else 0
        return self._segments[msn - first] if 0 <= msn - first < len(self._segments) else None

    def _close_segment(self) -> Segment | None:
        segment = self._segments[-1] if self._segments else None
        if segment is None or segment.complete:
            return None
        segment.complete = True
        data = b"".join(part.data for part in segment.parts)
        segment.size = len(data)
        segment.text = self._text(segment, len(self._segments) - 1)
        self._storage.write(self._segment_name(segment.msn), data)
        return segment

    def _forget(self) -> None:
        if not self._segments:
            return
        newest = self._segments[-1]
        end = newest.starts_at + newest.duration
        while self._age(self._first, end) > self._limits.dvr:
            self._forget_parts(self._segments[self._first])
            self._removed_discontinuities += self._segments[self._first].discontinuity
            self._first += 1
        while self._age(self._in_memory, end) > self._limits.memory:
            self._drop_parts()
        while self._first and (
            len(self._segments) > KEPT or (not self._limits.keep and self._age(0, end) > self._limits.dvr + GRACE)
        ):
            gone = self._segments.pop(0)
            self._storage.remove(self._segment_name(gone.msn))
            self._first -= 1
            self._in_memory = max(0, self._in_memory - 1)

    def _forget_parts(self, segment: Segment) -> None:
        """Also if they could not be stored: a full disk fills no memory. The replay then says that they are missing."""
        if segment.parts and self._storage.path(self._segment_name(segment.msn)) is None:
            entry = playlist.extinf(segment.duration, self._segment_name(segment.msn))
            segment.text = segment.text.removesuffix(entry) + playlist.gap() + entry
        segment.parts = []

    def release_memory(self) -> None:
        """Nobody watches the end any more: what is stored is held no longer."""
        while self._in_memory < len(self._segments):
            self._drop_parts()

    def _drop_parts(self) -> None:
        segment = self._segments[self._in_memory]
        if self._storage.path(self._segment_name(segment.msn)) is not None:
            segment.parts = []
        self._in_memory += 1

    def _age(self, place: int, end: float) -> float:
        """Seconds from a segment's end to the programme's; 0 for what is not complete."""
        if place >= len(self._segments) or not self._segments[place].complete:
            return 0.0
        segment = self._segments[place]
        return end - segment.starts_at - segment.duration

    def _changed(self) -> None:
        self.version += 1
        self._cache.clear()
        if self._segments:
            newest = self._segments[-1]
            self.last = (newest.msn, max(len(newest.parts), 1) - 1)
        waiting, self.waiting = self.waiting, set()
        for wake in waiting:
            wake()
