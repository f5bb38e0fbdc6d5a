"""A programme as viewers of HLS see it: its renditions, on air or ended, and after its end the replay.

Outlives the process that makes the programme: when that one starts again there is a discontinuity. And the server's own:
`LiveStream.restored` finds in the storage what was on air. Pure but for the storage's files.
"""

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

SOUND_RATE = 128_000
PEAK = 1.5
"""How much more than its average a segment may have while nobody has measured yet."""


class State(Enum):
    WAITING = "waiting"
    "Nothing to see yet."
    LIVE = "live"
    ENDED = "ended"


class Begun(msgspec.Struct, frozen=True, tag_field="is", tag="init", omit_defaults=True):
    """Journal: media of an encoder begin."""

    rendition: str
    number: int


class Completed(msgspec.Struct, frozen=True, tag_field="is", tag="segment", omit_defaults=True):
    """Journal: a segment is in the storage."""

    rendition: str
    msn: int
    at: float
    duration: float
    size: int
    init: int = 0
    discontinuity: bool = False


class Ended(msgspec.Struct, frozen=True, tag_field="is", tag="end"):
    """Journal: the programme is over."""

    at: float


Note = Begun | Completed | Ended
_decode = msgspec.json.Decoder(Note).decode


class LiveStream:
    """`begin`, `add_init` for every rendition, `add_part` …; `discontinuity`, `add_init`, `add_part` …; `end`."""

    def __init__(
        self, stream_id: str, renditions: Sequence[Rendition], limits: Limits, storage: Storage | None = None
    ) -> None:
        self.stream_id = stream_id
        "Its id: letters, digits, `_` and `-`, never used twice."
        self.limits = limits
        self.storage = storage or NoStorage()
        self.streams = {one.name: RenditionStream(one, limits, self.storage) for one in renditions}
        self.captions: dict[str, CaptionTrack] = {}
        "By language (BCP 47)."
        self.started_at = 0.0
        self.ended_at: float | None = None
        self._epoch = 0.0
        self._is_live = False

    @property
    def state(self) -> State:
        if self.ended_at is not None:
            return State.ENDED
        # Once every rendition has something, all will always have.
        self._is_live = self._is_live or all(stream.inits and stream.last[0] >= 0 for stream in self.streams.values())
        return State.LIVE if self._is_live else State.WAITING

    # What comes in.

    def begin(self, started_at: float) -> None:
        """Programme time 0 was at `started_at`, seconds since 1970."""
        for stream in self.streams.values():
            self._completed(stream, stream.interrupt())
        self._epoch = started_at
        self.started_at = self.started_at or started_at

    def discontinuity(self, started_at: float) -> None:
        """The programme's process started again, and its time with it. `add_init` follows for every rendition."""
        self.begin(started_at)

    def add_init(self, rendition: str, init: bytes) -> None:
        """Raises KeyError for a rendition that the programme does not have."""
        stream = self.streams[rendition]
        stream.begin(init, self._epoch)
        self._note(Begun(rendition, len(stream.inits) - 1))

    def add_part(self, part: Part) -> None:
        """Raises KeyError for an unknown rendition, ValueError before `add_init` and after `end`."""
        stream = self.streams[part.rendition]
        self._completed(stream, stream.add(part))

    def add_captions(self, language: str, name: str) -> CaptionTrack:
        """A track of captions from now on; the same again for the same language."""
        if language not in self.captions:
            self.captions[language] = CaptionTrack(language, name)
        return self.captions[language]

    def caption(self, language: str, text: str, start: float, end: float) -> None:
        """One cue, `start` and `end` in seconds since 1970; it is shown no earlier than what is made now."""
        self.captions[language].add(text, start, end)

    def end(self, now: float) -> None:
        """Idempotent."""
        if self.ended_at is not None:
            return
        self.ended_at = now
        for stream in self.streams.values():
            self._completed(stream, stream.end())
        for track in self.captions.values():
            track.end()
        self._note(Ended(now))

    def release_memory(self) -> None:
        """After the end: from now on only the storage holds it. Idempotent."""
        for stream in self.streams.values():
            stream.release_memory()

    # What goes out.

    def multivariant(self, prefix: str = "") -> bytes:
        """Of the live playlists, or after the end of the replay's. `prefix`: of every URI in it."""
        replay = self.replayable
        variants = []
        for stream in self.streams.values():
            rendition = stream.rendition
            average = rendition.bit_rate + SOUND_RATE
            bandwidth = int(rendition.bit_rate * PEAK) + SOUND_RATE
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
        """The live media playlist. Raises KeyError."""
        return self.streams[rendition].playlist(self.streams.values(), skip=skip)

    def captions_playlist(self, language: str) -> bytes:
        """Raises KeyError."""
        stream = next(iter(self.streams.values()))
        return self.captions[language].playlist(0 if self.ended_at is not None else stream.first_listed)

    @property
    def replayable(self) -> bool:
        return self.ended_at is not None and self.limits.keep and self.storage.works

    def close(self) -> None:
        """Removes everything that it left in the storage."""
        self.end(self.ended_at or self.started_at)
        self.storage.clear()

    @classmethod
    def restored(
        cls, stream_id: str, renditions: Sequence[Rendition], limits: Limits, storage: Storage, notes: Iterable[bytes]
    ) -> "LiveStream":
        """As the journal tells. What a crash left half written is passed over."""
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
            stream.restore(whole, [inits[name][number] for number in sorted(inits[name])])
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
    """The longest run of consecutive numbers at the end."""
    for place in range(len(segments) - 1, 0, -1):
        if segments[place].msn != segments[place - 1].msn + 1:
            return segments[place:]
    return segments
