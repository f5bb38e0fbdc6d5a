"""Tests of GOP replay: a new subscriber sees a complete picture at once, without a keyframe request."""

import pytest

from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.track import Track
from tests.forwarding.test_engine import layer
from tests.support.wire import Bench, Wire

PICTURE = 3000


class Call:
    """One who watches already, so that pictures are forwarded; the keyframe has the number 1000."""

    def __init__(self, pictures: int = 10, size: int = 100, packets: int = 1) -> None:
        """`packets` in each picture, the keyframe as well."""
        self.bench, self.number, self.size, self.packets = Bench(), 999, size, packets
        self.track: Track = self.bench.video(("f",))
        self.encoding: Encoding = self.track.encodings["f"]
        self.bench.send(self.packet())
        self.bench.tick(0.5)
        first = self.bench.down_track(self.track, self.bench.peer(Wire()), number=1)
        self.bench.engine.set_target(first, self.encoding, self.bench.now)
        self.number = 1000
        self.send(key=True)
        for _ in range((pictures + 1) * packets - 1):
            self.send()
        self.bench.uplink.take()
        self.asked = self.bench.engine.plis_sent

    def packet(self, *, key: bool = False) -> bytes:
        picture = (self.number - 1000) // self.packets
        timestamp = (1000 + picture) * PICTURE
        return layer("f", self.number, timestamp, key=key, picture=1000 + picture, size=self.size, begin=key)

    def send(self, *, key: bool = False, lost: bool = False) -> None:
        packet = self.packet(key=key)
        self.number += 1
        if not lost:
            self.bench.send(packet)

    def join(self) -> tuple[DownTrack, Wire]:
        wire = Wire()
        down_track = self.bench.down_track(self.track, self.bench.peer(wire), number=2)
        self.bench.engine.set_target(down_track, self.encoding, self.bench.now)
        return down_track, wire

    @property
    def keyframes_asked(self) -> int:
        self.bench.tick(1.0)
        return self.bench.engine.plis_sent - self.asked


def pictures(wire: Wire) -> list[int]:
    """Numbers of the pictures that came, the keyframe's being 0; sequence numbers have to rise by one."""
    media = wire.media()
    assert [packet.sequence - media[0].sequence for packet in media] == list(range(len(media)))
    return [(packet.timestamp - 1000 * PICTURE) // PICTURE for packet in media]


def test_a_newcomer_gets_the_last_keyframe_and_the_packets_after_it() -> None:
    call = Call()
    down_track, wire = call.join()
    assert pictures(wire) == list(range(11))
    assert (down_track.current, down_track in call.encoding.down_tracks, len(call.encoding.down_tracks)) == (
        call.encoding,
        True,
        2,
    )
    call.send()
    assert pictures(wire) == [11]
    assert call.keyframes_asked == 0


@pytest.mark.parametrize("case", ["old", "missing", "large", "silent"])
def test_otherwise_a_keyframe_is_asked_for(case: str) -> None:
    call = Call(pictures={"old": 46, "large": 40}.get(case, 3), size=1100, packets=4 if case == "large" else 1)
    if case == "missing":
        call.send(lost=True)
        call.send()
    elif case == "silent":
        call.bench.tick(3.0)
    asked = call.bench.engine.plis_sent
    _, wire = call.join()
    assert pictures(wire) == []
    call.bench.tick(1.0)
    assert call.bench.engine.plis_sent > asked


def test_a_large_picture_comes_at_the_speed_of_the_path() -> None:
    call = Call(pictures=40, size=1100)
    _, wire = call.join()
    got = pictures_so_far = pictures(wire)
    assert 20 <= len(got) < 35  # 40 ms at two and a half times the rate
    for _ in range(4):
        call.send()
        call.bench.tick(0.025)
        media = wire.media()
        pictures_so_far = pictures_so_far + [(packet.timestamp - 1000 * PICTURE) // PICTURE for packet in media]
    assert pictures_so_far == list(range(45))
    call.send()
    assert pictures(wire) == [45]
    assert call.keyframes_asked == 0


@pytest.mark.parametrize("end", ["gone", "paused", "other"])
def test_a_subscriber_that_leaves_a_replay_gets_no_more_of_it(end: str) -> None:
    call = Call(pictures=40, size=1100)
    down_track, wire = call.join()
    pictures(wire)
    if end == "gone":
        assert isinstance(down_track.peer, EnginePeer)
        call.bench.engine.close_peer(down_track.peer)
    elif end == "paused":
        down_track.clear_target()
    else:
        call.bench.engine.remove_track(call.track)
    call.bench.tick(0.2)
    assert wire.media() == []
    assert down_track not in call.encoding.down_tracks
    assert all(each.ssrc != 0 for each in call.encoding.down_tracks)


def test_all_subscribers_may_be_in_a_replay() -> None:
    """Packets are forwarded to replays although no other down track takes them."""
    call = Call(pictures=40, size=1100)
    for each in list(call.track.down_tracks):
        call.bench.engine.remove_down_track(each)
    _, wire = call.join()
    got = len(wire.media())
    for _ in range(10):
        call.send()
        call.bench.tick(0.025)
        got += len(wire.media())
    assert got == 51
