"""A live stream as HLS viewers see it: its renditions and captions, active or ended; after the end, the replay.

It outlives the worker that produces it: a restarted worker causes a discontinuity. It also outlives the server process:
`LiveStream.restored` rebuilds it from storage. Pure except for files of the storage.
"""

import math
from collections.abc import Iterable, Sequence
from enum import Enum

import msgspec

from sfu.outputs.fmp4 import codecs
from sfu.outputs.hls import playlist
from sfu.outputs.hls.captions import CaptionTrack
from sfu.outputs.hls.rendition_stream import Limits, RenditionStream, Segment
from sfu.outputs.hls.storage import NoStorage, Storage
from sfu.outputs.segmenter import Part
from sfu.outputs.settings import Rendition

AUDIO_BIT_RATE = 128_000
PEAK_RATIO = 1.5
"""Assumed ratio of peak to average bit rate before segments have been measured."""


class State(Enum):
    WAITING = "waiting"
    "No media yet."
    LIVE = "live"
    ENDED = "ended"


class Begun(msgspec.Struct, frozen=True, tag_field="is", tag="init", omit_defaults=True):
    """Journal entry: media of an encoder begins."""

    rendition: str
    number: int


class Completed(msgspec.Struct, frozen=True, tag_field="is", tag="segment", omit_defaults=True):
    """Journal entry: a segment is in storage."""

    rendition: str
    msn: int
    at: float
    duration: float
    size: int
    init: int = 0
    discontinuity: bool = False


class Ended(msgspec.Struct, frozen=True, tag_field="is", tag="end"):
    """Journal entry: the stream has ended."""

    at: float


Note = Begun | Completed | Ended
_decode = msgspec.json.Decoder(Note).decode


class StreamPosition(msgspec.Struct, frozen=True):
    """Where another node continues a live stream after the loss of this one."""

    stream_id: str
    at: float
    "Unix time of this position."
    msn: int
    "Media sequence number of the next segment."
    inits: int
    "Number of initialization segments."
    discontinuities: int


MSN_MARGIN = 2
"""Media sequence numbers left out beyond those that the lost node can have used."""


