"""A picture at once for whoever comes: from the keyframe that others were sent a moment ago, at the speed of the path.

A newcomer is sent what the history holds from the newest keyframe on, and what comes meanwhile behind it, through a pacer;
when that is empty it is one of those who take the stream as it comes. The publisher is asked for nothing. Who was sent
something before waits for a keyframe: pictures of the past would look like ones of the future to its jitter buffer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sfu.bandwidth.pacer import Pacer
from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.packet import Packet

OLDEST: Final = 1.5
"""Seconds since the keyframe: what lies between is seen in fast motion."""
SHARE: Final = 0.5
"""Seconds of what the path carries: a longer replay would come later than a keyframe that is asked for."""
UNKNOWN: Final = 2_500_000.0
"""Bits per second of a path that nobody estimates."""

Send = Callable[[DownTrack, list[Packet], float], None]


@dataclass(slots=True)
class _Replay:
    encoding: Encoding
    following: int
    "Sequence number of the first packet that the pacer has not got."
    pacer: Pacer[Packet]
    null_tap: DownTrack
    "Takes nothing, so that packets are handed on though everybody is in a replay."


class GopReplay:
    """Belongs to one Engine. `send`: these packets to this route."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._under_way: dict[DownTrack, _Replay] = {}

    def begin(self, down_track: DownTrack, encoding: Encoding, now: float) -> bool:
        """Whether there is a keyframe to begin with. The route has to want this encoding and to have had nothing yet."""
        if down_track.current is not None or down_track.previous is not None or down_track.target is not encoding:
            return False
        rate = _rate(down_track)
        packets = _since_keyframe(encoding, SHARE * rate / 8)
        if not packets:
            return False
        down_track.switch(encoding, packets[0], now)
        replay = _Replay(encoding, packets[0].sequence, Pacer(rate, now), DownTrack.null_tap(encoding))
        encoding.down_tracks.append(replay.null_tap)
        encoding.down_tracks.remove(down_track)
        self._under_way[down_track] = replay
        self._go_on(down_track, replay, now)
        return True

    def handle_timer(self, now: float) -> None:
        """Every tick."""
        for down_track, replay in list(self._under_way.items()):
            self._go_on(down_track, replay, now)

    def _go_on(self, down_track: DownTrack, replay: _Replay, now: float) -> None:
        encoding = replay.encoding
        if down_track.current is not encoding or down_track.peer.closed:
            self._end(down_track, replay)
            return
        pacer = replay.pacer
        pacer.set_target(_rate(down_track))
        out = pacer.due(now)
        ahead = (encoding.forwarded + 1 - replay.following) & 0xFFFF
        for step in range(ahead):
            packet = encoding.find((replay.following + step) & 0xFFFF)
            # what is missing may be asked for again as anything else
            if packet is not None and pacer.push(packet, packet.size, now):
                out.append(packet)
        replay.following = (replay.following + ahead) & 0xFFFF
        if out:
            self._send(down_track, out, now)
        if not pacer.queued_bytes:
            self._end(down_track, replay)
            if down_track not in encoding.down_tracks:
                encoding.down_tracks.append(down_track)

    def _end(self, down_track: DownTrack, replay: _Replay) -> None:
        del self._under_way[down_track]
        if replay.null_tap in replay.encoding.down_tracks:
            replay.encoding.down_tracks.remove(replay.null_tap)


def _rate(down_track: DownTrack) -> float:
    downlink = down_track.peer.downlink
    return downlink.estimator.target if downlink is not None else UNKNOWN


def _since_keyframe(encoding: Encoding, most: float) -> list[Packet]:
    """What was forwarded since the newest keyframe, its first packet first; nothing if some of it is missing, or it is too
    old, or larger than `most` bytes."""
    if encoding.forwarded < 0 or not encoding.alive:
        return []
    found: list[Packet] = []
    size = 0
    for back in range(encoding.mask):
        packet = encoding.find((encoding.forwarded - back) & 0xFFFF)
        if packet is None:
            return []
        size += packet.size
        age = (encoding.last_timestamp - packet.timestamp) & 0xFFFFFFFF
        if size > most or OLDEST * encoding.track.clock_rate < age < 1 << 31:
            return []
        found.append(packet)
        if packet.keyframe:
            return found[::-1]
    return []
