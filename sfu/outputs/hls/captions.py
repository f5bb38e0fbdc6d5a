"""Captions of a live stream: takes cues and returns WebVTT segments and their playlist, aligned with the video segments.

Cues from speech recognition arrive seconds late. They are shown from the current segment on, because viewers already
have the older ones. RFC 8216bis 3.1.4 (WebVTT, X-TIMESTAMP-MAP), W3C WebVTT. Pure.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from sfu.outputs.hls import playlist
from sfu.outputs.hls.rendition_stream import KEPT

MIN_CUE_DURATION = 1.0
"""Minimum seconds that a cue is shown."""
MAX_CUE_LENGTH = 500
"""Maximum characters per cue."""
CUES = 100
"""Maximum number of visible cues, and of waiting cues."""


@dataclass(frozen=True, slots=True)
class Cue:
    text: str
    start: float
    end: float
    "Unix time, like `start`."


@dataclass(frozen=True, slots=True)
class _Block:
    msn: int
    starts_at: float
    duration: float
    discontinuity: bool
    epoch: float
    cues: tuple[Cue, ...]


class CaptionTrack:
    """Captions in one language."""

    def __init__(self, language: str, name: str) -> None:
        self.language = language
        self.name = name
        self.ended = False
        self._waiting: list[Cue] = []
        "Cues for future segments."
        self._shown: list[Cue] = []
        self._blocks: list[_Block] = []
        self._removed_discontinuities = 0
        "Number of discontinuities in removed segments."

    def add(self, text: str, start: float, end: float) -> None:
        """Adds a cue; times are Unix times."""
        if text.strip() and not self.ended and len(self._waiting) < CUES:
            self._waiting.append(Cue(text.strip()[:MAX_CUE_LENGTH], start, end))

    def add_segment(self, msn: int, starts_at: float, duration: float, *, discontinuity: bool, epoch: float) -> None:
        """Adds the caption segment for a completed video segment. `epoch`: Unix time of media time 0."""
        edge, late = starts_at + duration, []
        for cue in self._waiting:
            start = max(cue.start, starts_at)
            if start >= edge:
                late.append(cue)
            elif len(self._shown) < CUES:
                end = cue.end if cue.start >= starts_at else max(cue.end, start + MIN_CUE_DURATION)
                self._shown.append(Cue(cue.text, start, end))
        self._waiting = late
        self._blocks.append(_Block(msn, starts_at, duration, discontinuity, epoch, tuple(self._shown)))
        # A segment contains every cue that is visible during it, including cues from earlier segments.
        self._shown = [cue for cue in self._shown if cue.end > edge]
        if len(self._blocks) > KEPT:
            self._removed_discontinuities += self._blocks.pop(0).discontinuity

    def end(self) -> None:
        self.ended = True

    def playlist(self, first_msn: int) -> bytes:
        """Playlist that begins with segment `first_msn`."""
        listed = [block for block in self._blocks if block.msn >= first_msn]
        discontinuities = self._removed_discontinuities + sum(
            block.discontinuity for block in self._blocks if block.msn < first_msn
        )
        lines = [
            playlist.header(),
            playlist.playlist_type_vod() if self.ended else "",
            playlist.target_duration(),
            playlist.media_sequence(listed[0].msn if listed else first_msn),
            playlist.discontinuity_sequence(discontinuities),
        ]
        for block in listed:
            lines.append(playlist.discontinuity() if block.discontinuity else "")
            lines.append(playlist.program_date_time(block.starts_at))
            lines.append(playlist.extinf(block.duration, f"captions-{self.language}/{block.msn}.vtt"))
        if self.ended:
            lines.append(playlist.end_list())
        return "".join(lines).encode()

    def segment(self, msn: int) -> bytes | None:
        index = msn - self._blocks[0].msn if self._blocks else -1
        if not 0 <= index < len(self._blocks):
            return None
        block = self._blocks[index]
        # The watch page reads the wall-clock time of media time 0 from this note.
        zero = datetime.fromtimestamp(round(block.epoch, 3), UTC).isoformat(timespec="milliseconds")
        lines = [f"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\nNOTE zero {zero}\n"]
        for cue in block.cues:
            times = f"{_clock(cue.start - block.epoch)} --> {_clock(cue.end - block.epoch)}"
            lines.append(f"\n{times}\n{_escaped(cue.text)}\n")
        return "".join(lines).encode()


def _clock(seconds: float) -> str:
    milliseconds = max(0, round(seconds * 1000))
    return (
        f"{milliseconds // 3_600_000:02d}:{milliseconds // 60_000 % 60:02d}:"
        f"{milliseconds // 1000 % 60:02d}.{milliseconds % 1000:03d}"
    )


def _escaped(text: str) -> str:
    """Escapes cue text (WebVTT 3.1): no markup, no empty lines, no arrows."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "\n")
    return "\n".join(line for line in plain.split("\n") if line.strip())
