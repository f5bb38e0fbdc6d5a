"""Header extensions towards a subscriber that chose its own ids, and so cannot take canonical packets as they are.

The usual subscriber answers our offer: its ids are `OUT_EXTENSION_IDS`, its mid has two characters, and its packets are
canonical ones (packet.py) with a patched header. A subscriber that made the offer (WHEP, a single peer connection) chose ids
and mids itself. Its packets begin with a head of its own, followed by the extensions that it negotiated under its ids:

    0                   12               16
    | RTP fixed header  | profile, words | [twcc id+no] [mid] | further extensions, padded | payload

One-byte and two-byte form: RFC 8285 4.2 and 4.3; both in one stream: 4.1.2 and 6 (`extmap-allow-mixed`). The C part does
the same for each packet (native_src/layout.h).
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from sfu.forwarding.packet import HEAD_SIZE, ONE_BYTE, TWO_BYTE, WIDE_HEAD_SIZE, CodecPatch, Packet
from sfu.sdp import capabilities as caps

ONE_BYTE_ONLY, MIXED, TWO_BYTE_ONLY = range(3)
"""Forms that a subscriber takes."""
FIXED_SIZE: Final = 16
"""Bytes of the RTP header and of the extensions' profile and length."""
LONGEST_MID: Final = 16
"""Bytes of a mid in the one-byte form. A longer mid is not sent: the streams are declared by SSRC."""
LARGEST_ONE_BYTE: Final = 14
"""Largest id of the one-byte form."""
ELEMENTS: Final = 16
"""Extensions translated per packet; inbound.py keeps no more."""
TRANSLATION_ROOM: Final = 64
"""More than a packet grows: 16 bytes of mid, a byte per extension, padding."""
_ZEROS: Final = (b"", b"\0", b"\0\0", b"\0\0\0")
_IN_THE_HEAD: Final = frozenset({caps.URI_MID, caps.URI_TRANSPORT_CC})


class HeaderLayout(NamedTuple):
    """Header extensions of one down track. The C part reads it."""

    ids: bytes
    "The subscriber's id by our id (16 entries). 0: it does not get the extension."
    form: int
    "`ONE_BYTE_ONLY`, `MIXED` or `TWO_BYTE_ONLY`."
    twcc: bool
    "Whether the heads begin with the transport-wide number."
    head: bytes
    "The first extensions in one-byte form, with a transport-wide number of zero."
    wide_head: bytes
    "The same in two-byte form."

    def translate(self, packet: Packet) -> Packet:
        """The packet with the subscriber's further extensions. Its size and positions include the head."""
        tail, end = packet.tail, packet.extension_size
        elements = _elements(tail, end, two_byte=packet.extension_word >> 16 != 0xBEDE)
        kept = [(self.ids[number], at, size) for number, at, size in elements if number < 16 and self.ids[number]]
        two_byte = self.form == TWO_BYTE_ONLY or (self.form == MIXED and any(size > 16 for _, _, size in kept))
        head = len(self.wide_head if two_byte else self.head)
        patch = packet.codec_patch
        old_head = WIDE_HEAD_SIZE if patch is not None and patch.wide else HEAD_SIZE
        frame_at = 0
        block = bytearray()
        for number, at, size in kept:
            if two_byte:
                block += bytes((number, size))
            elif 0 < size <= 16:
                block.append(number << 4 | size - 1)
            else:
                continue
            if patch is not None and at <= patch.frame_number_at - old_head <= at + size - 2:
                frame_at = patch.frame_number_at - old_head - at + FIXED_SIZE + head + len(block)
            block += tail[at : at + size]
        block += _ZEROS[-(head + len(block)) & 3]
        tail = bytes(block) + tail[end:]
        if patch is not None:
            moved = FIXED_SIZE + head + len(block) - old_head - end
            patch = _moved(patch, moved, frame_at)
        word = (TWO_BYTE if two_byte else ONE_BYTE) | (head + len(block)) >> 2
        return packet._replace(
            extension_word=word,
            tail=tail,
            size=FIXED_SIZE + head + len(tail),
            extension_size=len(block),
            codec_patch=patch,
        )

    def head_of(self, packet: Packet, number: int) -> bytes:
        """The first extensions of a translated packet, with this transport-wide number."""
        two_byte = packet.extension_word >> 16 != 0xBEDE
        head = self.wide_head if two_byte else self.head
        if not self.twcc:
            return head
        at = 2 if two_byte else 1
        return head[:at] + number.to_bytes(2, "big") + head[at + 2 :]


