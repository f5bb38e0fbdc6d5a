"""The streams that one subscriber got, by its own sequence numbers: a retransmission finds the packet that was sent."""

from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

from sfu.forwarding.offsets import Offsets
from sfu.forwarding.packet import Packet

SEGMENTS: Final = 8
"""Switches remembered for retransmission. Older packets are out of the history anyway."""


class SentStream(Protocol):
    """The part of a stream (stream.py) that this history uses."""

    @property
    def origin(self) -> object: ...

    def extended(self, sequence: int) -> int: ...

    def extended_forwarded(self) -> int: ...

    def find(self, sequence: int) -> Packet | None: ...


@dataclass(slots=True)
class Segment:
    """A range of the subscriber's sequence numbers that came from one stream."""

    stream: SentStream
    offsets: Offsets
    start: int
    "The stream's extended sequence number of the first packet."
    length: int = 0
    "Sequence numbers in the range, once it has ended."

    def span(self, *, is_open: bool) -> int:
        return self.stream.extended_forwarded() - self.start + 1 if is_open else self.length


class SwitchHistory:
    """The last `SEGMENTS` segments, oldest first. The newest one is open while its stream is being sent."""

    __slots__ = ("_segments",)

    def __init__(self) -> None:
        self._segments: deque[Segment] = deque(maxlen=SEGMENTS)

    def begin(self, stream: SentStream, offsets: Offsets, sequence: int) -> None:
        """`sequence`: the stream's sequence number of the first packet."""
        self._segments.append(Segment(stream, offsets, stream.extended(sequence)))

    def end(self) -> None:
        """The newest segment ends with the packet that its stream forwarded last."""
        if self._segments:
            newest = self._segments[-1]
            newest.length = max(0, newest.span(is_open=True))

    def end_before(self, sequence: int) -> None:
        """The newest segment ends before this sequence number of its stream."""
        newest = self._segments[-1]
        newest.length = max(0, newest.stream.extended(sequence) - newest.start)

    def is_before(self, packet: Packet) -> bool:
        """Whether a late packet is older than the newest segment: the subscriber has no sequence number for it."""
        newest = self._segments[-1]
        return newest.stream.extended(packet.sequence) < newest.start

    def find(self, back: int, *, is_open: bool) -> Segment | None:
        """The segment of the sequence number `back` before the last one sent. `is_open`: the newest segment is open."""
        for index, segment in enumerate(reversed(self._segments)):
            span = segment.span(is_open=is_open and index == 0)
            if back < span:
                return segment
            back -= span
        return None
