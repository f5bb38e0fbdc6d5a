"""The canonical form of a forwarded packet: built once per inbound packet, patched once per subscriber.

Outbound packets have one layout, because the server usually makes the offer and chooses the extension ids (header_layout.py:
subscribers that chose them):

    0                   12        16                22
    | RTP fixed header  | BEDE len | twcc id+no  mid | further extensions, padded | payload

The first 22 bytes differ per subscriber (`HEAD`); the rest (`tail`) is shared. Receivers ignore extensions that they did
not negotiate (RFC 8285 section 5), so that one layout fits all. An extension above 16 bytes (a dependency descriptor with a
template structure) needs the two-byte form, whose head has 24 bytes (`WIDE_HEAD`). It is rare, so its cost matters less.
"""

import struct
from typing import Final, NamedTuple

from sfu.sdp.capabilities import OUT_EXTENSION_IDS
from sfu.sdp.capabilities import URI_MID as MID
from sfu.sdp.capabilities import URI_TRANSPORT_CC as TRANSPORT_CC

FIXED_HEAD: Final = struct.Struct("!HHLLL").pack_into
"""The RTP header, and the extensions' profile and length."""
HEAD: Final = struct.Struct("!HHLLLLH").pack_into
HEAD_SIZE: Final = 22
WIDE_HEAD: Final = struct.Struct("!HHLLLLL").pack_into
WIDE_HEAD_SIZE: Final = 24
ONE_BYTE: Final = 0xBEDE << 16
TWO_BYTE: Final = 0x1000 << 16

TWCC_AND_MID: Final = OUT_EXTENSION_IDS[TRANSPORT_CC] << 28 | 1 << 24 | OUT_EXTENSION_IDS[MID] << 4 | 1
"""Bytes 16–19 of the one-byte form. The transport-wide number is zero here and added at bit 8."""
WIDE_TWCC: Final = OUT_EXTENSION_IDS[TRANSPORT_CC] << 24 | 2 << 16
WIDE_MID: Final = OUT_EXTENSION_IDS[MID] << 24 | 2 << 16

PADDED: Final = 0xB000
"""First 16 bits of a padding-only packet (RFC 3550 5.1): version 2, padding, extensions."""
PADDED_WORD: Final = ONE_BYTE | 2
"""Extension word of such a packet: the extensions of the head, completed by two bytes."""


class CodecPatch(NamedTuple):
    """Codec fields that a down track may have to rewrite. Positions are offsets in the outbound packet; 0: absent."""

    wide: bool
    picture_id_at: int
    picture_id: int
    picture_id_bits: int
    tl0picidx_at: int
    tl0picidx: int
    frame_number_at: int
    frame_number: int


class Packet(NamedTuple):
    """One packet in canonical form."""

    first: int
    "First 16 bits of the RTP header without the payload type: version, padding, extension bit, marker."
    sequence: int
    timestamp: int
    extension_word: int
    "Extension profile and length, the 32 bits after the fixed header."
    tail: bytes
    size: int
    "Bytes of the outbound packet before encryption."
    codec_index: int
    "0: the track's codec; 1: RED around it (RFC 2198)."
    extension_size: int
    "Bytes of extensions and their padding at the start of `tail`; the payload follows."
    codec_patch: CodecPatch | None
    keyframe: bool
    "Whether it begins a keyframe (audio: always true)."
