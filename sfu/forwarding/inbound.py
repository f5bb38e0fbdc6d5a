"""Inbound RTP: turns decrypted packets into canonical ones.

Header and extensions are read once, RTX packets are unwrapped, new SSRCs are bound to encodings. A peer's packets are
authenticated, but not trusted: every index is checked before use. Malformed packets are dropped and counted in
`PeerCounters.unrouted`; nothing raises on this path.
"""

import struct
from collections.abc import Callable
from typing import Final

from sfu.errors import MalformedPacket
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.header_extensions import (
    DEPENDENCY,
    IGNORE,
    LEVEL,
    MID,
    PASS,
    REPAIRED_RID,
    RID,
    SEND_TIME,
    TWCC,
)
from sfu.forwarding.media_track import MediaTrack
from sfu.forwarding.packet import HEAD_SIZE, ONE_BYTE, TWO_BYTE, WIDE_HEAD_SIZE, CodecPatch, Packet
from sfu.forwarding.peer import EnginePeer
from sfu.rtp.codecs import av1, h264, vp8, vp9
from sfu.sdp import capabilities as caps

_WORDS: Final = struct.Struct("!HLL").unpack_from
_LEVEL_OUT: Final = caps.OUT_EXTENSION_IDS[caps.URI_AUDIO_LEVEL]
_DEPENDENCY_OUT: Final = caps.OUT_EXTENSION_IDS[caps.URI_DEPENDENCY_DESCRIPTOR]
_SEND_TIME_OUT: Final = caps.OUT_EXTENSION_IDS[caps.URI_ABS_SEND_TIME]
BatchReader = Callable[[list[Encoding], float], tuple[int, int, int]]
"""Reads a batch of datagrams at a time and appends the encodings that got packets to the list, each once.

Returns the numbers of datagrams read, of packets taken and of forged packets.
"""
ELEMENTS: Final = 16
"""Header extensions read per packet: more than can be negotiated."""
_ZEROS: Final = (b"", b"\0", b"\0\0", b"\0\0\0")
_new: Final = tuple.__new__
"""Makes a NamedTuple from a tuple in half the time of its constructor."""
_NO_PATCH: Final = CodecPatch(False, 0, 0, 0, 0, 0, 0, 0)
_NO_EXTENSIONS: Final[tuple[bytes, int, bytes | None]] = (b"", -1, None)


def receive(peer: EnginePeer, view: memoryview, n: int, now: float) -> Encoding | None:
    """Takes one decrypted packet of `n` bytes. Returns the encoding whose batch grew; None if there is nothing to send."""
    b0 = view[0]
    start = 12 + ((b0 & 15) << 2)
    if b0 & 0xC0 != 0x80 or start > n:
        peer.counters.unrouted += 1
        return None
    payload_type = view[1] & 0x7F
    sequence, timestamp, ssrc = _WORDS(view, 2)
    bound = peer.streams.get(ssrc)
    names: dict[int, str] | None = None if bound is not None else {}
    extensions = _NO_EXTENSIONS
    if b0 & 0x10:
        at = start + 4
        if at <= n:
            start = at + ((view[start + 2] << 8 | view[start + 3]) << 2)
        if at > n or start > n:
            peer.counters.unrouted += 1
            return None
        read = _read_extensions(peer, view, at, start, names, now)
        if read is None:
            peer.counters.unrouted += 1
            return None
        extensions = read
    if names is not None:
        bound = peer.stream_table.bind(
            ssrc, payload_type, names.get(MID), names.get(RID), names.get(REPAIRED_RID), now
        )  # fmt: skip
    if b0 & 0x20:
        padding = view[n - 1]
        n = n - padding if padding else 0
    if bound is None or start > n:
        peer.counters.unrouted += 1
        return None
    encoding, repair = bound
    track = encoding.track
    if repair:
        original = _original_of(encoding, view, start, n, payload_type)
        if original is None:
            return None
        payload_type, sequence = original
        start += 2
    codec_index = track.payload_types.get(payload_type)
    if codec_index is None:
        peer.counters.unrouted += 1
        return None
    if sequence == encoding.highest + 1 and timestamp == encoding.last_timestamp:  # the usual case, kept short
        encoding.highest = sequence
        encoding.received += 1
    elif not encoding.record_arrival(sequence, timestamp, now):
        return None
    if repair:
        encoding.recovered += 1
    encoding.last_arrival = now
    encoding.packets += 1
    encoding.bytes += n
    level = extensions[1]
    if level >= 0 and (track.level is None or level & 0x7F < track.level):
        track.level = level & 0x7F
    if track.muted:
        return None
    packet = _canonical(track, encoding, view, start, n, sequence, timestamp, codec_index, extensions)
    encoding.history[sequence & encoding.mask] = packet
    codec_patch = packet.codec_patch
    if codec_patch is not None and sequence == encoding.highest:
        encoding.last_codec_patch = codec_patch
    if not encoding.down_tracks and encoding.layer_filter is None:
        return None
    encoding.batch.append(packet)
    return encoding


