"""One rendition of a live stream: its segments and parts, and the media playlists that list them.

Segments are numbered here, not by the worker: after a worker restart the numbers continue behind a discontinuity. RFC
8216bis 6.2.1 (a playlist grows only at its end and shrinks only at its beginning), 6.2.5.2. Pure.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from sfu.outputs.hls import playlist
from sfu.outputs.hls.storage import Storage
from sfu.outputs.segmenter import PARTS_PER_SEGMENT, Part
from sfu.outputs.settings import Rendition

SEGMENT_REMOVAL_DELAY = 10.0
"""Seconds that a segment stays available after its removal from the playlist (6.2.2)."""
VIDEO_TIMESCALE = 90_000

KEPT = 86_400
"""Maximum segments of a live stream, replay included: one day. Each takes about a hundred bytes for its playlist lines."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long media is kept, in seconds of mix time."""

    dvr: float
    "In the live playlist."
    memory: float
    keep: bool
    "Keep everything in storage for a replay."


@dataclass(slots=True)
class Segment:
    msn: int
    starts_at: float
    "Unix time."
    init: int
    discontinuity: bool
    duration: float = 0.0
    size: int = 0
    "Bytes, once complete."
    complete: bool = False
    parts: list[Part] = field(default_factory=list)
    "Empty if the segment is too old for memory."
    text: str = ""
    "Playlist lines without parts."

    def head(self, rendition: str, *, new_map: bool, program_date_time: bool = True) -> str:
        return (
            (playlist.discontinuity() if self.discontinuity else "")
            + (playlist.map_(f"{rendition}/init{self.init}.mp4") if new_map else "")
            + (playlist.program_date_time(self.starts_at) if program_date_time else "")
        )


