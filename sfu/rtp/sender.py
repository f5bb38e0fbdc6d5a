"""The sender of one RTP stream: headers, counters and sender reports. RFC 3550 5.1 and 6.4.1; pure."""

from collections.abc import Iterable
from struct import Struct
from typing import Final

from sfu.rtp import rtcp
from sfu.rtp.rtcp import SenderReport

_HEAD: Final = Struct("!BBHII")


class RtpSender:
    """Callers must serialize their calls."""

    def __init__(self, ssrc: int, payload_type: int, rate: int, sequence: int, base: int) -> None:
        """`rate`: clock rate in Hz. `sequence` and `base`: random; number of the first packet, timestamp of time 0."""
        self.ssrc = ssrc
        self._payload_type = payload_type
        self._rate = rate
        self._sequence = sequence
        self._base = base
        self._packets = self._octets = 0

    def packets(self, payloads: Iterable[bytes], pts: int, extension: bytes = b"") -> list[bytes]:
        """The packets of one frame; the last one is marked. `pts` in units of the clock rate. `extension`: the header
        extension of all packets with its head (RFC 3550 5.3.1), or empty."""
        timestamp = (self._base + pts) & 0xFFFFFFFF
        parts = list(payloads)
        last = len(parts) - 1
        first = 0x90 if extension else 0x80
        found = []
        for index, payload in enumerate(parts):
            marker = 0x80 if index == last else 0
            head = _HEAD.pack(first, self._payload_type | marker, self._sequence, timestamp, self.ssrc)
            found.append(head + extension + payload)
            self._sequence = (self._sequence + 1) & 0xFFFF
            self._octets += len(payload)
        self._packets += len(found)
        return found

    def report(self, ntp: float, media_time: float) -> bytes:
        """Encodes a sender report. `ntp`: NTP seconds. `media_time`: seconds, at that moment."""
        timestamp = (self._base + int(media_time * self._rate)) & 0xFFFFFFFF
        counters = self._packets & 0xFFFFFFFF, self._octets & 0xFFFFFFFF
        return rtcp.encode_sender_report(SenderReport(self.ssrc, int(ntp * (1 << 32)), timestamp, *counters, ()))
