"""The canonical form of a forwarded packet: made once per inbound packet, patched once per subscriber.

Outbound packets of every subscriber have one layout, because the server makes the offers and so chooses the ids:

    0                   12        16                22
    | RTP fixed header  | BEDE len | twcc id+no  mid | further extensions, padded | payload

The first 22 bytes differ per subscriber (`HEAD`); the rest (`tail`) is shared. A receiver ignores extensions it did not
negotiate (RFC 8285 section 5), so one layout serves all. An extension above 16 bytes (a dependency descriptor with its
structure) needs the two-byte form, whose head is 24 bytes (`WIDE_HEAD`): rare, so it may cost more.
"""

import struct
from typing import Final, NamedTuple

from sfu.sdp.capabilities import OUT_EXTENSION_IDS
from sfu.sdp.capabilities import URI_MID as MID
from sfu.sdp.capabilities import URI_TRANSPORT_CC as TRANSPORT_CC

HEAD: Final = struct.Struct("!HHLLLLH").pack_into
HEAD_SIZE: Final = 22
WIDE_HEAD: Final = struct.Struct("!HHLLLLL").pack_into
WIDE_HEAD_SIZE: Final = 24
ONE_BYTE: Final = 0xBEDE << 16
TWO_BYTE: Final = 0x1000 << 16

TWCC_AND_MID: Final = OUT_EXTENSION_IDS[TRANSPORT_CC] << 28 | 1 << 24 | OUT_EXTENSION_IDS[MID] << 4 | 1
"""Bytes 16–19 of the one-byte form with the transport-wide number left zero (it is added at bit 8)."""
WIDE_TWCC: Final = OUT_EXTENSION_IDS[TRANSPORT_CC] << 24 | 2 << 16
WIDE_MID: Final = OUT_EXTENSION_IDS[MID] << 24 | 2 << 16

PADDED: Final = 0xB000
"""Version 2, padding, extensions: the first 16 bits of a packet that is nothing but padding (RFC 3550 5.1),"""
PADDED_WORD: Final = ONE_BYTE | 2
"""and its extensions: what the head has, filled up with two bytes."""


class CodecPatch(NamedTuple):
    """What a subscriber may have to rewrite beyond the head. Positions are offsets in the outbound packet; 0: absent."""

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
    "Of the outbound packet before sealing, bytes."
    codec_index: int
    "0: the track's codec; 1: RED around it (RFC 2198)."
    extension_size: int
    "Bytes at the start of `tail` that are extensions and their padding; the payload follows."
    codec_patch: CodecPatch | None
    keyframe: bool
    "Begins a keyframe (audio: always true)."
