"""A programme's captions: cues in, WebVTT segments and their playlist out, cut where the picture's segments are.

A cue that somebody's words became seconds later is shown from the segment that is made then: older ones are already with
the viewers. RFC 8216bis 3.1.4 (WebVTT, X-TIMESTAMP-MAP), W3C WebVTT. Pure.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from sfu.outputs.hls import playlist
from sfu.outputs.hls.rendition_stream import KEPT

SHORTEST = 1.0
"""Seconds that a cue is shown at least."""
CUE_LIMIT = 500
"""Characters of one cue."""
CUES = 100
"""That are shown at once, and that wait for their time."""


@dataclass(frozen=True, slots=True)
class Cue:
    text: str
    start: float
    end: float
    "Seconds since 1970, as `start`."


@dataclass(frozen=True, slots=True)
class _Block:
    msn: int
    starts_at: float
    duration: float
    discontinuity: bool
    epoch: float
    cues: tuple[Cue, ...]


class CaptionTrack:
    """One language."""

    def __init__(self, language: str, name: str) -> None:
        self.language = language
        self.name = name
        self.ended = False
        self._waiting: list[Cue] = []
        "For segments to come."
        self._shown: list[Cue] = []
        self._blocks: list[_Block] = []
        self._gone = 0
        "Discontinuities of those that are forgotten."

    def add(self, text: str, start: float, end: float) -> None:
        """A cue, in seconds since 1970."""
        if text.strip() and not self.ended and len(self._waiting) < CUES:
            self._waiting.append(Cue(text.strip()[:CUE_LIMIT], start, end))

    def add_segment(self, msn: int, starts_at: float, duration: float, *, discontinuity: bool, epoch: float) -> None:
        """The picture's segment of this number is complete. `epoch`: when its media's time 0 was."""
        edge, late = starts_at + duration, []
        for cue in self._waiting:
            start = max(cue.start, starts_at)
            if start >= edge:
                late.append(cue)
            elif len(self._shown) < CUES:
                end = cue.end if cue.start >= starts_at else max(cue.end, start + SHORTEST)
                self._shown.append(Cue(cue.text, start, end))
        self._waiting = late
        self._blocks.append(_Block(msn, starts_at, duration, discontinuity, epoch, tuple(self._shown)))
        # A segment holds every cue that is shown during it, whichever it began in.
        self._shown = [cue for cue in self._shown if cue.end > edge]
        if len(self._blocks) > KEPT:
            self._gone += self._blocks.pop(0).discontinuity

    def end(self) -> None:
        self.ended = True

    def playlist(self, first_msn: int) -> bytes:
        """From this segment on."""
        listed = [block for block in self._blocks if block.msn >= first_msn]
        gone = self._gone + sum(block.discontinuity for block in self._blocks if block.msn < first_msn)
        lines = [
            playlist.header(),
            playlist.playlist_type_vod() if self.ended else "",
            playlist.target_duration(),
            playlist.media_sequence(listed[0].msn if listed else first_msn),
            playlist.discontinuity_sequence(gone),
        ]
        for block in listed:
            lines.append(playlist.discontinuity() if block.discontinuity else "")
            lines.append(playlist.program_date_time(block.starts_at))
            lines.append(playlist.extinf(block.duration, f"captions-{self.language}/{block.msn}.vtt"))
        if self.ended:
            lines.append(playlist.end_list())
        return "".join(lines).encode()

    def segment(self, msn: int) -> bytes | None:
        place = msn - self._blocks[0].msn if self._blocks else -1
        if not 0 <= place < len(self._blocks):
            return None
        block = self._blocks[place]
        # The note is for the watch page, which goes by the wall clock.
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
    """Cue text (WebVTT 3.1): no markup, no empty line, no arrow."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "\n")
    return "\n".join(line for line in plain.split("\n") if line.strip())