def _read_extensions(
    peer: EnginePeer, view: memoryview, at: int, end: int, names: dict[int, str] | None, now: float
) -> tuple[bytes, int, bytes | None] | None:
    """Reads the header extensions between `at` and `end` (RFC 8285); None if they are malformed.

    Returns (extensions to forward, in one-byte form; audio level or −1; dependency descriptor). `names` collects MID, RID
    and repaired RID of a stream that is not bound yet.
    """
    two_byte = view[at - 4] != 0xBE or view[at - 3] != 0xDE
    if two_byte and (view[at - 4] != 0x10 or view[at - 3] & 0xF0):
        return _NO_EXTENSIONS
    actions = peer.extension_actions
    block, level = b"", -1
    dependency: bytes | None = None
    count = 0
    while at < end and count < ELEMENTS:
        number = view[at]
        if number == 0:
            at += 1
            continue
        if two_byte:
            if at + 1 >= end:
                break
            size = view[at + 1]
            at += 2
        else:
            if number >= 0xF0:
                break
            size = (number & 15) + 1
            number >>= 4
            at += 1
        count += 1
        if at + size > end:
            return None
        action = actions[number]
        if action == TWCC:
            if size == 2 and peer.twcc is not None:
                peer.twcc.record(view[at] << 8 | view[at + 1], now)
        elif action <= REPAIRED_RID:  # also IGNORE, MID and RID; one comparison for the usual case, a bound stream
            if names is not None and action != IGNORE and size:
                names[action] = str(view[at : at + size], "ascii", "replace")
        elif size == 0:
            pass
        elif action == LEVEL:
            if size == 1:
                level = view[at]
                block += bytes((_LEVEL_OUT << 4, level))
        elif action == DEPENDENCY:
            dependency = bytes(view[at : at + size])
        elif action == SEND_TIME:
            if size == 3:
                block += (_SEND_TIME_OUT << 28 | 2 << 24 | int(now * 262144) & 0xFFFFFF).to_bytes(4, "big")
        elif action >= PASS and size <= 16:
            block += bytes(((action - PASS) << 4 | size - 1,)) + view[at : at + size]
        at += size
    return block, level, dependency


def _original_of(
    encoding: Encoding, view: memoryview, start: int, end: int, payload_type: int
) -> tuple[int, int] | None:
    """(payload type, sequence number) of the packet inside an RTX packet (RFC 4588); None if it is not needed.

    Padding and probes are not needed: congestion control has recorded them already.
    """
    original = encoding.track.rtx.get(payload_type)
    if original is None or end - start < 2 or not encoding.ssrc:
        return None
    sequence = view[start] << 8 | view[start + 1]
    if encoding.nack_generator is not None and sequence not in encoding.nack_generator.missing:
        return None  # a probe made from an old packet, or a packet that was recovered already
    return original, sequence


