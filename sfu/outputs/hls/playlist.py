"""HLS playlists as text: one small function per tag, and the multivariant playlist.

Values that players treat as constant never change between reloads: VERSION, TARGETDURATION, PART-TARGET and
SERVER-CONTROL are the constants below. Docstrings cite sections of draft-pantos-hls-rfc8216bis. Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

VERSION = 9
"""EXT-X-SKIP requires version 9 (section 8)."""
TARGET_DURATION = 1
PART_TARGET = 0.2
PART_HOLD_BACK = 3 * PART_TARGET
HOLD_BACK = 3.0 * TARGET_DURATION
CAN_SKIP_UNTIL = 6.0 * TARGET_DURATION
PART_SEGMENTS = 3
"""Complete segments at the live edge that are also listed by part: 3 target durations (6.2.2)."""

PREFERRED_BIT_RATE = 2_000_000
"""Bits per second of the preferred first variant, with which players start (Apple's authoring specification, 9.13)."""


def header() -> str:
    """4.4.1.1, 4.4.1.2"""
    return f"#EXTM3U\n#EXT-X-VERSION:{VERSION}\n"


def independent_segments() -> str:
    """4.4.2.1"""
    return "#EXT-X-INDEPENDENT-SEGMENTS\n"


def target_duration(seconds: int = TARGET_DURATION) -> str:
    """4.4.3.1: no segment is longer, after rounding."""
    return f"#EXT-X-TARGETDURATION:{seconds}\n"


def media_sequence(number: int) -> str:
    """4.4.3.2"""
    return f"#EXT-X-MEDIA-SEQUENCE:{number}\n"


def discontinuity_sequence(number: int) -> str:
    """4.4.3.3: number of discontinuities removed from the beginning of the playlist."""
    return f"#EXT-X-DISCONTINUITY-SEQUENCE:{number}\n" if number else ""


def end_list() -> str:
    """4.4.3.4"""
    return "#EXT-X-ENDLIST\n"


def playlist_type_vod() -> str:
    """4.4.3.5"""
    return "#EXT-X-PLAYLIST-TYPE:VOD\n"


def part_inf() -> str:
    """4.4.3.7"""
    return f"#EXT-X-PART-INF:PART-TARGET={PART_TARGET:.3f}\n"


def server_control() -> str:
    """4.4.3.8"""
    return (
        f"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={PART_HOLD_BACK:.3f},HOLD-BACK={HOLD_BACK:.3f},"
        f"CAN-SKIP-UNTIL={CAN_SKIP_UNTIL:.3f}\n"
    )


def extinf(duration: float, uri: str) -> str:
    """4.4.4.1"""
    return f"#EXTINF:{duration:.5f},\n{uri}\n"


def gap() -> str:
    """4.4.4.7: the following segment is not available."""
    return "#EXT-X-GAP\n"


def discontinuity() -> str:
    """4.4.4.3"""
    return "#EXT-X-DISCONTINUITY\n"


def map_(uri: str) -> str:
    """4.4.4.5"""
    return f'#EXT-X-MAP:URI="{uri}"\n'


def program_date_time(at: float) -> str:
    """4.4.4.6; `at`: Unix time."""
    moment = datetime.fromtimestamp(round(at, 3), UTC)
    return f"#EXT-X-PROGRAM-DATE-TIME:{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z\n"


def part(duration: float, uri: str, *, independent: bool) -> str:
    """4.4.4.9"""
    return f'#EXT-X-PART:DURATION={duration:.5f},URI="{uri}"{",INDEPENDENT=YES" if independent else ""}\n'


def skip(segments: int) -> str:
    """4.4.5.2"""
    return f"#EXT-X-SKIP:SKIPPED-SEGMENTS={segments}\n"


def preload_hint(uri: str) -> str:
    """4.4.5.3"""
    return f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{uri}"\n'


def rendition_report(uri: str, msn: int, index: int) -> str:
    """4.4.5.4"""
    return f'#EXT-X-RENDITION-REPORT:URI="{uri}",LAST-MSN={msn},LAST-PART={index}\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """4.4.6.2: EXT-X-STREAM-INF and its URI."""

    uri: str
    bandwidth: int
    "Peak bit rate of any segment."
    average: int
    codecs: str
    width: int
    height: int
    frame_rate: float = 30.0

    def render(self, *, subtitles: bool = False) -> str:
        group = f',SUBTITLES="{CAPTIONS_GROUP}"' if subtitles else ""
        return (
            f"#EXT-X-STREAM-INF:BANDWIDTH={self.bandwidth},AVERAGE-BANDWIDTH={self.average},"
            f'CODECS="{self.codecs}",RESOLUTION={self.width}x{self.height},FRAME-RATE={self.frame_rate:.3f}'
            f",CLOSED-CAPTIONS=NONE{group}\n{self.uri}\n"
        )


CAPTIONS_GROUP = "captions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Captions:
    """4.4.6.1: EXT-X-MEDIA of one caption track."""

    uri: str
    name: str
    language: str
    "BCP 47."

    def render(self) -> str:
        return (
            f'#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="{CAPTIONS_GROUP}",NAME="{_quoted(self.name)}",'
            f'LANGUAGE="{_quoted(self.language)}",DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,URI="{self.uri}"\n'
        )


def multivariant(variants: Sequence[Variant], captions: Sequence[Captions] = ()) -> str:
    """4.4.6: multivariant playlist; the variant that suits most viewers comes first."""
    first = min(variants, key=lambda one: abs(one.average - PREFERRED_BIT_RATE))
    ordered = [first, *(one for one in variants if one is not first)]
    lines: Iterable[str] = (
        header(),
        independent_segments(),
        *(one.render() for one in captions),
        *(one.render(subtitles=bool(captions)) for one in ordered),
    )
    return "".join(lines)


def _quoted(text: str) -> str:
    """Replaces quotes and line breaks, which a quoted-string cannot contain (4.2)."""
    return text.replace('"', "'").replace("\n", " ").replace("\r", " ")
