"""A numbered packet stream that down tracks take: a received one (`Encoding`) or one with layers left out (`FilteredStream`).

It keeps the sequence numbers reached, the newest packets in canonical form (for retransmission, and for keyframes whose
first packet came late), and the list of down tracks that take it.
"""

from typing import Final

from sfu.forwarding.down_track import DownTrack, OriginStream
from sfu.forwarding.layers import ALL_LAYERS
from sfu.forwarding.media_track import MediaTrack
from sfu.forwarding.packet import CodecPatch, Packet

HISTORY: Final = {"video": 512, "audio": 64}
"""Packets kept per stream (LiveKit: 500 for video, 200 for audio): about 2.5 s at 2 Mbit/s. Powers of two."""


class Stream:
    """Common state of `Encoding` and `FilteredStream`. The C part reads some slots by their offset (SLOTS in native.h)."""

    __slots__ = (
        "batch",
        "cycles",
        "down_tracks",
        "forwarded",
        "highest",
        "history",
        "last_codec_patch",
        "last_timestamp",
        "late",
        "mask",
        "picture_shift",
        "shift",
        "spatial",
        "temporal",
        "track",
    )  # fmt: skip

    def __init__(self, track: MediaTrack) -> None:
        self.track = track
        self.down_tracks: list[DownTrack] = []
        """Down tracks that take this stream, or wait for a keyframe to take it."""
        self.batch: list[Packet] = []
        """Packets received in this turn of the loop and not forwarded yet."""
        size = HISTORY[track.kind]
        self.history: list[Packet | None] = [None] * size
        self.mask = size - 1
        self.highest = -1
        """Highest sequence number so far (16 bit); −1 before the first packet."""
        self.cycles = 0
        """65,536 × the number of sequence number wraps so far."""
        self.late = False
        """Whether the batch contains packets that came out of order."""
        self.forwarded = -1
        """Highest sequence number at the last forwarding."""
        self.last_timestamp = 0
        self.last_codec_patch: CodecPatch | None = None
        self.spatial = self.temporal = ALL_LAYERS
        """The highest layers in the stream."""
        self.shift = self.picture_shift = 0
        """Packets and pictures of the origin left out so far: the next ones get numbers that are lower by these."""

    @property
    def origin(self) -> OriginStream:
        """The encoding that this stream is made from: itself, if nothing is left out."""
        raise NotImplementedError

    def extended(self, sequence: int) -> int:
        """Extended sequence number (with wraps) of a packet at most half a cycle from the highest."""
        ahead = ((sequence - self.highest + 0x8000) & 0xFFFF) - 0x8000
        return self.cycles + self.highest + ahead

    def extended_forwarded(self) -> int:
        """Extended sequence number of `forwarded`."""
        return self.extended(self.forwarded)

    def find(self, sequence: int) -> Packet | None:
        """The packet with this sequence number, if the history still has it."""
        packet = self.history[sequence & self.mask]
        return packet if packet is not None and packet.sequence == sequence else None
