"""H.264 payload parsing: start of a keyframe and picture size.

RFC 6184 section 5 (packetization). Sequence parameter set: ITU-T H.264 7.3.2.1.1 and annex E.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from sfu.errors import MalformedPacket
from sfu.rtp.codecs.bit_reader import BitReader
from sfu.rtp.packet import Buffer

_IDR = 5
_SPS = 7
_STAP_A = 24
_STAP_B = 25
_FU_A = 28
_FU_B = 29

_SPS_LIMIT = 128
"""Bytes of a parameter set to read. The picture size is within the first hundred, even with scaling lists."""
_UNIT_LIMIT = 32
"""Units of one aggregation packet to inspect. Encoders put parameter sets and the first slice at the start."""
_CODE_LIMIT = 1024
"""Limit of scaling list and picture order cycle codes in one parameter set. The standard allows 735."""
_PACKET_CODE_LIMIT = 64
"""The same limit on the packet path, where every packet may carry a parameter set. Conferencing encoders send no such
lists. Beyond the limit, the size declared by the publisher is used.
"""
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})


class Descriptor(NamedTuple):
    keyframe: bool
    "The packet begins a keyframe: it carries a parameter set or the first slice."
    width: int
    height: int
    temporal: int
    "-1: H.264 does not signal temporal layers."
    spatial: int
    parameter_set: bool
    "The packet contains a sequence parameter set."


_PLAIN = Descriptor(False, 0, 0, -1, 0, False)
_SLICE = Descriptor(True, 0, 0, -1, 0, False)


def describe(data: Buffer, start: int, end: int) -> Descriptor:
    """Parses the payload between `start` and `end`. Raises MalformedPacket."""
    if end > len(data) or start >= end:
        raise MalformedPacket("H.264 payload is empty")
    kind = data[start] & 0x1F
    if kind in (_FU_A, _FU_B):
        if start + 2 >= end:
            raise MalformedPacket("H.264 fragment is truncated")
        head = data[start + 1]
        if not head & 0x80:
            return _PLAIN
        kind = head & 0x1F
        at = start + 2 if data[start] & 0x1F == _FU_A else start + 4
        if kind == _IDR:
            return _SLICE if at < end and data[at] & 0x80 else _PLAIN
        if kind == _SPS:
            return Descriptor(True, *_picture_size(data, at, end), -1, 0, True)
        return _PLAIN
    if kind in (_STAP_A, _STAP_B):
        return _aggregate(data, start + 1 if kind == _STAP_A else start + 3, end)
    if kind == _IDR:
        return _SLICE if start + 1 < end and data[start + 1] & 0x80 else _PLAIN
    if kind == _SPS:
        return Descriptor(True, *_picture_size(data, start + 1, end), -1, 0, True)
    return _PLAIN


def _aggregate(data: Buffer, at: int, end: int) -> Descriptor:
    found = _PLAIN
    for _ in range(_UNIT_LIMIT):
        if at == end:
            break
        if at + 3 > end:
            raise MalformedPacket("H.264 aggregation is truncated")
        size = data[at] << 8 | data[at + 1]
        at += 2
        if size == 0 or at + size > end:
            raise MalformedPacket("H.264 aggregation unit does not fit")
        kind = data[at] & 0x1F
        if kind == _SPS:
            if not found.parameter_set:  # once per packet: a picture has one size
                found = Descriptor(True, *_picture_size(data, at + 1, at + size), -1, 0, True)
        elif kind == _IDR and not found.keyframe and size > 1 and data[at + 1] & 0x80:
            found = _SLICE
        at += size
    return found


def nal_units(payloads: Sequence[bytes]) -> list[bytes]:
    """Returns the NAL units in the payloads of one picture's packets (single, STAP-A, FU-A). Raises MalformedPacket."""
    found: list[bytes] = []
    fragments: list[bytes] = []
    for payload in payloads:
        kind = payload[0] & 0x1F if payload else 0
        if kind == _FU_A:
            if len(payload) < 3:
                raise MalformedPacket("H.264 fragment is truncated")
            head = payload[1]
            if head & 0x80:
                fragments = [bytes([payload[0] & 0xE0 | head & 0x1F])]
            elif not fragments:
                raise MalformedPacket("H.264 fragment without its start")
            fragments.append(payload[2:])
            if head & 0x40:
                found.append(b"".join(fragments))
                fragments = []
        elif fragments:
            raise MalformedPacket("H.264 fragment without its end")
        elif kind == _STAP_A:
            at = 1
            while at < len(payload):
                size = int.from_bytes(payload[at : at + 2], "big")
                at += 2
                if size == 0 or at + size > len(payload):
                    raise MalformedPacket("H.264 aggregation unit does not fit")
                found.append(payload[at : at + size])
                at += size
        elif 1 <= kind < _STAP_A:
            found.append(payload)
        else:
            raise MalformedPacket("unsupported H.264 packetization")
    if fragments:
        raise MalformedPacket("H.264 fragment without its end")
    return found


def _picture_size(data: Buffer, start: int, end: int) -> tuple[int, int]:
    """Returns (0, 0) for an unreadable parameter set: validation is left to the decoder."""
    try:
        return sps_size(bytes(data[start : min(end, start + _SPS_LIMIT)]), _PACKET_CODE_LIMIT)
    except MalformedPacket:
        return 0, 0


