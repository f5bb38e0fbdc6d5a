"""The innermost loop: sends canonical packets to all subscribers. Its cost is per forwarded packet.

The outer loop is over subscribers, the inner one over packets, so that the packets to one destination leave in one system
call (UDP GSO) if their sizes allow it: all equal, the last one may be shorter, at most 44 segments. The C part
(sfu/transport/native_src) replaces `fan_out`; this module is its reference.
"""

from collections.abc import Iterable
from typing import Final, Protocol

from sfu.errors import MalformedPacket
from sfu.forwarding.down_track import DATAGRAMS_KEPT, DownTrack
from sfu.forwarding.header_layout import FIXED_SIZE, HeaderLayout
from sfu.forwarding.offsets import Offsets, patched_bytes
from sfu.forwarding.packet import (
    FIXED_HEAD,
    HEAD,
    HEAD_SIZE,
    PADDED,
    PADDED_WORD,
    TWCC_AND_MID,
    WIDE_HEAD,
    WIDE_HEAD_SIZE,
    WIDE_MID,
    WIDE_TWCC,
    Packet,
)
from sfu.forwarding.peer_transport import PLAIN, Pointer, SrtpContext
from sfu.rtp import red

MAX_SEGMENTS: Final = 44
MAX_RUN: Final = 60_000
"""Bytes of one GSO message. The kernel takes 65,507; the encryptor's buffer is a little larger."""
SEAL_ROOM: Final = 32
"""Bytes that SRTP adds to a packet at most."""
PADDING: Final = tuple(bytes(max(0, n - 1)) + bytes([n]) if n else b"" for n in range(17))
"""RTP padding of n bytes (RFC 3550 5.1)."""

MAX_PADDING: Final = bytes(2 + 251) + bytes([252])
"""The two bytes that complete the header extensions, and 252 bytes of padding: the most in whole 32-bit words."""
PADDING_PACKET: Final = Packet(PADDED, 0, 0, PADDED_WORD, MAX_PADDING, HEAD_SIZE + len(MAX_PADDING), 0, 2, None, False)


class Length(Protocol):
    """An in-out cell (index 0): the length of a packet before and after encryption."""

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...


class SrtpEncryptor(Protocol):
    """The buffer that libsrtp works on, and its function that encrypts in place."""

    view: memoryview
    base: Pointer
    length: Length

    def protect(self, context: SrtpContext, pointer: Pointer, length: Length, /) -> int:
        """Encrypts the packet at `pointer`. Returns 0 on success."""

    def encrypt_rtcp(self, context: SrtpContext, data: bytes) -> memoryview | None:
        """The encrypted compound packet, valid until the next call; None on failure."""


GsoBatch = tuple[int, list[Packet]]
"""(size of all packets but the last, packets): one GSO message."""


def null_protect(context: SrtpContext, pointer: Pointer, length: Length) -> int:
    """`SrtpEncryptor.protect` for plain peers."""
    return 0


