"""Coded pictures → RTP, the way senders do it: what the tests of the mixer and the recorder feed in."""

import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

ENCODERS = {
    "VP8": ("libvpx", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}),
    "VP9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}),
    "H264": ("libx264", {"preset": "ultrafast", "tune": "zerolatency"}),
    "AV1": ("libsvtav1", {"preset": "11", "svtav1-params": "pred-struct=1:lookahead=0:lp=1:rc=2"}),
}


def encode(
    codec: str, pictures: Sequence[np.ndarray], *, gop: int = 1000, bit_rate: int = 500_000, global_header: bool = False
) -> Iterator[bytes]:
    """Access units of I420 pictures (height * 3 // 2, width)."""
    name, options = ENCODERS[codec]
    height, width = pictures[0].shape[0] * 2 // 3, pictures[0].shape[1]
    encoder = VideoCodecContext.create(name, "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 30), Fraction(30)
    encoder.bit_rate, encoder.gop_size, encoder.thread_count = bit_rate, gop, 1
    encoder.options = options
    for index, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="yuv420p")
        frame.pts = index
        yield from (bytes(packet) for packet in encoder.encode(frame))
    yield from (bytes(packet) for packet in encoder.encode(None))


def payloads(codec: str, unit: bytes, size: int = 1100) -> list[bytes]:
    return {"VP8": _vp8, "VP9": _vp9, "H264": _h264, "AV1": _av1}[codec](unit, size)


def packets(
    codec: str, units: Sequence[bytes], *, first: int = 65_530, step: int = 3000, size: int = 1100, rotation: int = 0
) -> list[list[bytes]]:
    """RTP packets of each unit."""
    sequence, found = first, []
    for index, unit in enumerate(units):
        parts = payloads(codec, unit, size)
        group = []
        for number, payload in enumerate(parts):
            last = number == len(parts) - 1
            group.append(rtp(payload, sequence, index * step, marker=last, rotation=rotation if last else 0))
            sequence += 1
        found.append(group)
    return found


def rtp(payload: bytes, sequence: int, timestamp: int, *, marker: bool = False, rotation: int = 0) -> bytes:
    extension = b""
    if rotation:
        extension = struct.pack("!HHBBH", 0xBEDE, 1, 5 << 4, rotation // 90, 0)
    head = struct.pack(
        "!BBHII",
        0x90 if extension else 0x80,
        96 | marker << 7,
        sequence & 0xFFFF,
        timestamp & 0xFFFF_FFFF,
        1,
    )
    return head + extension + payload


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def _vp8(unit: bytes, size: int) -> list[bytes]:
    return [bytes([0x80 | (not index) << 4, 0x80, 7]) + piece for index, piece in enumerate(_pieces(unit, size))]


def _vp9(unit: bytes, size: int) -> list[bytes]:
    # Uncompressed header: frame marker (2), profile (2), show_existing_frame, frame_type: 0 is a keyframe.
    predicted = bool(unit[0] & 0x04)
    parts = _pieces(unit, size)
    return [
        bytes([0x80 | predicted << 6 | (not index) << 3 | (index == len(parts) - 1) << 2, 9]) + piece
        for index, piece in enumerate(parts)
    ]


def _h264(unit: bytes, size: int) -> list[bytes]:
    units = [piece.rstrip(b"\0") for piece in unit.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if piece]
    found, small = [], []
    for nal in units:
        if len(nal) < 200:
            small.append(nal)
            continue
        found += _aggregate(small)
        small = []
        if len(nal) <= size:
            found.append(nal)
            continue
        parts = _pieces(nal[1:], size)
        for index, piece in enumerate(parts):
            flags = (not index) << 7 | (index == len(parts) - 1) << 6
            found.append(bytes([nal[0] & 0xE0 | 28, flags | nal[0] & 0x1F]) + piece)
    return found + _aggregate(small)


def _aggregate(units: list[bytes]) -> list[bytes]:
    if len(units) < 2:
        return units
    return [b"\x78" + b"".join(struct.pack("!H", len(unit)) + unit for unit in units)]


def obus(unit: bytes) -> list[bytes]:
    """Of a temporal unit with size fields, which are taken off."""
    found, at = [], 0
    while at < len(unit):
        head = unit[at]
        body = at + (2 if head & 4 else 1)
        size = shift = 0
        while True:
            byte = unit[body]
            body += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        found.append(bytes([head & ~2]) + unit[at + 1 : at + (2 if head & 4 else 1)] + unit[body : body + size])
        at = body + size
    return found


def _av1(unit: bytes, size: int) -> list[bytes]:
    wanted = [obu for obu in obus(unit) if obu[0] >> 3 & 0x0F != 2]
    begins = any(obu[0] >> 3 & 0x0F == 1 for obu in wanted)
    found: list[bytes] = []
    for number, obu in enumerate(wanted):
        parts = _pieces(obu, size)
        for index, piece in enumerate(parts):
            head = (index > 0) << 7 | (index < len(parts) - 1) << 6 | 1 << 4
            found.append(bytes([head | (begins and not found) << 3]) + piece)
        del number
    return found