def header_layout(
    mid: str, extensions: Mapping[str, int] | None, *, allow_mixed: bool, canonical: bool = True
) -> HeaderLayout | None:
    """The layout for a subscriber that negotiated these extensions (URI → id); None if canonical packets suit it.

    `extensions`: None if the subscriber took our ids. `allow_mixed`: it takes both forms in one stream. `canonical`: return
    None where possible. Ids are 1–14 or 16–255; with one above 14 all packets have the two-byte form, as with a dependency
    descriptor for a subscriber that takes only one form. A mid above 16 bytes is not sent.
    """
    if extensions is None:
        if canonical:
            return None
        extensions = caps.OUT_EXTENSION_IDS
    used = {uri: number for uri, number in extensions.items() if uri in caps.OUT_EXTENSION_IDS}
    sent_mid = mid.encode() if caps.URI_MID in used and len(mid.encode()) <= LONGEST_MID else b""
    # A dependency descriptor with a template structure has more than 16 bytes.
    two_byte = any(number > LARGEST_ONE_BYTE for number in used.values()) or (
        not allow_mixed and caps.URI_DEPENDENCY_DESCRIPTOR in used
    )
    ours = all(caps.OUT_EXTENSION_IDS[uri] == number for uri, number in used.items())
    if canonical and allow_mixed and ours and len(mid) == 2 and mid.isascii():
        return None
    if not all(0 < number < 256 and number != 15 for number in used.values()):
        raise ValueError("a header extension's id must be 1 to 14 or 16 to 255")
    ids = bytearray(16)
    for uri, number in used.items():
        if uri not in _IN_THE_HEAD:
            ids[caps.OUT_EXTENSION_IDS[uri]] = number
    twcc = used.get(caps.URI_TRANSPORT_CC, 0)
    wide_head = bytes((twcc, 2, 0, 0)) if twcc else b""
    head = bytes((twcc << 4 | 1, 0, 0)) if twcc and not two_byte else b""
    if sent_mid:
        wide_head += bytes((used[caps.URI_MID], len(sent_mid))) + sent_mid
        if not two_byte:
            head += bytes((used[caps.URI_MID] << 4 | len(sent_mid) - 1,)) + sent_mid
    form = TWO_BYTE_ONLY if two_byte else MIXED if allow_mixed else ONE_BYTE_ONLY
    return HeaderLayout(bytes(ids), form, bool(twcc), head, wide_head)


def _elements(tail: bytes, end: int, *, two_byte: bool) -> list[tuple[int, int, int]]:
    """(our id, position, size) of the canonical packet's extensions, at most `ELEMENTS`."""
    found: list[tuple[int, int, int]] = []
    at = 0
    while at < end and len(found) < ELEMENTS:
        number = tail[at]
        if number == 0:
            at += 1
            continue
        if two_byte:
            if at + 1 >= end:
                break
            size = tail[at + 1]
            at += 2
        else:
            size = (number & 15) + 1
            number >>= 4
            at += 1
        if at + size > end:
            break
        found.append((number, at, size))
        at += size
    return found


def _moved(patch: CodecPatch, by: int, frame_at: int) -> CodecPatch:
    """The patch with its payload positions moved, and the frame number at `frame_at`."""
    return patch._replace(
        picture_id_at=patch.picture_id_at + by if patch.picture_id_at else 0,
        tl0picidx_at=patch.tl0picidx_at + by if patch.tl0picidx_at else 0,
        frame_number_at=frame_at,
    )
