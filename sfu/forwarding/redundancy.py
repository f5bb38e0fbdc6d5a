"""Redundant audio (RED, RFC 2198) for subscribers whose paths lose packets, even if the publisher sends none.

The number of older packets in each packet depends on the loss of the path: none without loss (it would take a fifth of a
small bandwidth), one from 2 % on, two from 12 % on. It rises at once and falls after ten seconds of lower loss. Browsers
add one older packet themselves (libwebrtc's `WebRTC-Audio-Red-For-Opus`).
"""

from collections.abc import Callable, Sequence
from typing import Final

from sfu.errors import MalformedPacket
from sfu.forwarding.packet import Packet
from sfu.rtp import red

LEVELS: Final = ((0.02, 1), (0.12, 2))
"""(loss threshold, older packets in each packet), rising."""
LOSS_CLEAR_RATIO: Final = 0.5
"""Loss has to stay below this fraction of a level's threshold to lower the level."""
LOSS_CLEAR_TIME: Final = 10.0
"""Seconds for which it has to."""
MAX_BLOCK: Final = 1000
"""Bytes of a redundant payload (RFC 2198 allows 1023). Audio is a tenth of it."""
MAX_OFFSET: Final = 16_383
"""RTP clock ticks between a packet and its oldest redundant block (RFC 2198 3)."""


class Redundancy:
    """Redundancy level of one down track. Call `update` with each loss report; `now` is monotonic seconds."""

    __slots__ = ("_low_since", "level")

    def __init__(self) -> None:
        self.level = 0
        """Older packets in each packet."""
        self._low_since: float | None = None

    def update(self, loss: float, now: float) -> None:
        """`loss`: fraction of packets, 0–1."""
        wanted = max((level for share, level in LEVELS if loss >= share), default=0)
        if wanted >= self.level:
            self.level, self._low_since = wanted, None
            return
        if loss >= LOSS_CLEAR_RATIO * LEVELS[self.level - 1][0]:
            self._low_since = None
            return
        if self._low_since is None:
            self._low_since = now
        elif now - self._low_since >= LOSS_CLEAR_TIME:
            self.level -= 1
            self._low_since = None


def with_redundancy(
    batch: Sequence[Packet], level: int, payload_type: int, find: Callable[[int], Packet | None]
) -> list[Packet]:
    """The batch with up to `level` older packets in each packet.

    `payload_type`: the subscriber's payload type of the audio codec. `find` returns the stream's packet by sequence number.
    """
    return [_joined(packet, level, payload_type, find) for packet in batch]


def _joined(packet: Packet, level: int, payload_type: int, find: Callable[[int], Packet | None]) -> Packet:
    payload = _payload(packet)
    if payload is None:
        return packet
    heads, older = [], []
    for back in range(level, 0, -1):
        before = find((packet.sequence - back) & 0xFFFF)
        if before is None:
            continue
        offset = (packet.timestamp - before.timestamp) & 0xFFFFFFFF
        block = _payload(before)
        if block is None or not 0 < offset <= MAX_OFFSET or len(block) > MAX_BLOCK:
            continue
        heads.append(
            bytes((0x80 | payload_type, offset >> 6, (offset & 0x3F) << 2 | len(block) >> 8, len(block) & 0xFF))
        )
        older.append(block)
    tail = b"".join((packet.tail[: packet.extension_size], *heads, bytes((payload_type,)), *older, payload))
    size = packet.size - len(packet.tail) + len(tail)
    return packet._replace(first=packet.first & ~0x2000, tail=tail, size=size, codec_index=1)


def _payload(packet: Packet) -> bytes | None:
    """The packet's primary payload, without RED headers and padding."""
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
