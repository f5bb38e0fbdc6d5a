"""GOP replay: shows a new subscriber a picture at once, from the newest keyframe in the history.

A new down track gets the history from the newest keyframe on, and all later packets behind it, through a pacer at the rate
of its path. When the pacer is empty, the down track takes the stream directly. The publisher does not have to send a
keyframe. Down tracks that have sent something before wait for a new keyframe instead: their receiver's jitter buffer would
take past pictures for future ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sfu.bandwidth.pacer import Pacer
from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.packet import Packet

MAX_AGE: Final = 1.5
"""Seconds since the keyframe. The subscriber sees the replay in fast motion."""
MAX_DURATION: Final = 0.5
"""Seconds that the replay may take. A longer one would end later than a requested keyframe arrives."""
DEFAULT_RATE: Final = 2_500_000.0
"""Bits per second of a path without an estimate."""
NODE_RATE: Final = 100_000_000.0
"""The same towards another node of the cluster."""

Send = Callable[[DownTrack, list[Packet], float], None]


@dataclass(slots=True)
class _Replay:
    encoding: Encoding
    following: int
    "Sequence number of the next packet for the pacer."
    pacer: Pacer[Packet]
    null_tap: DownTrack
    "Keeps the encoding active while all its down tracks are in a replay."


class GopReplay:
    """All replays of one engine. `send` sends packets to a down track."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._replays: dict[DownTrack, _Replay] = {}

    def begin(self, down_track: DownTrack, encoding: Encoding, now: float) -> bool:
        """Starts a replay; False if the history has no usable keyframe, or the down track is not a new one."""
        if down_track.current is not None or down_track.previous is not None or down_track.target is not encoding:
            return False
        rate = _rate(down_track)
        packets = _since_keyframe(encoding, MAX_DURATION * rate / 8)
        if not packets:
            return False
        down_track.switch(encoding, packets[0], now)
        replay = _Replay(encoding, packets[0].sequence, Pacer(rate, now), DownTrack.null_tap(encoding))
        encoding.down_tracks.append(replay.null_tap)
        encoding.down_tracks.remove(down_track)
        self._replays[down_track] = replay
        self._continue(down_track, replay, now)
        return True

    def handle_timer(self, now: float) -> None:
        """Call it every tick."""
        for down_track, replay in list(self._replays.items()):
            self._continue(down_track, replay, now)

    def _continue(self, down_track: DownTrack, replay: _Replay, now: float) -> None:
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
            # The subscriber may request missing packets by NACK.
            if packet is not None and pacer.push(packet, packet.size, now):
                out.append(packet)
        replay.following = (replay.following + ahead) & 0xFFFF
        if out:
            self._send(down_track, out, now)
        if not pacer.queued_bytes:
            self._end(down_track, replay)
            down_track.join(encoding)

    def _end(self, down_track: DownTrack, replay: _Replay) -> None:
        del self._replays[down_track]
        if replay.null_tap in replay.encoding.down_tracks:
            replay.encoding.down_tracks.remove(replay.null_tap)


def _rate(down_track: DownTrack) -> float:
    if down_track.peer.trusted:
        return NODE_RATE
    downlink = down_track.peer.downlink
    return downlink.estimator.target if downlink is not None else DEFAULT_RATE


def _since_keyframe(encoding: Encoding, most: float) -> list[Packet]:
    """All packets since the newest keyframe; empty if one is missing, or they are too old or larger than `most` bytes."""
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
        if size > most or MAX_AGE * encoding.track.clock_rate < age < 1 << 31:
            return []
        found.append(packet)
        if packet.keyframe:
            return found[::-1]
    return []
