"""CMAF muxer: initialization segments, and fragments of encoded video and audio.

Low-latency HLS needs exactly one `moof` and `mdat` per part; libavformat's muxer chooses fragment boundaries itself.
Pure: packets in, bytes out. Video is track 1 and audio track 2 of one file.

ISO/IEC 14496-12 (boxes), 14496-15 (`avc1`), 14496-14 (`mp4a`, `esds`), 23000-19 (CMAF).
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

VIDEO_TIMESCALE = 90_000
AUDIO_TIMESCALE = 48_000
VIDEO_TRACK, AUDIO_TRACK = 1, 2

BT601 = 6
"""Colour primaries, transfer and matrix (ITU-T H.273, SMPTE 170M) of all pictures of the mix; limited range."""

_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_NO_LANGUAGE = 0x55C4
"""`und`, five bits per letter."""
_SYNC, _NOT_SYNC = 0x02000000, 0x01010000
"""Sample flags (14496-12 8.8.3.1): independent sync sample; dependent non-sync sample."""


class Packet(Protocol):
    """An encoded picture or audio frame. Times in the track's timescale."""

    @property
    def data(self) -> bytes: ...
    @property
    def pts(self) -> int: ...
    @property
    def dts(self) -> int: ...
    @property
    def keyframe(self) -> bool: ...
    @property
    def duration(self) -> int: ...


class Sample(NamedTuple):
    """Plain implementation of Packet."""

    data: bytes
    pts: int
    dts: int
    keyframe: bool
    duration: int


@dataclass(frozen=True, slots=True)
class VideoTrack:
    width: int
    height: int
    avcc: bytes
    "AVCDecoderConfigurationRecord; the encoder's extradata."
    timescale: int = VIDEO_TIMESCALE

    @property
    def codec(self) -> str:
        """Value for CODECS attributes (RFC 6381 3.3)."""
        return f"avc1.{self.avcc[1:4].hex()}"


@dataclass(frozen=True, slots=True)
class AudioTrack:
    config: bytes
    "AudioSpecificConfig; the encoder's extradata."
    channels: int = 2
    timescale: int = AUDIO_TIMESCALE
    "Sample rate."
    bit_rate: int = 128_000

    @property
    def codec(self) -> str:
        return f"mp4a.40.{self.config[0] >> 3}"


def init_segment(video: VideoTrack | None, audio: AudioTrack | None) -> bytes:
    """`ftyp` and `moov` of a fragmented file without samples."""
    tracks: list[tuple[int, bytes]] = []
    if video is not None:
        tracks.append((VIDEO_TRACK, _video_trak(video)))
    if audio is not None:
        tracks.append((AUDIO_TRACK, _audio_trak(audio)))
    brands = b"cmfc" + bytes(4) + b"iso6cmfcmp41"
    header = struct.pack(">IIIIIH", 0, 0, 1000, 0, 0x10000, 0x100) + bytes(10) + _MATRIX + bytes(24)
    header += struct.pack(">I", max(number for number, _ in tracks) + 1)
    extends = (_full(b"trex", 0, 0, struct.pack(">5I", number, 1, 0, 0, 0)) for number, _ in tracks)
    moov = _box(b"moov", _full(b"mvhd", 0, 0, header), *(trak for _, trak in tracks), _box(b"mvex", *extends))
    return _box(b"ftyp", brands) + moov


def codecs(init: bytes) -> str:
    """CODECS attribute for an initialization segment of this module; empty if it has no known track."""
    found = []
    if (at := init.find(b"avcC")) >= 0:
        found.append(f"avc1.{init[at + 5 : at + 8].hex()}")
    if (at := init.find(b"esds")) >= 0:
        # DecoderSpecificInfo is the last descriptor before SLConfig: tag 5, length in four bytes.
        config = init.find(b"\x05\x80\x80\x80", at)
        found.append(f"mp4a.40.{init[config + 5] >> 3}")
    return ",".join(found)


class Fragmenter:
    """Muxes packets into fragments. A packet lasts until the next one in its fragment; the last one uses its own duration."""

    __slots__ = ()

    def fragment(self, video: Sequence[Packet], audio: Sequence[Packet], sequence: int) -> bytes:
        """Returns `moof` and `mdat`. `sequence` must increase. Decoding times must not be negative."""
        runs = [(number, run) for number, run in ((VIDEO_TRACK, video), (AUDIO_TRACK, audio)) if run]
        head = _full(b"mfhd", 0, 0, struct.pack(">I", sequence))
        # Offsets are relative to the first byte of moof, whose size does not depend on them.
        size = 8 + len(head) + sum(len(_traf(number, run, 0)) for number, run in runs)
        offset, trafs = size + 8, []
        for number, run in runs:
            trafs.append(_traf(number, run, offset))
            offset += sum(len(packet.data) for packet in run)
        media = [packet.data for _, run in runs for packet in run]
        return b"".join((_box(b"moof", head, *trafs), struct.pack(">I4s", offset - size, b"mdat"), *media))