def _canonical(
    track: MediaTrack,
    encoding: Encoding,
    view: memoryview,
    start: int,
    end: int,
    sequence: int,
    timestamp: int,
    codec_index: int,
    extensions: tuple[bytes, int, bytes | None],
) -> Packet:
    """The packet in canonical form (packet.py). `start` and `end` delimit its payload."""
    block, _, dependency = extensions
    wide = False
    frame_at = 0
    head, used = HEAD_SIZE, 6  # the transport-wide number and the MID take 6 bytes of the extensions
    if dependency is not None:
        if len(dependency) > 3 and dependency[3] & 0x80:
            encoding.structure = dependency
        if len(dependency) <= 16:
            block += bytes((_DEPENDENCY_OUT << 4 | len(dependency) - 1,)) + dependency
        else:
            wide, head, used = True, WIDE_HEAD_SIZE, 8
            block = _widen(block) + bytes((_DEPENDENCY_OUT, len(dependency))) + dependency
        if len(dependency) >= 3:
            frame_at = head + len(block) - len(dependency) + 1
    used += len(block)
    padding = -used & 3
    if padding:
        block += _ZEROS[padding]
    codec_patch: CodecPatch | None = None
    keyframe = True
    if track.kind == "video":
        if end > start:
            keyframe, codec_patch = describe(track, encoding, view, start, end, head + len(block))
            if keyframe:
                encoding.keyframes += 1
                track.keyframes.satisfied()
        else:
            keyframe = False
    if frame_at or wide:
        number = 0 if dependency is None or not frame_at else dependency[1] << 8 | dependency[2]
        base = codec_patch if codec_patch is not None else _NO_PATCH
        codec_patch = base._replace(wide=wide, frame_number_at=frame_at, frame_number=number)
    tail = b"".join((block, view[start:end]))
    return _new(
        Packet,
        (
            0x9000 | (view[1] & 0x80),
            sequence,
            timestamp,
            (TWO_BYTE if wide else ONE_BYTE) | (used + padding) >> 2,
            tail,
            head + len(tail),
            codec_index,
            len(block),
            codec_patch,
            keyframe,
        ),
    )


def _widen(extension_block: bytes) -> bytes:
    """Well-formed one-byte extensions in the two-byte form (RFC 8285 4.3)."""
    out = bytearray()
    at = 0
    while at < len(extension_block):
        size = (extension_block[at] & 15) + 1
        out += bytes((extension_block[at] >> 4, size)) + extension_block[at + 1 : at + 1 + size]
        at += 1 + size
    return bytes(out)


def describe(
    track: MediaTrack, encoding: Encoding, view: memoryview, start: int, end: int, payload_at: int
) -> tuple[bool, CodecPatch | None]:
    """(begins a keyframe, codec fields to patch) of a video payload. `payload_at`: its offset in the outbound packet."""
    try:
        return _describe(track, encoding, view, start, end, payload_at)
    except MalformedPacket:  # end-to-end encrypted payloads are not parseable, but forwarded as well
        return False, None


def _describe(
    track: MediaTrack, encoding: Encoding, view: memoryview, start: int, end: int, payload_at: int
) -> tuple[bool, CodecPatch | None]:
    moved = payload_at - start
    if track.codec == "VP8":
        first, bits = view[start], view[start + 1] if end - start > 6 else 0
        if first & 0x80 and bits & 0xC0 == 0xC0 and view[start + 2] & 0x80:
            # The form that libwebrtc sends: 15-bit picture id and TL0PICIDX at fixed offsets (RFC 7741 4.2).
            body = start + (6 if bits & 0x30 else 5)
            if not first & 0x10 or first & 7 or view[body] & 1:
                picture_id = (view[start + 2] & 0x7F) << 8 | view[start + 3]
                at = payload_at + 2
                return False, _new(CodecPatch, (False, at, picture_id, 15, at + 2, view[start + 4], 0, 0))
        mark = vp8.describe(view, start, end)
        if mark.keyframe:
            encoding.resize(mark.width, mark.height)
        if not mark.picture_id_bits:
            return mark.keyframe, None
        return mark.keyframe, CodecPatch(
            False,
            mark.picture_id_offset + moved,
            mark.picture_id,
            mark.picture_id_bits,
            mark.tl0picidx_offset + moved if mark.tl0picidx_offset else 0,
            max(0, mark.tl0picidx),
            0,
            0,
        )
    if track.codec == "VP9":
        nine = vp9.describe(view, start, end)
        if nine.keyframe:
            encoding.resize(nine.width, nine.height)
        if not nine.picture_id_bits:
            return nine.keyframe, None
        return nine.keyframe, CodecPatch(
            False,
            nine.picture_id_offset + moved,
            nine.picture_id,
            nine.picture_id_bits,
            nine.tl0picidx_offset + moved if nine.tl0picidx_offset else 0,
            max(0, nine.tl0picidx),
            0,
            0,
        )
    mark264 = h264.describe(view, start, end) if track.codec == "H264" else av1.describe(view, start, end)
    if mark264.keyframe:
        encoding.resize(mark264.width, mark264.height)
    return mark264.keyframe, None
