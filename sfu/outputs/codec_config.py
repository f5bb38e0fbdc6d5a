"""Picture size and decoder configuration record of a video stream, read from a keyframe without decoding it.

VP8: RFC 6386 9.1; VP9: bitstream specification 6.2; H.264: ISO/IEC 14496-15 5.3.3.1 (avcC); AV1: AV1-ISOBMFF 2.3.3
(av1C), for 8-bit 4:2:0 only.
"""

from typing import Final, NamedTuple

from sfu.errors import MalformedPacket
from sfu.rtp.codecs.av1 import sequence_size
from sfu.rtp.codecs.bit_reader import BitReader
from sfu.rtp.codecs.h264 import sps_size

_SPS: Final = 7
_PPS: Final = 8
_SEQUENCE_HEADER: Final = 1


class CodecConfig(NamedTuple):
    width: int
    height: int
    private: bytes
    "avcC or av1C; empty for VP8 and VP9."


def codec_config(codec: str, keyframe: bytes) -> CodecConfig:
    """Configuration of a `VP8`, `VP9`, `H264` (Annex B) or `AV1` (low-overhead OBUs) stream. Raises MalformedPacket."""
    try:
        match codec.upper():
            case "VP8":
                return _vp8(keyframe)
            case "VP9":
                return _vp9(keyframe)
            case "H264":
                return _h264(keyframe)
            case "AV1":
                return _av1(keyframe)
    except IndexError as problem:
        raise MalformedPacket("keyframe is truncated") from problem
    raise ValueError(f"unsupported codec {codec}")


def length_prefixed(annex_b: bytes) -> bytes:
    """Converts H.264 from start codes to 4-byte length prefixes."""
    return b"".join([len(unit).to_bytes(4, "big") + unit for unit in nal_units(annex_b)])


def nal_units(annex_b: bytes) -> list[bytes]:
    found = []
    at = annex_b.find(b"\0\0\1")
    while at >= 0:
        following = annex_b.find(b"\0\0\1", at + 3)
        unit = annex_b[at + 3 : following if following >= 0 else len(annex_b)].rstrip(b"\0")
        if unit:
            found.append(unit)
        at = following
    return found


def _vp8(frame: bytes) -> CodecConfig:
    if frame[3:6] != b"\x9d\x01\x2a":
        raise MalformedPacket("VP8 keyframe has no start code")
    width = int.from_bytes(frame[6:8], "little") & 0x3FFF
    height = int.from_bytes(frame[8:10], "little") & 0x3FFF
    return CodecConfig(width, height, b"")


def _vp9(frame: bytes) -> CodecConfig:
    bits = BitReader(frame[:24])
    if bits.read(2) != 2:
        raise MalformedPacket("VP9 frame marker is wrong")
    profile = bits.read(1) | bits.read(1) << 1
    if profile == 3:
        bits.read(1)
    if bits.flag() or bits.flag():
        raise MalformedPacket("VP9 frame is not a keyframe")
    bits.read(2)
    if bits.read(24) != 0x498342:
        raise MalformedPacket("VP9 sync code is wrong")
    if profile >= 2:
        bits.read(1)
    if bits.read(3) != 7:
        bits.read(1)
        if profile & 1:
            bits.read(3)
    elif profile & 1:
        bits.read(1)
    return CodecConfig(bits.read(16) + 1, bits.read(16) + 1, b"")


def _h264(frame: bytes) -> CodecConfig:
    units = nal_units(frame)
    sets = [unit for unit in units if unit[0] & 0x1F == _SPS and len(unit) >= 4]
    pictures = [unit for unit in units if unit[0] & 0x1F == _PPS]
    if not sets or not pictures:
        raise MalformedPacket("H.264 keyframe has no parameter sets")
    width, height = sps_size(sets[0][1:129])
    record = b"\x01" + sets[0][1:4] + b"\xff" + bytes([0xE0 | min(len(sets), 31)])
    record += b"".join([len(unit).to_bytes(2, "big") + unit for unit in sets[:31]])
    record += bytes([min(len(pictures), 255)])
    record += b"".join([len(unit).to_bytes(2, "big") + unit for unit in pictures[:255]])
    if sets[0][1] in (100, 110, 122, 144):
        record += b"\xfd\xf8\xf8\x00"  # 4:2:0, 8 bits, no SPS extensions
    return CodecConfig(width, height, record)


def _av1(frame: bytes) -> CodecConfig:
    at = 0
    while at < len(frame):
        head, body = frame[at], at + 1 + (frame[at] >> 2 & 1)
        if not head & 2:
            raise MalformedPacket("AV1 unit has no size")
        size = shift = 0
        while True:
            size |= (frame[body] & 0x7F) << shift
            shift += 7
            body += 1
            if not frame[body - 1] & 0x80 or shift > 28:
                break
        if head >> 3 & 0xF == _SEQUENCE_HEADER:
            header = frame[body : body + size]
            width, height = sequence_size(header)
            profile = header[0] >> 5
            return CodecConfig(width, height, bytes([0x81, profile << 5 | 31, 0x0C, 0]) + frame[at : body + size])
        at = body + size
    raise MalformedPacket("AV1 keyframe has no sequence header")
