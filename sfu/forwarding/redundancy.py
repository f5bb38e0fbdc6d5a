"""Redundant sound for who loses packets: each packet carries the ones before it, made here when the publisher made none.

How much follows the loss that the path has: none on a clean one (it would cost a fifth of a small budget), one older
packet from 2 % on, two from 12 %: up at once, down after ten calm seconds. RFC 2198; what browsers make themselves is one
(libwebrtc's `WebRTC-Audio-Red-For-Opus`).
"""

from collections.abc import Callable, Sequence
from typing import Final

from sfu.errors import MalformedPacket
from sfu.forwarding.packet import Packet
from sfu.rtp import red

LEVELS: Final = ((0.02, 1), (0.12, 2))
"""(share of lost packets, older packets with each from there on), rising."""
CALM: Final = 0.5
"""Loss has to stay below this share of a level's"""
CALM_FOR: Final = 10.0
"""for so many seconds before less is sent."""
LARGEST: Final = 1000
"""Bytes of a payload that comes twice; sound is a tenth of it (RFC 2198 allows 1023)."""
OLDEST: Final = 16_383
"""Clock ticks; more does not fit (RFC 2198 3)."""


class Redundancy:
    """What one subscriber's path needs. `update` with each word about its loss; `now` in seconds."""

    __slots__ = ("_calm_since", "level")

    def __init__(self) -> None:
        self.level = 0
        """Older packets that each packet carries."""
        self._calm_since: float | None = None

    def update(self, loss: float, now: float) -> None:
        """`loss`: share of packets, 0 to 1."""
        wanted = max((level for share, level in LEVELS if loss >= share), default=0)
        if wanted >= self.level:
            self.level, self._calm_since = wanted, None
            return
        if loss >= CALM * LEVELS[self.level - 1][0]:
            self._calm_since = None
            return
        if self._calm_since is None:
            self._calm_since = now
        elif now - self._calm_since >= CALM_FOR:
            self.level -= 1
            self._calm_since = None


def with_redundancy(
    batch: Sequence[Packet], level: int, payload_type: int, find: Callable[[int], Packet | None]
) -> list[Packet]:
    """The batch with `level` older packets in each, as far as they are known and fit.

    `payload_type` is the sound's own, as the subscriber calls it; `find` gives the track's packet of a sequence number.
    """
    return [_joined(packet, level, payload_type, find) for packet in batch]


def _joined(packet: Packet, level: int, payload_type: int, find: Callable[[int], Packet | None]) -> Packet:
    sound = _sound(packet)
    if sound is None:
        return packet
    heads, older = [], []
    for back in range(level, 0, -1):
        before = find((packet.sequence - back) & 0xFFFF)
        if before is None:
            continue
        offset = (packet.timestamp - before.timestamp) & 0xFFFFFFFF
        payload = _sound(before)
        if payload is None or not 0 < offset <= OLDEST or len(payload) > LARGEST:
            continue
        heads.append(
            bytes((0x80 | payload_type, offset >> 6, (offset & 0x3F) << 2 | len(payload) >> 8, len(payload) & 0xFF))
        )
        older.append(payload)
    tail = b"".join((packet.tail[: packet.extension_size], *heads, bytes((payload_type,)), *older, sound))
    size = packet.size - len(packet.tail) + len(tail)
    return packet._replace(first=packet.first & ~0x2000, tail=tail, size=size, codec_index=1)


def _sound(packet: Packet) -> bytes | None:
    """The packet's own payload, without RED and padding around it."""
    tail, end = packet.tail, len(packet.tail)
    if packet.first & 0x2000:
        end -= tail[-1]
    if end < packet.extension_size:
        return None
    if packet.codec_index == 0:
        return tail[packet.extension_size : end]
    try:
        _, start, end = red.primary(tail, packet.extension_size, end)
    except MalformedPacket:
        return None
    return tail[start:end]
