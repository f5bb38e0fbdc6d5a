"""One published track inside the engine: its encodings and its down tracks."""

from collections.abc import Mapping
from typing import Final, Literal

from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.layer_filter import filtered
from sfu.forwarding.media_track import MediaTrack
from sfu.forwarding.peer_transport import PeerTransport

REQUEST_NOW: Final = float("-inf")
"""As the time of a down track's last keyframe request: the next timer tick sends one."""


class Track(MediaTrack):
    """A publication's media as the engine sees it. Belongs to one peer; `Engine.remove_track` closes it."""

    __slots__ = ("closed", "down_tracks", "encodings")

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
        rids: tuple[str, ...],
        nack: bool,
    ) -> None:
        super().__init__(
            peer,
            mid=mid,
            kind=kind,
            codec=codec,
            parameters=parameters,
            clock_rate=clock_rate,
            payload_types=payload_types,
            rtx=rtx,
            nack=nack,
        )
        self.encodings: dict[str, Encoding] = {rid: Encoding(self, rid) for rid in (rids or ("",))}
        """By RID; the only stream of a track without simulcast has RID `""`."""
        self.down_tracks: list[DownTrack] = []
        self.closed = False

    @property
    def inbound_loss(self) -> float:
        """The highest loss among live encodings in the last report interval, 0–1."""
        live = (encoding for encoding in self.encodings.values() if encoding.ssrc and encoding.alive)
        return max((encoding.fraction_lost for encoding in live), default=0.0)

    def silent_rids(self) -> set[str]:
        """The encodings that send nothing now."""
        return {rid for rid, encoding in self.encodings.items() if not encoding.alive}

    def remove_down_track(self, down_track: object) -> None:
        super().remove_down_track(down_track)
        self.down_tracks[:] = [each for each in self.down_tracks if each is not down_track]

    def close(self) -> None:
        """Frees the packets and breaks the reference cycle, so that the garbage collector does not have to find it."""
        self.closed = True
        for encoding in self.encodings.values():
            encoding.history = [None] * len(encoding.history)
            encoding.batch.clear()
            encoding.layer_filter = None
        self.owner, self.encodings = None, {}

    def move(self, peer: PeerTransport) -> None:
        """The track comes from `peer` from now on: new encodings without SSRC replace all."""
        self.peer = peer
        for encoding in list(self.encodings.values()):
            self.replace_encoding(encoding).rtx_ssrc = 0

    def replace_encoding(self, old: Encoding) -> Encoding:
        """A new encoding in place of `old`, whose SSRC changed: none of the old sequence numbers hold for it.

        Down tracks of `old` switch to the new encoding at its next keyframe.
        """
        new = self.encodings[old.rid] = Encoding(self, old.rid)
        new.rtx_ssrc = old.rtx_ssrc
        filtered_streams = old.layer_filter.filtered if old.layer_filter is not None else ()
        for stream in (old, *filtered_streams):
            for down_track in list(stream.down_tracks):
                down_track.set_target(filtered(new, stream.spatial, stream.temporal), REQUEST_NOW)
        return new