class Sps(NamedTuple):
    """The part of a sequence parameter set that decides whether browsers can decode the stream."""

    profile: int
    constraints: int
    "The constraint_set flags, as the byte of the parameter set."
    level: int
    chroma: int
    "chroma_format_idc; 1: 4:2:0."
    bit_depth: int
    width: int
    height: int
    progressive: bool
    "Frames only, no fields."
    reorder_frames: int | None
    "Maximum number of frames that are sent before a frame that precedes them; None: not specified."


@lru_cache(maxsize=64)
def sps_size(sps: bytes, code_limit: int = _CODE_LIMIT) -> tuple[int, int]:
    """Returns width and height of the cropped picture, from a sequence parameter set without its NAL header.

    `code_limit` bounds the scaling list and picture order cycle codes to read. Raises MalformedPacket.
    """
    found = _read_sps(_bits(sps), code_limit)
    return found.width, found.height


def parse_sps(sps: bytes) -> Sps:
    """Parses a sequence parameter set without its NAL header, VUI included. Raises MalformedPacket."""
    bits = _bits(sps)
    return _read_sps(bits, _CODE_LIMIT)._replace(reorder_frames=_read_reorder_frames(bits))


def has_b_slice(unit: bytes) -> bool:
    """Whether a NAL unit is a slice of a B picture (7.3.3). Raises MalformedPacket."""
    if not unit or unit[0] & 0x1F not in (1, 2):
        return False
    bits = _bits(unit[1:13])
    bits.exp_golomb()
    return bits.exp_golomb() % 5 == 1


def _bits(data: bytes) -> BitReader:
    return BitReader(data.replace(b"\0\0\3", b"\0\0"))  # 7.4.1: emulation prevention


def _read_sps(bits: BitReader, code_limit: int) -> Sps:
    """Reads up to the cropping rectangle."""
    profile, constraints, level = bits.read(8), bits.read(8), bits.read(8)
    bits.exp_golomb()
    chroma, depth = 1, 8
    if profile in _HIGH_PROFILES:
        chroma = bits.exp_golomb()
        if chroma == 3:
            bits.flag()
        depth = 8 + max(bits.exp_golomb(), bits.exp_golomb())
        bits.flag()
        if bits.flag():
            for index in range(12 if chroma == 3 else 8):
                if bits.flag():
                    code_limit -= _skip_scaling_list(bits, min(16 if index < 6 else 64, code_limit + 1))
                    if code_limit < 0:
                        raise MalformedPacket("H.264 scaling lists are too long")
    bits.exp_golomb()
    order = bits.exp_golomb()
    if order == 0:
        bits.exp_golomb()
    elif order == 1:
        bits.flag()
        bits.exp_golomb()
        bits.exp_golomb()
        cycle = bits.exp_golomb()
        if cycle > min(255, code_limit):
            raise MalformedPacket("H.264 picture order cycle is too long")
        for _ in range(cycle):
            bits.exp_golomb()
    bits.exp_golomb()
    bits.flag()
    width = 16 * (bits.exp_golomb() + 1)
    height = 16 * (bits.exp_golomb() + 1)
    frames_only = bits.flag()
    if not frames_only:
        height *= 2
        bits.flag()
    bits.flag()
    if bits.flag():
        left, right, top, bottom = (bits.exp_golomb() for _ in range(4))
        horizontal = 2 if chroma in (1, 2) else 1
        vertical = (2 if chroma == 1 else 1) * (1 if frames_only else 2)
        width -= horizontal * (left + right)
        height -= vertical * (top + bottom)
    if not (0 < width <= 16_384 and 0 < height <= 16_384):
        raise MalformedPacket("invalid H.264 picture size")
    return Sps(profile, constraints, level, chroma, depth, width, height, frames_only, None)


def _read_reorder_frames(bits: BitReader) -> int | None:
    """max_num_reorder_frames of the VUI (annex E.1.1), which follows the cropping rectangle."""
    if not bits.flag():
        return None
    if bits.flag() and bits.read(8) == 255:  # aspect ratio
        bits.read(32)
    if bits.flag():  # overscan
        bits.flag()
    if bits.flag():  # video signal type
        bits.read(4)
        if bits.flag():
            bits.read(24)
    if bits.flag():  # chroma location
        bits.exp_golomb()
        bits.exp_golomb()
    if bits.flag():  # timing
        bits.read(65)
    hrd = False
    for _ in range(2):
        if bits.flag():
            hrd = True
            _skip_hrd(bits)
    if hrd:
        bits.flag()
    bits.flag()
    if not bits.flag():
        return None
    bits.flag()
    for _ in range(4):
        bits.exp_golomb()
    return bits.exp_golomb()


def _skip_hrd(bits: BitReader) -> None:
    count = bits.exp_golomb() + 1
    if count > 32:
        raise MalformedPacket("invalid H.264 HRD parameters")
    bits.read(8)
    for _ in range(count):
        bits.exp_golomb()
        bits.exp_golomb()
        bits.flag()
    bits.read(20)


def _skip_scaling_list(bits: BitReader, size: int) -> int:
    """Skips a list of at most `size` codes and returns their number. A scale of 0 ends the list (7.3.2.1.1.1)."""
    scale = 8
    for count in range(1, size + 1):
        scale = (scale + bits.signed_exp_golomb()) & 0xFF
        if not scale:
            return count
    return size
