"""Numbered packets that routes take: what came in as it is (an `Encoding`), or with layers left out (a `FilteredStream`).

Holds what a route needs to make a stream its subscriber's own: the numbers reached, what was sent lately in canonical form
(for retransmission, and for the replay of a keyframe whose first packet came late), and which routes take it.
"""

from typing import TYPE_CHECKING, Final

from sfu.forwarding.packet import CodecPatch, Packet

if TYPE_CHECKING:
    from sfu.forwarding.down_track import DownTrack
    from sfu.forwarding.encoding import Encoding
    from sfu.forwarding.track import Track

HISTORY: Final = {"video": 512, "audio": 64}
"""Packets kept per stream (LiveKit: 500 for video, 200 for audio): about 2.5 s at 2 Mbit/s. Powers of two."""
ALL_LAYERS: Final = 127
"""As the highest layer that is kept: all of them."""


class Stream:
    """Base of what routes aim at."""

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

    def __init__(self, track: "Track") -> None:
        self.track = track
        self.down_tracks: list[DownTrack] = []
        """Routes that take this stream or wait until they can."""
        self.batch: list[Packet] = []
        """What came in this turn and is not forwarded yet."""
        size = HISTORY[track.kind]
        self.history: list[Packet | None] = [None] * size
        self.mask = size - 1
        self.highest = -1
        """Highest sequence number so far (16 bit); −1 before the first packet."""
        self.cycles = 0
        """Sequence numbers of the wraps so far."""
        self.late = False
        """Whether the batch has packets that came out of order."""
        self.forwarded = -1
        """Highest sequence number when routes were last served."""
        self.last_timestamp = 0
        self.last_codec_patch: CodecPatch | None = None
        self.spatial = self.temporal = ALL_LAYERS
        """The highest layers in it."""
        self.shift = self.picture_shift = 0
        """How many packets and pictures of the origin were left out: the next of them has a number lower by so many."""

    @property
    def origin(self) -> "Encoding":
        """The encoding that it is made of: itself, when nothing is left out."""
        raise NotImplementedError

    def extended(self, sequence: int) -> int:
        """A number of this stream, at most half a cycle from the highest, without its wraps."""
        ahead = ((sequence - self.highest + 0x8000) & 0xFFFF) - 0x8000
        return self.cycles + self.highest + ahead

    def extended_forwarded(self) -> int:
        """The highest number that routes were served, without its wraps."""
        return self.extended(self.forwarded)

    def find(self, sequence: int) -> Packet | None:
        """The packet of this sequence number, while the history still has it."""
        packet = self.history[sequence & self.mask]
        return packet if packet is not None and packet.sequence == sequence else None