class RenditionStream:
    """Takes parts; returns playlists, parts and segments. Callbacks in `waiting` are called once, at the next change."""

    def __init__(self, rendition: Rendition, limits: Limits, storage: Storage) -> None:
        self.rendition = rendition
        self.name = rendition.name
        self.inits: list[bytes] = []
        self.waiting: set[Callable[[], None]] = set()
        self.ended = False
        self.version = 0
        "Changes with every change of the playlist."
        self.last = (-1, -1)
        "Media sequence number and part index of the newest part; every viewer polls it several times per second."
        self._limits = limits
        self._storage = storage
        self._segments: list[Segment] = []
        self._first = 0
        "Index of the first listed segment."
        self._in_memory = 0
        "Index of the first segment whose parts are in memory."
        self._removed_discontinuities = 0
        self._epoch = 0.0
        self._source_msn = -1
        self._discontinuity_pending = False
        self._restored = False
        """After a restore, announced parts are lost and their numbers recur. A new init segment gives them different
        names.
        """
        self._next_msn = 0
        self._cache: dict[bool, bytes] = {}
        self._rates: tuple[int, int, int] | None = None
        "Version, peak and average bit rate."

    # -- input ---------------------------------------------------------------------------------------------------------

    def interrupt(self) -> Segment | None:
        """Closes the unfinished segment of a lost encoder and returns it, if any."""
        completed = self._close_segment()
        self._changed()
        return completed

    def begin(self, init: bytes, epoch: float) -> None:
        """Starts media of an encoder whose mix time 0 is `epoch` (Unix time)."""
        self._close_segment()
        self._discontinuity_pending = bool(self._segments) or self._restored
        self._epoch = epoch
        self._source_msn = -1
        if not self.inits or self.inits[-1] != init or self._restored:
            self.inits.append(init)
            self._storage.write(self._init_name(len(self.inits) - 1), init)
            self._restored = False

    def add(self, part: Part) -> Segment | None:
        """Adds a part. Returns the segment that it completes, if any. Raises ValueError before `begin` and after `end`."""
        if not self.inits or self.ended:
            raise ValueError("parts are accepted only after an initialization segment and before the end")
        completed = None
        last = self._segments[-1] if self._segments else None
        if last is None or last.complete or part.msn != self._source_msn:
            completed = self._close_segment()
            starts_at = self._epoch + part.pts / VIDEO_TIMESCALE
            last = Segment(self._next_msn, starts_at, len(self.inits) - 1, self._discontinuity_pending)
            self._segments.append(last)
            self._next_msn += 1
            self._discontinuity_pending = False
            self._source_msn = part.msn
        last.parts.append(part)
        last.duration += part.duration
        if len(last.parts) >= PARTS_PER_SEGMENT:
            completed = self._close_segment()
        self._expire_segments()
        self._changed()
        return completed

    def end(self) -> Segment | None:
        """Ends the rendition and wakes all waiting requests. Returns the segment that this completes, if any."""
        completed = self._close_segment()
        self.ended = True
        self._changed()
        return completed

    def restore(self, segments: Iterable[Segment], inits: Iterable[bytes]) -> None:
        """Restores the segments of an earlier process. Later media follows behind a discontinuity."""
        self.inits = list(inits)
        self._segments = list(segments)
        for index, segment in enumerate(self._segments):
            segment.complete = True
            segment.text = self._text(segment, index)
        self._next_msn = self._segments[-1].msn + 1 if self._segments else 0
        self._in_memory = len(self._segments)
        self._discontinuity_pending = self._restored = bool(self._segments)
        self._expire_segments()
        self._changed()

    def continue_from(self, msn: int, inits: int, discontinuities: int) -> None:
        """Continues the numbers of another node, whose segments are not here. Call it before `begin`."""
        self.inits = [b""] * inits
        self._next_msn = msn
        self._removed_discontinuities = discontinuities
        self._restored = True

    # -- output --------------------------------------------------------------------------------------------------------

    @property
    def next_msn(self) -> int:
        """Media sequence number of the next segment."""
        return self._next_msn

    @property
    def discontinuities(self) -> int:
        """Number of all discontinuities until now."""
        return self._removed_discontinuities + sum(one.discontinuity for one in self._segments[self._first :])

    @property
    def next(self) -> tuple[int, int]:
        """Expected media sequence number and part index of the next part."""
        msn, index = self.last
        return (msn, index + 1) if self._segments and not self._segments[-1].complete else (msn + 1, 0)

    def has(self, msn: int, part: int | None) -> bool:
        """Whether a blocking playlist request with these directives can be answered (6.2.5.2)."""
        if self.ended:
            return True
        if part is not None:
            # A part index past the end of its segment means the first part of the next segment.
            return self.last >= (msn, part)
        segment = self._segments[-1] if self._segments else None
        return segment is not None and (segment.msn > msn or (segment.msn == msn and segment.complete))

    def part(self, msn: int, index: int, init: int = 0) -> bytes | None:
        segment = self._find(msn)
        if segment is None or segment.init != init or index >= len(segment.parts):
            return None
        return segment.parts[index].data

    def segment(self, msn: int) -> bytes | str | None:
        """Segment data, or its name in storage; None: unknown or incomplete."""
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
        """All available segments, oldest first."""
        return self._segments

    def playlist(self, reports: Iterable["RenditionStream"], *, skip: bool) -> bytes:
        """Live media playlist; with `skip` a delta update (6.2.5.1), if there is anything to skip."""
        cached = self._cache.get(skip)
        if cached is None:
            cached = self._cache[skip] = "".join(self._live(reports, skip)).encode()
        return cached

    def replay(self) -> bytes:
        """Playlist of the whole stream as video on demand."""
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
        """Peak and average bits per second of all segments. Cached, because it takes milliseconds after an hour."""
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
        for index, segment in enumerate(listed[skipped:], skipped):
            if index < with_parts or not segment.parts:
                # The first listed segment must name its EXT-X-MAP, which its cached text may lack.
                yield segment.text if index else self._text(segment, self._first, new_map=True)
            else:
                yield self._with_parts(segment, self._first + index, new_map=index == 0)
        if self.ended:
            yield playlist.end_list()
            return
        yield playlist.preload_hint(self._part_uri(*self.next, len(self.inits) - 1))
        for other in reports:
            if other is not self and other.last[0] >= 0:
                yield playlist.rendition_report(f"{other.name}.m3u8", *other.last)

    def _skippable(self, listed: list[Segment]) -> int:
        """Number of segments that end more than CAN-SKIP-UNTIL before the end of the playlist."""
        left, count = sum(segment.duration for segment in listed), 0
        for segment in listed:
            left -= segment.duration
            if left < playlist.CAN_SKIP_UNTIL:
                break
            count += 1
        return count

    def _with_parts(self, segment: Segment, index: int, *, new_map: bool) -> str:
        lines = [segment.head(self.name, new_map=new_map or self._new_map(segment, index))]
        lines += (
            playlist.part(part.duration, self._part_uri(segment.msn, index, segment.init), independent=part.independent)
            for index, part in enumerate(segment.parts)
        )
        if segment.complete:
            lines.append(playlist.extinf(segment.duration, self._segment_name(segment.msn)))
        return "".join(lines)

    def _text(self, segment: Segment, index: int, *, new_map: bool = False) -> str:
        head = segment.head(self.name, new_map=new_map or self._new_map(segment, index))
        return head + playlist.extinf(segment.duration, self._segment_name(segment.msn))

    def _new_map(self, segment: Segment, index: int) -> bool:
        return index == 0 or self._segments[index - 1].init != segment.init

    def _part_uri(self, msn: int, index: int, init: int) -> str:
        return f"{self.name}/{msn}.{index}{f'.{init}' if init else ''}.m4s"

    def _segment_name(self, msn: int) -> str:
        return f"{self.name}/{msn}.m4s"

    def _init_name(self, number: int) -> str:
        return f"{self.name}/init{number}.mp4"

    # -- removal -------------------------------------------------------------------------------------------------------

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

    def _expire_segments(self) -> None:
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
            len(self._segments) > KEPT
            or (not self._limits.keep and self._age(0, end) > self._limits.dvr + SEGMENT_REMOVAL_DELAY)
        ):
            gone = self._segments.pop(0)
            self._storage.remove(self._segment_name(gone.msn))
            self._first -= 1
            self._in_memory = max(0, self._in_memory - 1)

    def _forget_parts(self, segment: Segment) -> None:
        """Drops parts even if they were not stored, so that a full disk does not fill the memory. The replay marks such
        segments as gaps.
        """
        if segment.parts and self._storage.path(self._segment_name(segment.msn)) is None:
            entry = playlist.extinf(segment.duration, self._segment_name(segment.msn))
            segment.text = segment.text.removesuffix(entry) + playlist.gap() + entry
        segment.parts = []

    def release_memory(self) -> None:
        """Drops the parts of all stored segments, when viewers no longer watch the live edge."""
        while self._in_memory < len(self._segments):
            self._drop_parts()

    def _drop_parts(self) -> None:
        segment = self._segments[self._in_memory]
        if self._storage.path(self._segment_name(segment.msn)) is not None:
            segment.parts = []
        self._in_memory += 1

    def _age(self, index: int, end: float) -> float:
        """Seconds from the end of a segment to the end of the stream; 0 for an incomplete one."""
        if index >= len(self._segments) or not self._segments[index].complete:
            return 0.0
        segment = self._segments[index]
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
