"""Matroska and WebM writer: a header, and self-contained clusters.

Recordings without decoding get codec, size and private data from the publication, not from a muxer's probing. The
segment size is unknown (live WebM), so a truncated file is valid up to its last block. RFC 9559 (Matroska), RFC 8794
(EBML), WebM container guidelines.
"""

from dataclasses import dataclass
from os import SEEK_END
from struct import pack
from typing import BinaryIO, Final

MILLISECOND: Final = 1_000_000
"""Nanoseconds; the default timestamp scale."""
_UNKNOWN: Final = b"\x01\xff\xff\xff\xff\xff\xff\xff"
_SEGMENT: Final = 0x18538067
_CLUSTER: Final = 0x1F43B675
_RELATIVE_LIMIT: Final = 0x7FFF
"""Maximum offset, in ticks, of a block's time from its cluster's time (signed 16 bits)."""


@dataclass(frozen=True, slots=True)
class Track:
    codec: str
    "Matroska codec ID: V_VP8, V_VP9, V_AV1, V_MPEG4/ISO/AVC, A_OPUS, A_AAC."
    private: bytes = b""
    "avcC, av1C, OpusHead or AudioSpecificConfig; empty for VP8 and VP9."
    width: int = 0
    height: int = 0
    "0 for audio."
    rate: int = 48_000
    channels: int = 2
    delay: int = 0
    "Nanoseconds that a decoder drops at the start (Opus pre-skip)."

    @property
    def is_video(self) -> bool:
        return self.codec.startswith("V_")


def header(tracks: list[Track], *, application: str = "aiosfu", scale: int = MILLISECOND) -> bytes:
    """Everything before the first cluster. Track numbers start at 1. `scale`: nanoseconds per tick."""
    webm = all(track.codec in ("V_VP8", "V_VP9", "V_AV1", "A_OPUS") for track in tracks)
    ebml = _element(
        0x1A45DFA3,
        _number(0x4286, 1)
        + _number(0x42F7, 1)
        + _number(0x42F2, 4)
        + _number(0x42F3, 8)
        + _element(0x4282, b"webm" if webm else b"matroska")
        + _number(0x4287, 4)
        + _number(0x4285, 2),
    )
    name = application.encode()
    information = _element(0x1549A966, _number(0x2AD7B1, scale) + _element(0x4D80, name) + _element(0x5741, name))
    entries = b"".join(_track(number, track) for number, track in enumerate(tracks, 1))
    return ebml + pack("!I", _SEGMENT) + _UNKNOWN + information + _element(0x1654AE6B, entries)


def _track(number: int, track: Track) -> bytes:
    content = _number(0xD7, number) + _number(0x73C5, number) + _number(0x9C, 0)
    content += _number(0x83, 1 if track.is_video else 2) + _element(0x86, track.codec.encode())
    if track.private:
        content += _element(0x63A2, track.private)
    if track.is_video:
        content += _element(0xE0, _number(0xB0, track.width) + _number(0xBA, track.height))
    else:
        content += _element(0xE1, _element(0xB5, pack("!d", track.rate)) + _number(0x9F, track.channels))
        if track.delay:
            content += _number(0x56AA, track.delay)
        if track.codec == "A_OPUS":
            content += _number(0x56BB, 80_000_000)  # RFC 9559 5.1.4.1.26: decoders converge within 80 ms after a seek
    return _element(0xAE, content)


def cluster(time: int, blocks: bytes) -> bytes:
    """A complete cluster of blocks that start at `time` ticks. A truncated file ends behind its last complete cluster."""
    return _element(_CLUSTER, _number(0xE7, time) + blocks)


def block(track: int, relative: int, data: bytes, *, keyframe: bool) -> bytes:
    """One frame, `relative` ticks after the cluster's time; see `fits`."""
    head = _size(track) + pack("!hB", relative, 0x80 if keyframe else 0)
    return b"\xa3" + _size(len(head) + len(data)) + head + data


def fits(relative: int) -> bool:
    return -_RELATIVE_LIMIT <= relative <= _RELATIVE_LIMIT


def whole(file: BinaryIO) -> int:
    """Offset behind the last complete cluster of a file from this module; 0 if there is none."""
    size, at, end = file.seek(0, SEEK_END), 0, 0
    while at < size:
        file.seek(at)
        head = file.read(12)
        width = 9 - head[0].bit_length()
        if not head[0] or width > 4 or len(head) <= width or not head[width]:
            break
        identifier, long = int.from_bytes(head[:width], "big"), 9 - head[width].bit_length()
        length = int.from_bytes(head[width : width + long], "big") & (1 << 7 * long) - 1
        at += width + long
        if identifier == _SEGMENT:
            continue
        at += length
        if at <= size and identifier == _CLUSTER:
            end = at
    return end


def opus_head(channels: int = 2, pre_skip: int = 0) -> bytes:
    """OpusHead (RFC 7845 5.1) for 48 kHz."""
    return b"OpusHead" + pack("<BBHIhB", 1, channels, pre_skip, 48_000, 0, 0)


def _element(identifier: int, content: bytes) -> bytes:
    name = identifier.to_bytes((identifier.bit_length() + 7) // 8, "big")
    return name + _size(len(content)) + content


def _number(identifier: int, value: int) -> bytes:
    return _element(identifier, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def _size(value: int) -> bytes:
    """Variable-length integer (RFC 8794 4). All ones is reserved for unknown sizes."""
    for length in range(1, 9):
        if value < (1 << 7 * length) - 1:
            return (value | 1 << 7 * length).to_bytes(length, "big")
    raise ValueError("too large for EBML")
