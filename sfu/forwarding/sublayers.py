"""Which layer a canonical packet belongs to, and where a receiver may be given more layers than it has had.

Read of packets only while somebody gets a stream with layers left out, and of a few of them to measure what each layer
costs: the packet path itself knows no layers. VP8: RFC 7741 4.2.
"""

from typing import Final, NamedTuple, Protocol

from sfu.forwarding.packet import Packet

Caps = tuple[int, int]
"""The highest spatial and the highest temporal layer that are kept."""
SAMPLE: Final = 128
"""Newest packets of a stream that are looked at to learn what its layers cost: half a second of a large picture."""
LEAST_PICTURES: Final = 8
"""Fewer say nothing: every pattern of layers that is in use has repeated itself after eight."""


class Mark(NamedTuple):
    """What a packet says of its layer."""

    spatial: int
    temporal: int
    begin: bool
    "First packet of a picture (of all its spatial layers)."
    end: bool
    "Last packet of its spatial layer's part of the picture."
    rises: int
    "What else is needed to see whether higher layers may begin here; its meaning is the codec's."
    number: int
    "The picture's number where pictures that are left out must leave no gap; −1 elsewhere."
    modulus: int
    "One less than how many such numbers there are."
    base: int
    "The number of the lowest temporal layer's picture that it goes with."


class Layers(Protocol):
    """How one codec's packets are read."""

    def read(self, packet: Packet) -> Mark | None:
        """None: the packet does not say."""

    def opens(self, mark: Mark, since: int, had: Caps, wanted: Caps) -> bool:
        """Whether who had the layers up to `had` can decode those up to `wanted` from the picture that `mark` begins.

        `since`: bit mask of the temporal layers of the pictures since the last of the lowest.
        """


class Vp8Layers:
    """Only with picture id and TL0PICIDX, as every browser sends it: without, nothing could be left out."""

    def read(self, packet: Packet) -> Mark | None:
        tail, at = packet.tail, packet.extra
        if len(tail) - at < 7 or not tail[at] & 0x80 or tail[at + 1] & 0xE0 != 0xE0:
            return None
        if tail[at + 2] & 0x80:
            number, modulus, behind = (tail[at + 2] & 0x7F) << 8 | tail[at + 3], 0x7FFF, at + 4
        else:
            number, modulus, behind = tail[at + 2], 0x7F, at + 3
        layer = tail[behind + 1]
        begin, end = tail[at] & 0x17 == 0x10, packet.first & 0x80 != 0
        return Mark(0, layer >> 6, begin, end, layer & 0x20, number, modulus, tail[behind])

    def opens(self, mark: Mark, since: int, had: Caps, wanted: Caps) -> bool:
        """At the first picture of the layers above, when it needs the lowest layer only (layer sync, the Y bit)."""
        above = (2 << wanted[1]) - (2 << had[1])
        return bool(mark.rises and above >> mark.temporal & 1 and not since & above)


def layers_of(codec: str) -> Layers | None:
    """None: the layers of this codec cannot be told apart."""
    return Vp8Layers() if codec == "VP8" else None