class LiveStream:
    """Call order: `begin`, `add_init` for every rendition, `add_part` …; after a restart `discontinuity`, `add_init`,
    `add_part` …; finally `end`.
    """

    def __init__(
        self, stream_id: str, renditions: Sequence[Rendition], limits: Limits, storage: Storage | None = None
    ) -> None:
        self.stream_id = stream_id
        "Unique id of letters, digits, `_` and `-`; never reused."
        self.limits = limits
        self.storage = storage or NoStorage()
        self.streams = {one.name: RenditionStream(one, limits, self.storage) for one in renditions}
        self.captions: dict[str, CaptionTrack] = {}
        "By language tag (BCP 47)."
        self.started_at = 0.0
        self.ended_at: float | None = None
        self.moved = False
        "Another node continues it, so players must not see an end."
        self._epoch = 0.0
        self._is_live = False

    @property
    def state(self) -> State:
        if self.ended_at is not None:
            return State.ENDED
        # Renditions never lose all their media, so the result can be kept.
        self._is_live = self._is_live or all(stream.inits and stream.last[0] >= 0 for stream in self.streams.values())
        return State.LIVE if self._is_live else State.WAITING

    def position(self, now: float) -> StreamPosition:
        streams = self.streams.values()
        return StreamPosition(
            self.stream_id,
            now,
            max(stream.next_msn for stream in streams),
            max(len(stream.inits) for stream in streams),
            max(stream.discontinuities for stream in streams),
        )

    def continue_from(self, position: StreamPosition, now: float) -> None:
        """Continues a live stream whose node is gone. Players hang if MEDIA-SEQUENCE falls, and the position can be old: a
        segment takes a second, so the numbers of the time since then are left out. Call it before `begin`."""
        msn = position.msn + math.ceil(max(0.0, now - position.at)) + MSN_MARGIN
        for stream in self.streams.values():
            stream.continue_from(msn, position.inits, position.discontinuities)

    # -- input ---------------------------------------------------------------------------------------------------------

    def begin(self, started_at: float) -> None:
        """Starts media whose mix time 0 is `started_at` (Unix time)."""
        for stream in self.streams.values():
            self._completed(stream, stream.interrupt())
        self._epoch = started_at
        self.started_at = self.started_at or started_at

    def discontinuity(self, started_at: float) -> None:
        """Starts the media of a restarted worker. `add_init` must follow for every rendition."""
        self.begin(started_at)

    def add_init(self, rendition: str, init: bytes) -> None:
        """Raises KeyError for an unknown rendition."""
        stream = self.streams[rendition]
        stream.begin(init, self._epoch)
        self._note(Begun(rendition, len(stream.inits) - 1))

    def add_part(self, part: Part) -> None:
        """Raises KeyError for an unknown rendition, and ValueError before `add_init` or after `end`."""
        stream = self.streams[part.rendition]
        self._completed(stream, stream.add(part))

    def add_captions(self, language: str, name: str) -> CaptionTrack:
        """Returns the caption track of a language; creates it on the first call."""
        if language not in self.captions:
            self.captions[language] = CaptionTrack(language, name)
        return self.captions[language]

    def caption(self, language: str, text: str, start: float, end: float) -> None:
        """Adds one cue. `start` and `end` are Unix times. It is shown in the current segment at the earliest."""
        self.captions[language].add(text, start, end)

    def end(self, now: float) -> None:
        """Ends the stream. Idempotent."""
        if self.ended_at is not None:
            return
        self.ended_at = now
        for stream in self.streams.values():
            self._completed(stream, stream.end())
        for track in self.captions.values():
            track.end()
        self._note(Ended(now))

    def release_memory(self) -> None:
        """Releases media held in memory after the end; storage then serves it. Idempotent."""
        for stream in self.streams.values():
            stream.release_memory()

    # -- output --------------------------------------------------------------------------------------------------------

    def multivariant(self, prefix: str = "") -> bytes:
        """Multivariant playlist of the live playlists, or after the end of the replay playlists. `prefix`: prepended to
        each URI.
        """
        replay = self.replayable
        variants = []
        for stream in self.streams.values():
            rendition = stream.rendition
            average = rendition.bit_rate + AUDIO_BIT_RATE
            bandwidth = int(rendition.bit_rate * PEAK_RATIO) + AUDIO_BIT_RATE
            if replay and stream.segments:
                bandwidth, average = stream.rates()
            variants.append(
                playlist.Variant(
                    uri=f"{prefix}{stream.name}{'.replay' if replay else ''}.m3u8",
                    bandwidth=max(bandwidth, average, 1),
                    average=max(average, 1),
                    codecs=codecs(stream.inits[-1]) if stream.inits else "avc1.64001f,mp4a.40.2",
                    width=rendition.width,
                    height=rendition.height,
                )
            )
        tracks = [
            playlist.Captions(uri=f"{prefix}captions-{one.language}.m3u8", name=one.name, language=one.language)
            for one in self.captions.values()
        ]
        return playlist.multivariant(variants, tracks).encode()

    def media(self, rendition: str, *, skip: bool) -> bytes:
        """Live media playlist of a rendition. Raises KeyError."""
        return self.streams[rendition].playlist(self.streams.values(), skip=skip)

    def captions_playlist(self, language: str) -> bytes:
        """Caption playlist of a language. Raises KeyError."""
        stream = next(iter(self.streams.values()))
        return self.captions[language].playlist(0 if self.ended_at is not None else stream.first_listed)

    @property
    def replayable(self) -> bool:
        return self.ended_at is not None and self.limits.keep and self.storage.works

    def close(self) -> None:
        """Ends the stream and removes its files."""
        self.end(self.ended_at or self.started_at)
        self.storage.clear()

    @classmethod
    def restored(
        cls, stream_id: str, renditions: Sequence[Rendition], limits: Limits, storage: Storage, notes: Iterable[bytes]
    ) -> "LiveStream":
        """Rebuilds a live stream from its journal. Skips what a crash left incomplete."""
        live_stream = cls(stream_id, renditions, limits, storage)
        segments: dict[str, list[Segment]] = {name: [] for name in live_stream.streams}
        inits: dict[str, dict[int, bytes]] = {name: {} for name in live_stream.streams}
        ended_at = None
        for line in notes:
            try:
                note = _decode(line)
            except msgspec.MsgspecError:
                continue
            if isinstance(note, Ended):
                ended_at = note.at
            elif note.rendition not in segments:
                continue
            elif isinstance(note, Begun):
                path = storage.path(f"{note.rendition}/init{note.number}.mp4")
                if path is not None:
                    inits[note.rendition][note.number] = path.read_bytes()
            else:
                one = Segment(note.msn, note.at, note.init, note.discontinuity, note.duration, note.size, True)
                if storage.path(f"{note.rendition}/{note.msn}.m4s") is not None:
                    segments[note.rendition].append(one)
        for name, stream in live_stream.streams.items():
            whole = _unbroken(segments[name])
            stream.restore(whole, [inits[name].get(number, b"") for number in range(max(inits[name], default=-1) + 1)])
            if whole:
                live_stream.started_at = min(live_stream.started_at or whole[0].starts_at, whole[0].starts_at)
        if ended_at is not None:
            live_stream.ended_at = ended_at
            for stream in live_stream.streams.values():
                stream.end()
        return live_stream

    def _completed(self, stream: RenditionStream, segment: Segment | None) -> None:
        if segment is None:
            return
        at, duration, broken = segment.starts_at, segment.duration, segment.discontinuity
        self._note(Completed(stream.name, segment.msn, at, duration, segment.size, segment.init, broken))
        if stream is next(iter(self.streams.values())):
            for track in self.captions.values():
                track.add_segment(segment.msn, at, duration, discontinuity=broken, epoch=self._epoch)

    def _note(self, note: Note) -> None:
        self.storage.note(msgspec.json.encode(note))


def _unbroken(segments: list[Segment]) -> list[Segment]:
    """The longest run of consecutive segments at the end."""
    for index in range(len(segments) - 1, 0, -1):
        if segments[index].msn != segments[index - 1].msn + 1:
            return segments[index:]
    return segments