def _traf(number: int, run: Sequence[Packet], offset: int) -> bytes:
    """Track fragment (14496-12 8.8.6): offsets relative to the moof, absolute decoding time, all other values per sample."""
    shifted = any(packet.pts != packet.dts for packet in run)
    flags = 0x000701 | (0x000800 if shifted else 0)
    entries = []
    for index, packet in enumerate(run):
        duration = run[index + 1].dts - packet.dts if index + 1 < len(run) else packet.duration
        entries.append(struct.pack(">III", duration, len(packet.data), _SYNC if packet.keyframe else _NOT_SYNC))
        if shifted:
            entries.append(struct.pack(">i", packet.pts - packet.dts))
    return _box(
        b"traf",
        _full(b"tfhd", 0, 0x020000, struct.pack(">I", number)),
        _full(b"tfdt", 1, 0, struct.pack(">Q", run[0].dts)),
        _full(b"trun", 1, flags, struct.pack(">Ii", len(run), offset), *entries),
    )


def _video_trak(track: VideoTrack) -> bytes:
    name = b"\x09H.264 AVC".ljust(32, b"\0")
    entry = _box(
        b"avc1",
        bytes(6) + struct.pack(">H", 1) + bytes(16),
        struct.pack(">HHIIIH", track.width, track.height, 0x480000, 0x480000, 0, 1) + name + struct.pack(">Hh", 24, -1),
        _box(b"avcC", track.avcc),
        _box(b"colr", b"nclx" + struct.pack(">HHHB", BT601, BT601, BT601, 0)),
        _box(b"pasp", struct.pack(">II", 1, 1)),
    )
    media = _full(b"vmhd", 0, 1, bytes(8))
    return _trak(VIDEO_TRACK, track.timescale, b"vide", media, entry, track.width, track.height)


def _audio_trak(track: AudioTrack) -> bytes:
    # Object type AAC, stream type audio, buffer size 0, maximum and average bit rate.
    kind = struct.pack(">BBBHII", 0x40, 0x15, 0, 0, track.bit_rate, track.bit_rate)
    decoder = _descriptor(4, kind + _descriptor(5, track.config))
    elementary = _descriptor(3, struct.pack(">HB", AUDIO_TRACK, 0) + decoder + _descriptor(6, b"\x02"))
    entry = _box(
        b"mp4a",
        bytes(6) + struct.pack(">H", 1) + bytes(8),
        struct.pack(">HHHHI", track.channels, 16, 0, 0, track.timescale << 16),
        _full(b"esds", 0, 0, elementary),
    )
    return _trak(AUDIO_TRACK, track.timescale, b"soun", _full(b"smhd", 0, 0, bytes(4)), entry, 0, 0)


def _trak(number: int, timescale: int, kind: bytes, media: bytes, entry: bytes, width: int, height: int) -> bytes:
    volume = 0x100 if kind == b"soun" else 0
    header = struct.pack(">IIIII", 0, 0, number, 0, 0) + bytes(8) + struct.pack(">HHHH", 0, 0, volume, 0) + _MATRIX
    header += struct.pack(">II", width << 16, height << 16)
    here = _full(b"url ", 0, 1)
    tables = _box(
        b"stbl",
        _full(b"stsd", 0, 0, struct.pack(">I", 1), entry),
        _full(b"stts", 0, 0, bytes(4)),
        _full(b"stsc", 0, 0, bytes(4)),
        _full(b"stsz", 0, 0, bytes(8)),
        _full(b"stco", 0, 0, bytes(4)),
    )
    return _box(
        b"trak",
        _full(b"tkhd", 0, 3, header),
        _box(
            b"mdia",
            _full(b"mdhd", 0, 0, struct.pack(">IIIIHH", 0, 0, timescale, 0, _NO_LANGUAGE, 0)),
            _full(b"hdlr", 0, 0, bytes(4) + kind + bytes(12) + b"aiosfu\0"),
            _box(b"minf", media, _box(b"dinf", _full(b"dref", 0, 0, struct.pack(">I", 1), here)), tables),
        ),
    )


def _box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full(kind: bytes, version: int, flags: int, *content: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *content)


def _descriptor(tag: int, body: bytes) -> bytes:
    """MPEG-4 Systems descriptor (14496-1 8.3.3) with a 4-byte length."""
    return bytes((tag, 0x80, 0x80, 0x80, len(body))) + body