def gso_batches(batch: list[Packet], segments: bool, equalise: bool) -> list[GsoBatch]:
    """Groups of consecutive packets that fit one GSO message.

    With `equalise`, packets that are a few bytes short are padded to the largest: libwebrtc splits a frame into packets
    whose sizes differ by a byte, which would otherwise end a group.
    """
    if len(batch) <= 1 or not segments:
        return [(packet.size, [packet]) for packet in batch]
    if equalise:
        largest = max(packet.size for packet in batch)
        for index, packet in enumerate(batch):
            short = largest - packet.size
            if 0 < short <= 16 and not packet.first & 0x2000:
                batch[index] = packet._replace(
                    first=packet.first | 0x2000, tail=packet.tail + PADDING[short], size=largest
                )
    out: list[GsoBatch] = []
    size = most = 0
    current: list[Packet] = []
    for packet in batch:
        if current and (packet.size > size or len(current) >= most or current[-1].size != size):
            out.append((size, current))
            current = []
        if not current:
            size = packet.size
            most = min(MAX_SEGMENTS, MAX_RUN // (size + SEAL_ROOM))
        current.append(packet)
    out.append((size, current))
    return out


def fan_out(down_tracks: Iterable[DownTrack], groups: list[GsoBatch], encryptor: SrtpEncryptor) -> int:
    """Sends one batch to each of the down tracks. Returns the number of dropped datagrams."""
    view, base, length, head = encryptor.view, encryptor.base, encryptor.length, HEAD
    dropped = 0
    translations: dict[tuple[bytes, int, int], list[GsoBatch]] = {}
    for down_track in down_tracks:
        peer = down_track.peer
        context, datagram_sink = peer.tx, peer.datagram_sink
        if context is None or datagram_sink is None:
            continue
        layout = down_track.layout
        if layout is not None:
            alike = layout.ids, layout.form, len(layout.wide_head)
            if alike not in translations:
                translations[alike] = translated(groups, layout)
            dropped += _send_translated(down_track, layout, translations[alike], encryptor)
            continue
        protect = encryptor.protect if context is not PLAIN else null_protect
        address, auth_tag_size, twcc = peer.address, peer.auth_tag_size, peer.twcc_number
        offsets, ssrc, mid, payload_types = (
            down_track.offsets,
            down_track.ssrc,
            down_track.mid_word,
            down_track.payload_types,
        )
        sequence_offset, timestamp_offset, _, _, _, rewrites = offsets
        octets = count = 0
        for size, packets in groups:
            at = 0
            for first, sequence, timestamp, extension_word, tail, n, codec_index, _, codec_patch, _ in packets:
                if codec_patch is None or not codec_patch.wide:
                    head(
                        view, at, first | payload_types[codec_index], (sequence + sequence_offset) & 0xFFFF,
                        (timestamp + timestamp_offset) & 0xFFFFFFFF, ssrc, extension_word, TWCC_AND_MID | twcc << 8, mid,
                    )  # fmt: skip
                    view[at + HEAD_SIZE : at + n] = tail
                else:
                    WIDE_HEAD(
                        view, at, first | payload_types[codec_index], (sequence + sequence_offset) & 0xFFFF,
                        (timestamp + timestamp_offset) & 0xFFFFFFFF, ssrc, extension_word, WIDE_TWCC | twcc, WIDE_MID | mid,
                    )  # fmt: skip
                    view[at + WIDE_HEAD_SIZE : at + n] = tail
                if rewrites and codec_patch is not None:
                    for position, value in patched_bytes(codec_patch, offsets):
                        view[at + position] = value
                length[0] = n
                if protect(context, base + at if at else base, length):
                    dropped += 1
                    continue
                twcc = (twcc + 1) & 0xFFFF
                octets += n
                count += 1
                at += n + auth_tag_size
            if at <= size + auth_tag_size:
                if at and not datagram_sink.send(view[:at], address):
                    dropped += 1
            elif not datagram_sink.send_segments(view[:at], size + auth_tag_size, address):
                dropped += len(packets)
        peer.twcc_number = twcc
        down_track.packets += count
        down_track.octets += octets
    return dropped


def translated(groups: list[GsoBatch], layout: HeaderLayout) -> list[GsoBatch]:
    """The groups in the subscriber's layout, divided where sizes no longer fit one message."""
    return [
        group
        for _, packets in groups
        for group in gso_batches([layout.translate(packet) for packet in packets], True, False)
    ]


def _send_translated(
    down_track: DownTrack, layout: HeaderLayout, groups: list[GsoBatch], encryptor: SrtpEncryptor
) -> int:
    """Sends translated packets to one down track. Returns the number of dropped datagrams."""
    peer, view, base, length = down_track.peer, encryptor.view, encryptor.base, encryptor.length
    context, datagram_sink, datagrams = peer.tx, peer.datagram_sink, down_track.datagrams
    if context is None or datagram_sink is None:
        return 0
    protect = encryptor.protect if context is not PLAIN else null_protect
    offsets, auth_tag_size = down_track.offsets, peer.auth_tag_size
    dropped = 0
    for size, packets in groups:
        at = 0
        for packet in packets:
            n = packet.size
            sequence = (packet.sequence + offsets.sequence) & 0xFFFF
            _write_translated(
                view, at, layout, packet, down_track.payload_types[packet.codec_index], sequence,
                (packet.timestamp + offsets.timestamp) & 0xFFFFFFFF, down_track.ssrc, peer.twcc_number,
            )  # fmt: skip
            if offsets.rewrites and packet.codec_patch is not None:
                for position, value in patched_bytes(packet.codec_patch, offsets):
                    view[at + position] = value
            length[0] = n
            if protect(context, base + at if at else base, length):
                dropped += 1
                continue
            if datagrams is not None:
                datagrams[sequence % DATAGRAMS_KEPT] = bytes(view[at : at + length[0]])
            if layout.twcc:
                peer.twcc_number = (peer.twcc_number + 1) & 0xFFFF
            down_track.octets += n
            down_track.packets += 1
            at += n + auth_tag_size
        if at <= size + auth_tag_size:
            if at and not datagram_sink.send(view[:at], peer.address):
                dropped += 1
        elif not datagram_sink.send_segments(view[:at], size + auth_tag_size, peer.address):
            dropped += len(packets)
    return dropped


def _write_translated(
    view: memoryview,
    at: int,
    layout: HeaderLayout,
    packet: Packet,
    payload_type: int,
    sequence: int,
    timestamp: int,
    ssrc: int,
    twcc: int,
) -> None:
    FIXED_HEAD(view, at, packet.first | payload_type, sequence, timestamp, ssrc, packet.extension_word)
    head = layout.head_of(packet, twcc)
    begin = at + FIXED_SIZE
    view[begin : begin + len(head)] = head
    view[begin + len(head) : at + packet.size] = packet.tail


def without_red(batch: list[Packet]) -> list[Packet]:
    """The batch with each RED packet replaced by its primary block (RFC 2198), for subscribers without RED."""
    out = []
    for packet in batch:
        if packet.codec_index == 0:
            out.append(packet)
            continue
        tail = packet.tail
        try:
            _, start, end = red.primary(tail, packet.extension_size, len(tail))
        except MalformedPacket:
            continue
        plain = tail[: packet.extension_size] + tail[start:end]
        out.append(packet._replace(tail=plain, size=packet.size - len(tail) + len(plain), codec_index=0))
    return out


def send_padding(down_track: DownTrack, encryptor: SrtpEncryptor) -> int:
    """Sends a packet of padding only (RFC 3550 5.1) in the repair stream. Returns its size; 0 on failure."""
    if not _can_repair(down_track):
        return 0
    layout = down_track.layout
    packet = PADDING_PACKET if layout is None else layout.translate(PADDING_PACKET)
    _write_repair(down_track, packet, 0, encryptor.view)
    return _send_repair(down_track, packet.size, encryptor)


def resend(down_track: DownTrack, offsets: Offsets, packet: Packet, encryptor: SrtpEncryptor) -> bool:
    """Sends a packet again as an RTX packet (RFC 4588). It has its own SSRC and sequence number: no SRTP nonce repeats."""
    if not _can_repair(down_track):
        return False
    view, layout = encryptor.view, down_track.layout
    if layout is not None:
        packet = layout.translate(packet)
    _write_repair(down_track, packet, (packet.timestamp + offsets.timestamp) & 0xFFFFFFFF, view)
    if packet.codec_patch is not None and offsets.rewrites:
        for position, value in patched_bytes(packet.codec_patch, offsets):
            view[position] = value
    original = (packet.sequence + offsets.sequence) & 0xFFFF
    payload_at = packet.size - len(packet.tail) + packet.extension_size
    shifted = bytes(view[payload_at : packet.size])
    view[payload_at] = original >> 8
    view[payload_at + 1] = original & 0xFF
    view[payload_at + 2 : packet.size + 2] = shifted
    return _send_repair(down_track, packet.size + 2, encryptor) > 0


def resend_datagram(down_track: DownTrack, datagram: bytes) -> bool:
    """Sends an encrypted packet again, byte for byte: other bytes under the same SRTP index would reveal the key."""
    peer = down_track.peer
    if peer.tx is None or peer.datagram_sink is None:
        return False
    peer.counters.retransmitted += 1
    peer.counters.retransmitted_bytes += len(datagram) - peer.auth_tag_size
    return peer.datagram_sink.send(datagram, peer.address)


def _can_repair(down_track: DownTrack) -> bool:
    peer = down_track.peer
    return peer.tx is not None and peer.datagram_sink is not None and down_track.rtx_payload_type is not None


def _write_repair(down_track: DownTrack, packet: Packet, timestamp: int, view: memoryview) -> None:
    """Writes a packet of the repair stream. `packet` has the down track's layout."""
    sequence, ssrc, layout = down_track.rtx_sequence, down_track.rtx_ssrc, down_track.layout
    twcc, mid, payload_type = down_track.peer.twcc_number, down_track.mid_word, down_track.rtx_payload_type
    assert payload_type is not None
    if layout is not None:
        _write_translated(view, 0, layout, packet, payload_type, sequence, timestamp, ssrc, twcc)
        return
    first = packet.first | payload_type
    if packet.codec_patch is not None and packet.codec_patch.wide:
        WIDE_HEAD(
            view, 0, first, sequence, timestamp, ssrc, packet.extension_word, WIDE_TWCC | twcc, WIDE_MID | mid
        )  # fmt: skip
    else:
        HEAD(view, 0, first, sequence, timestamp, ssrc, packet.extension_word, TWCC_AND_MID | twcc << 8, mid)
    view[packet.size - len(packet.tail) : packet.size] = packet.tail


def _send_repair(down_track: DownTrack, size: int, encryptor: SrtpEncryptor) -> int:
    peer = down_track.peer
    assert peer.tx is not None
    assert peer.datagram_sink is not None
    encryptor.length[0] = size
    down_track.rtx_sequence = (down_track.rtx_sequence + 1) & 0xFFFF
    if down_track.layout is None or down_track.layout.twcc:
        peer.twcc_number = (peer.twcc_number + 1) & 0xFFFF
    protect = encryptor.protect if peer.tx is not PLAIN else null_protect
    if protect(peer.tx, encryptor.base, encryptor.length):
        return 0
    peer.counters.retransmitted += 1
    peer.counters.retransmitted_bytes += size
    return size if peer.datagram_sink.send(encryptor.view[: encryptor.length[0]], peer.address) else 0
