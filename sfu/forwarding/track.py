"""One published track inside the engine: its encodings, how its packets are told apart, and its keyframe requests.

Streams are bound to encodings by MID and RID (RFC 8843 9.2, RFC 8852), else by the SSRCs that the offer declared, else
by payload type when only one track can have it. Repair streams are bound by RRID or by the declared FID pair.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

from sfu.forwarding.encoding import Encoding
from sfu.forwarding.keyframe_throttle import KeyframeThrottle
from sfu.forwarding.layer_filter import filtered

if TYPE_CHECKING:
    from sfu.forwarding.down_track import DownTrack
    from sfu.forwarding.peer import EnginePeer

ASK_AT_ONCE: Final = float("-inf")
"""As the time of the last keyframe request: the next look at the routes sends one."""


class Track:
    """A publication's media as the engine sees it. Belongs to one peer; `close` through `Engine.remove_track`."""

    __slots__ = (
        "clock_rate",
        "closed",
        "codec",
        "down_tracks",
        "encodings",
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

    def __init__(
        self,
        peer: "EnginePeer",
        *,
        mid: str,
        kind: Literal["audio", "video"],
        codec: str,
        parameters: str,
        clock_rate: int,
        payload_types: Mapping[int, str],
        rtx: Mapping[int, int],
        rids: tuple[str, ...],
        nack: bool,
    ) -> None:
        self.peer = peer
        self.mid = mid
        self.kind = kind
        self.codec = codec
        "`VP8`, `H264`, `VP9`, `AV1` or `opus`."
        self.parameters = parameters
        "The codec's fmtp line: two H.264 profiles are two codecs to a subscriber."
        self.clock_rate = clock_rate
        self.payload_types = {pt: (0 if name == codec else 1) for pt, name in payload_types.items()}
        """Payload type → codec index of `Packet`."""
        self.rtx = dict(rtx)
        """Repair payload type → the repaired one."""
        self.nack = nack
        self.encodings = {rid: Encoding(self, rid) for rid in (rids or ("",))}
        self.down_tracks: list[DownTrack] = []
        self.lossy_down_tracks: set[DownTrack] = set()
        """Those whose paths lose packets: they get sound twice."""
        self.owner: object = None
        """What the layer above made of this track; the engine never looks at it."""
        self.name = ""
        """As its viewers know it: for their diaries only."""
        self.keyframes = KeyframeThrottle()
        self.muted = False
        self.closed = False
        self.level: int | None = None
        """Loudest level since it was last taken, −dBov."""

    def rebind(self, old: Encoding) -> Encoding:
        """The encoding goes on under another SSRC: nothing of the old stream's numbers holds for it."""
        new = self.encodings[old.rid] = Encoding(self, old.rid)
        new.rtx_ssrc = old.rtx_ssrc
        repair = self.peer.streams.get(old.rtx_ssrc)
        if repair is not None and repair[1]:
            self.peer.streams[old.rtx_ssrc] = (new, True)
        thinnings = old.layer_filter.filtered if old.layer_filter is not None else ()
        for stream in (old, *thinnings):
            for down_track in list(stream.down_tracks):
                down_track.set_target(filtered(new, stream.spatial, stream.temporal), ASK_AT_ONCE)
        return new

    def take_level(self) -> int | None:
        level, self.level = self.level, None
        return level
