"""The part of a published track that its streams and down tracks use: codec, payload types, mute state, audio level.

`Track` (track.py) adds the encodings and the down tracks.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from sfu.forwarding.keyframe_throttle import KeyframeThrottle
from sfu.forwarding.peer_transport import PeerTransport


class FilteredStreams(Protocol):
    """The layer filter of one encoding."""

    @property
    def filtered(self) -> Sequence[object]: ...


class FilterableEncoding(Protocol):
    @property
    def layer_filter(self) -> FilteredStreams | None: ...


class TrackOwner(Protocol):
    """The media source that a track belongs to."""

    def reselect(self, now: float) -> int:
        """The track's encodings changed: selects layers again for all subscribers. Returns their number."""


class MediaTrack:
    """State of one track that does not depend on its encodings. The C part reads the slots marked (C) by their offset."""

    __slots__ = (
        "clock_rate",
        "codec",
        "keyframes",
        "kind",
        "level",
        "lossy_down_tracks",
        "mid",
        "muted",
        "nack",
        "name",
        "owner",
        "parameters",
        "payload_types",
        "peer",
        "rtx",
    )  # fmt: skip

    encodings: Mapping[str, FilterableEncoding]
    "By rid."

    def __init__(
        self,
        peer: PeerTransport,
        *,
        mid: str,
        kind: Literal["audio", "video"],
        codec: str,
        parameters: str,
        clock_rate: int,
        payload_types: Mapping[int, str],
        rtx: Mapping[int, int],
        nack: bool,
    ) -> None:
        self.peer = peer
        self.mid = mid
        self.kind = kind
        """(C)"""
        self.codec = codec
        """`VP8`, `H264`, `VP9`, `AV1` or `opus`. (C)"""
        self.parameters = parameters
        """The codec's fmtp line. Two H.264 profiles are two codecs to a subscriber."""
        self.clock_rate = clock_rate
        """(C)"""
        self.payload_types = {pt: (0 if name == codec else 1) for pt, name in payload_types.items()}
        """Payload type → `Packet.codec_index`. (C)"""
        self.rtx = dict(rtx)
        """RTX payload type → the payload type that it repairs."""
        self.nack = nack
        self.lossy_down_tracks: set[object] = set()
        """Down tracks whose paths lose packets, so that they get redundant audio."""
        self.owner: TrackOwner | None = None
        """Receives `EncodingChanged` through the driver. The engine does not call it."""
        self.name = ""
        """The track's name for its subscribers; used in decision logs only."""
        self.keyframes = KeyframeThrottle()
        self.muted = False
        """(C)"""
        self.level: int | None = None
        """Loudest audio level since `take_level`, −dBov. (C)"""

    def remove_down_track(self, down_track: object) -> None:
        self.lossy_down_tracks.discard(down_track)

    def take_level(self) -> int | None:
        level, self.level = self.level, None
        return level
