"""RTP packets sent by a bot: VP8 payloads, headers with the extensions that browsers send, and retransmissions.

RFC 3550, RFC 7741 (VP8 payload), RFC 8285 (header extensions), RFC 8852 (mid, rid), RFC 4588 (retransmission).
"""

from dataclasses import dataclass, field
from struct import pack
from typing import Final

from sfu.rtp.rtcp import SenderReport

PAYLOAD_LIMIT: Final = 1100
"""Bytes of payload per packet; with headers, extensions and the SRTP tag a packet stays below 1200."""
EXT_AUDIO_LEVEL: Final = 1
EXT_TRANSPORT_CC: Final = 3
EXT_MID: Final = 4
EXT_RID: Final = 10
EXT_REPAIRED_RID: Final = 11
HISTORY: Final = 512
"""Packets kept for retransmission."""
NTP_EPOCH: Final = 2_208_988_800


def vp8_payloads(frame: bytes, picture_id: int) -> list[bytes]:
    """Splits one encoded frame into RTP payloads with a 15-bit picture id."""
    number = pack("!BH", 0x80, 0x8000 | picture_id & 0x7FFF)
    return [
        (b"\x90" if at == 0 else b"\x80") + number + frame[at : at + PAYLOAD_LIMIT]
        for at in range(0, len(frame), PAYLOAD_LIMIT)
    ]


@dataclass(slots=True)
class OutboundStream:
    """One SSRC and its RTX stream. Keeps packets for retransmission, and sends MID and RID until they are known."""

    ssrc: int
    payload_type: int
    clock_rate: int
    mid: str
    rid: str = ""
    rtx_ssrc: int = 0
    rtx_payload_type: int = 0
    sequence: int = 0
    timestamp_offset: int = 0
    rtx_sequence: int = 0
    known: bool = False
    "The receiver has reported on this SSRC and no longer needs MID and RID."
    packets: int = 0
    octets: int = 0
    resent: int = 0
    reported_lost: int = 0
    "From the last receiver report."
    fraction_lost: float = 0.0
    history: dict[int, tuple[int, bool, bytes]] = field(default_factory=dict)

    def packet(self, payload: bytes, timestamp: int, marker: bool, transport: int, level: int | None = None) -> bytes:
        """`timestamp`: without the random offset; `transport`: transport-wide sequence number; `level` in −dBov."""
        sequence = self.sequence
        self.sequence = sequence + 1 & 0xFFFF
        timestamp = timestamp + self.timestamp_offset & 0xFFFFFFFF
        if self.rtx_ssrc:
            self.history[sequence] = (timestamp, marker, payload)
            if len(self.history) > HISTORY:
                del self.history[next(iter(self.history))]
        self.packets += 1
        self.octets += len(payload)
        return self._header(self.payload_type, self.ssrc, sequence, timestamp, marker, transport, level) + payload

    def retransmission(self, sequence: int, transport: int) -> bytes | None:
        kept = self.history.get(sequence)
        if kept is None:
            return None
        timestamp, marker, payload = kept
        number = self.rtx_sequence
        self.rtx_sequence = number + 1 & 0xFFFF
        self.resent += 1
        header = self._header(
            self.rtx_payload_type, self.rtx_ssrc, number, timestamp, marker, transport, None, rtx=True
        )
        return header + pack("!H", sequence) + payload

    def sender_report(self, unix_time: float) -> SenderReport:
        seconds = unix_time + NTP_EPOCH
        timestamp = int(unix_time * self.clock_rate) + self.timestamp_offset & 0xFFFFFFFF
        return SenderReport(self.ssrc, int(seconds * (1 << 32)), timestamp, self.packets, self.octets)

    def _header(
        self,
        payload_type: int,
        ssrc: int,
        sequence: int,
        timestamp: int,
        marker: bool,
        transport: int,
        level: int | None,
        rtx: bool = False,
    ) -> bytes:
        extensions = pack("!BH", EXT_TRANSPORT_CC << 4 | 1, transport & 0xFFFF)
        if level is not None:
            extensions += bytes((EXT_AUDIO_LEVEL << 4, (0x80 if level < 60 else 0) | level))
        if not self.known:
            extensions += _element(EXT_MID, self.mid)
            if self.rid:
                extensions += _element(EXT_REPAIRED_RID if rtx else EXT_RID, self.rid)
        extensions += bytes(-len(extensions) % 4)
        return (
            pack(
                "!BBHIIHH",
                0x90,
                payload_type | (0x80 if marker else 0),
                sequence,
                timestamp,
                ssrc,
                0xBEDE,
                len(extensions) // 4,
            )
            + extensions
        )


def _element(number: int, text: str) -> bytes:
    value = text.encode()
    return bytes((number << 4 | len(value) - 1,)) + value
