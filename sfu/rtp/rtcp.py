"""Parser for compound RTCP packets and encoder for the packets that the server sends.

The parser is strict and bounded so that no peer report can break a connection: every length is checked, lists are
limited, and MalformedPacket is the only exception. RFC 3550 section 6, RFC 4585 (feedback), RFC 5104 (FIR),
draft-alvestrand-rmcat-remb-03 (REMB), draft-holmer-rmcat-transport-wide-cc-extensions-01 (its FCI: sfu.bandwidth.twcc).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from struct import Struct, pack, unpack_from
from typing import NamedTuple, TypeAlias

from sfu.errors import MalformedPacket
from sfu.rtp import xr
from sfu.rtp.packet import Buffer

SENDER_REPORT = 200
RECEIVER_REPORT = 201
SOURCE_DESCRIPTION = 202
BYE = 203
TRANSPORT_LAYER_FEEDBACK = 205
PAYLOAD_SPECIFIC_FEEDBACK = 206

NACK_LIMIT = 1024
"""Limit of sequence numbers per compound packet. 1.4 KB of NACK could request 5,780 packets."""
PACKET_LIMIT = 64
"""Limit of packets to parse per compound packet; the rest is ignored."""
_REMB_NAME = 0x52454D42

_HEADER = Struct("!BBH").unpack_from
_TWO_WORDS = Struct("!II").unpack_from
_WORD = Struct("!I").unpack_from
_SENDER = Struct("!QIII").unpack_from
_BLOCK = Struct("!IIIIII").unpack_from
_PAIR = Struct("!HH").unpack_from


class ReportBlock(NamedTuple):
    """Report block of one stream (RFC 3550 6.4.1). A tuple, because a report may carry 31 of them."""

    ssrc: int
    fraction_lost: int
    "In 1/256."
    packets_lost: int
    "Signed: duplicates make it negative."
    highest_sequence: int
    "The upper 16 bits count the sequence number cycles."
    jitter: int
    lsr: int
    dlsr: int


@dataclass(frozen=True, slots=True)
class SenderReport:
    ssrc: int
    ntp: int
    "64 bits: seconds since 1900 in the upper half, fraction in the lower half."
    rtp_timestamp: int
    packets: int
    octets: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    ssrc: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class Bye:
    ssrcs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Nack:
    sender_ssrc: int
    media_ssrc: int
    lost: tuple[int, ...]
    "16-bit sequence numbers in the order of the packet, possibly with duplicates."


@dataclass(frozen=True, slots=True)
class PictureLossIndication:
    sender_ssrc: int
    media_ssrc: int


@dataclass(frozen=True, slots=True)
class FullIntraRequest:
    sender_ssrc: int
    media_ssrc: int
    entries: tuple[tuple[int, int], ...]
    "(SSRC, command sequence number)."


@dataclass(frozen=True, slots=True)
class Remb:
    sender_ssrc: int
    bitrate: int
    ssrcs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TransportFeedback:
    sender_ssrc: int
    media_ssrc: int
    fci: bytes


RtcpPacket: TypeAlias = (
    SenderReport
    | ReceiverReport
    | Bye
    | Nack
    | PictureLossIndication
    | FullIntraRequest
    | Remb
    | TransportFeedback
    | xr.ExtendedReport
)


def parse(data: Buffer) -> list[RtcpPacket]:
    """Parses a compound (or reduced-size, RFC 5506) packet. Unused packet types are skipped.

    Raises MalformedPacket if any length, count or version is wrong; the whole compound packet is then discarded.
    """
    size = len(data)
    if size < 4:
        raise MalformedPacket("RTCP packet is shorter than its header")
    found: list[RtcpPacket] = []
    nack_budget = NACK_LIMIT
    at = 0
    while at < size and len(found) < PACKET_LIMIT:
        if at + 4 > size:
            raise MalformedPacket("RTCP header is truncated")
        first, kind, words = _HEADER(data, at)
        if first & 0xC0 != 0x80:
            raise MalformedPacket("RTCP version is not 2")
        start = at + 4
        at = end = start + 4 * words
        if end > size:
            raise MalformedPacket("RTCP packet is longer than its datagram")
        if first & 0x20:
            padding = data[end - 1] if words else 0
            end -= padding
            if padding == 0 or end < start:
                raise MalformedPacket("RTCP padding does not fit")
        count = first & 0x1F
        if kind == RECEIVER_REPORT:
            if end < start + 4:
                raise MalformedPacket("receiver report is truncated")
            found.append(ReceiverReport(_WORD(data, start)[0], _report_blocks(data, start + 4, end, count)))
        elif kind == TRANSPORT_LAYER_FEEDBACK:
            if count == 15:
                if end < start + 16:
                    raise MalformedPacket("transport-wide feedback is truncated")
                sender, media = _TWO_WORDS(data, start)
                found.append(TransportFeedback(sender, media, bytes(data[start + 8 : end])))
            elif count == 1:
                nack = _nack(data, start, end, nack_budget)
                nack_budget -= len(nack.lost)
                found.append(nack)
        elif kind == SENDER_REPORT:
            if end < start + 24:
                raise MalformedPacket("sender report is truncated")
            ntp, rtp_timestamp, packets, octets = _SENDER(data, start + 4)
            reports = _report_blocks(data, start + 24, end, count)
            found.append(SenderReport(_WORD(data, start)[0], ntp, rtp_timestamp, packets, octets, reports))
        elif kind == PAYLOAD_SPECIFIC_FEEDBACK:
            feedback = _payload_specific(data, start, end, count)
            if feedback is not None:
                found.append(feedback)
        elif kind == xr.PAYLOAD_TYPE:
            found.append(xr.parse(data, start, end))
        elif kind == BYE:
            if end < start + 4 * count:
                raise MalformedPacket("BYE is truncated")
            found.append(Bye(unpack_from(f"!{count}I", data, start)))
    return found


def _report_blocks(data: Buffer, start: int, end: int, count: int) -> tuple[ReportBlock, ...]:
    if start + 24 * count > end:
        raise MalformedPacket("report blocks are truncated")
    if not count:
        return ()
    blocks = []
    for at in range(start, start + 24 * count, 24):
        ssrc, loss, highest, jitter, lsr, dlsr = _BLOCK(data, at)
        lost = loss & 0xFFFFFF
        if lost & 0x800000:
            lost -= 0x1000000
        blocks.append(ReportBlock(ssrc, loss >> 24, lost, highest, jitter, lsr, dlsr))
    return tuple(blocks)


def _nack(data: Buffer, start: int, end: int, budget: int) -> Nack:
    if end < start + 12 or (end - start) & 3:
        raise MalformedPacket("NACK is truncated")
    sender, media = _TWO_WORDS(data, start)
    lost: list[int] = []
    for at in range(start + 8, end, 4):
        number, mask = _PAIR(data, at)
        lost.append(number)
        while mask:
            number += 1
            if mask & 1:
                lost.append(number & 0xFFFF)
            mask >>= 1
        if len(lost) >= budget:
            del lost[budget:]
            break
    return Nack(sender, media, tuple(lost))


def _payload_specific(
    data: Buffer, start: int, end: int, feedback_format: int
) -> PictureLossIndication | FullIntraRequest | Remb | None:
    if end < start + 8:
        raise MalformedPacket("payload-specific feedback is truncated")
    sender, media = _TWO_WORDS(data, start)
    if feedback_format == 1:
        return PictureLossIndication(sender, media)
    if feedback_format == 4:
        if end < start + 16 or (end - start) & 7:
            raise MalformedPacket("FIR is truncated")
        entries = []
        for at in range(start + 8, end, 8):
            ssrc, command = _TWO_WORDS(data, at)
            entries.append((ssrc, command >> 24))
        return FullIntraRequest(sender, media, tuple(entries))
    if feedback_format == 15 and end >= start + 12 and _WORD(data, start + 8)[0] == _REMB_NAME:
        if end < start + 16:
            raise MalformedPacket("REMB is truncated")
        value = _WORD(data, start + 12)[0]
        count = value >> 24
        if end != start + 16 + 4 * count:
            raise MalformedPacket("REMB has a wrong number of SSRCs")
        bitrate = (value & 0x3FFFF) << (value >> 18 & 0x3F)
        if bitrate >> 64:
            raise MalformedPacket("REMB bitrate exceeds 64 bits")
        return Remb(sender, bitrate, unpack_from(f"!{count}I", data, start + 16))
    return None


# -- encoders ---------------------------------------------------------------------------------------------------------


def encode_sender_report(report: SenderReport) -> bytes:
    blocks = report.reports
    _check_count(len(blocks), "report blocks")
    head = pack(
        "!BBHIQIII",
        0x80 | len(blocks),
        SENDER_REPORT,
        6 + 6 * len(blocks),
        report.ssrc,
        report.ntp,
        report.rtp_timestamp,
        report.packets & 0xFFFFFFFF,
        report.octets & 0xFFFFFFFF,
    )
    return head + _encode_blocks(blocks)


def encode_receiver_report(report: ReceiverReport) -> bytes:
    blocks = report.reports
    _check_count(len(blocks), "report blocks")
    return pack("!BBHI", 0x80 | len(blocks), RECEIVER_REPORT, 1 + 6 * len(blocks), report.ssrc) + _encode_blocks(blocks)


def _check_count(count: int, what: str) -> None:
    if count > 31:
        raise ValueError(f"an RTCP packet carries at most 31 {what}, not {count}")


def _encode_blocks(blocks: Iterable[ReportBlock]) -> bytes:
    return b"".join(
        [
            pack(
                "!IIIIII",
                ssrc,
                fraction << 24 | min(max(lost, -0x800000), 0x7FFFFF) & 0xFFFFFF,
                highest & 0xFFFFFFFF,
                jitter,
                lsr,
                dlsr,
            )
            for ssrc, fraction, lost, highest, jitter, lsr, dlsr in blocks
        ]
    )


def encode_source_description(ssrc: int, cname: str) -> bytes:
    """CNAME of at most 255 bytes of UTF-8 (RFC 3550 6.5.1)."""
    name = cname.encode()
    if len(name) > 255:
        raise ValueError("a CNAME is limited to 255 bytes")
    chunk = pack("!IBB", ssrc, 1, len(name)) + name
    chunk += bytes(4 - len(chunk) % 4)  # at least one null byte ends the item list
    return pack("!BBH", 0x81, SOURCE_DESCRIPTION, len(chunk) // 4) + chunk


def encode_nack(sender_ssrc: int, media_ssrc: int, sequence_numbers: Iterable[int]) -> bytes:
    """Ascending numbers (modulo wrap-around) give the most compact encoding, but any order is valid."""
    entries: list[int] = []
    base = -1
    mask = 0
    for number in sequence_numbers:
        distance = (number - base) & 0xFFFF
        if base >= 0 and distance <= 16:
            if distance:
                mask |= 1 << (distance - 1)
            continue
        if base >= 0:
            entries.append(base << 16 | mask)
        base = number & 0xFFFF
        mask = 0
    if base < 0:
        raise ValueError("a NACK needs at least one sequence number")
    entries.append(base << 16 | mask)
    return pack(
        f"!BBHII{len(entries)}I",
        0x81,
        TRANSPORT_LAYER_FEEDBACK,
        2 + len(entries),
        sender_ssrc,
        media_ssrc,
        *entries,
    )


def encode_pli(sender_ssrc: int, media_ssrc: int) -> bytes:
    return pack("!BBHII", 0x81, PAYLOAD_SPECIFIC_FEEDBACK, 2, sender_ssrc, media_ssrc)


def encode_full_intra_request(sender_ssrc: int, ssrc: int, seq_nr: int) -> bytes:
    """`seq_nr` increases by one per new request; a repeated request keeps it (RFC 5104 4.3.1)."""
    return pack("!BBHIIIBxxx", 0x84, PAYLOAD_SPECIFIC_FEEDBACK, 4, sender_ssrc, 0, ssrc, seq_nr & 0xFF)


def encode_remb(sender_ssrc: int, bitrate: int, ssrcs: Sequence[int]) -> bytes:
    """`bitrate` in bits per second, rounded down to 18 significant bits."""
    exponent = max(0, bitrate.bit_length() - 18)
    value = len(ssrcs) << 24 | exponent << 18 | bitrate >> exponent
    return pack(
        f"!BBHIIII{len(ssrcs)}I",
        0x8F,
        PAYLOAD_SPECIFIC_FEEDBACK,
        4 + len(ssrcs),
        sender_ssrc,
        0,
        _REMB_NAME,
        value,
        *ssrcs,
    )


def encode_bye(ssrcs: Sequence[int]) -> bytes:
    _check_count(len(ssrcs), "SSRCs in a BYE")
    return pack(f"!BBH{len(ssrcs)}I", 0x80 | len(ssrcs), BYE, len(ssrcs), *ssrcs)
