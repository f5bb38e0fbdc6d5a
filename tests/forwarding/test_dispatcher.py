"""Batches of a stream to its down tracks: order of work, late packets, switches, and lost datagrams."""

from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.track import Track
from sfu.rtp import rtcp
from tests.support.wire import Bench, Wire, rtp, vp8


def picture(sequence: int, *, key: bool = False, size: int = 100) -> bytes:
    return rtp(
        vp8(key=key, picture=sequence, size=size), ssrc=31, sequence=sequence, timestamp=sequence * 3000,
        extensions={4: b"1"},
    )  # fmt: skip


class Viewers:
    """One video track without simulcast, and subscribers with a wire each."""

    def __init__(self, count: int) -> None:
        self.bench = Bench()
        self.track: Track = self.bench.video(())
        self.bench.send(picture(1, key=True))
        self.wires = [Wire() for _ in range(count)]
        self.down_tracks: list[DownTrack] = [
            self.bench.down_track(self.track, self.bench.peer(wire), number=number)
            for number, wire in enumerate(self.wires)
        ]

    def start(self, number: int) -> None:
        """The viewer waits for the next keyframe."""
        self.bench.engine.set_target(self.down_tracks[number], self.track.encodings[""], self.bench.now)

    def pictures(self, number: int) -> list[int]:
        """Timestamps that the viewer got, in pictures since the first of this call."""
        stamps = [packet.timestamp for packet in self.wires[number].media()]
        return [(stamp - stamps[0]) // 3000 for stamp in stamps]


def test_a_viewer_starts_at_the_keyframe_within_a_batch() -> None:
    viewers = Viewers(2)
    viewers.start(0)
    viewers.bench.send(picture(2, key=True))
    viewers.wires[0].take()
    viewers.start(1)
    viewers.bench.send(picture(3), picture(4))
    assert viewers.pictures(0) == [0, 1]
    assert viewers.wires[1].take() == []
    viewers.bench.send(picture(5), picture(6, key=True), picture(7))
    assert viewers.pictures(0) == [0, 1, 2]
    assert viewers.pictures(1) == [0, 1]


def test_a_sender_report_follows_the_switch_at_once() -> None:
    viewers = Viewers(1)
    report = rtcp.encode_sender_report(rtcp.SenderReport(31, 1000 << 32, 3000, 1, 1))
    viewers.bench.engine.receive_rtcp(viewers.bench.publisher, report, viewers.bench.now, 1005.0)
    viewers.start(0)
    viewers.bench.send(picture(2, key=True), picture(3))
    viewers.bench.send(picture(4), picture(5, key=True))
    reports = [packet for data in viewers.wires[0].rtcp() for packet in rtcp.parse(data)]
    assert [packet.ssrc for packet in reports if isinstance(packet, rtcp.SenderReport)] == [7_000_000]


def test_late_packets_from_before_its_start_do_not_reach_a_viewer() -> None:
    viewers = Viewers(2)
    viewers.start(0)
    viewers.bench.send(picture(2, key=True), picture(3))
    viewers.start(1)
    viewers.bench.send(picture(5, key=True), picture(6))
    for wire in viewers.wires:
        wire.take()
    viewers.bench.send(picture(4))
    assert len(viewers.wires[0].media()) == 1
    assert viewers.wires[1].media() == []


def test_a_full_socket_costs_its_viewer_only() -> None:
    viewers = Viewers(2)
    viewers.start(0)
    viewers.start(1)
    viewers.bench.send(picture(2, key=True))
    viewers.wires[0].full = True
    for wire in viewers.wires:
        wire.take()
    viewers.bench.send(picture(3), picture(4), picture(5))
    assert viewers.bench.engine.dropped["send_buffer"] == 3
    assert viewers.wires[0].take() == []
    assert viewers.pictures(1) == [0, 1, 2]


def test_estimators_learn_numbers_and_sizes_of_sent_packets() -> None:
    viewers = Viewers(2)
    viewers.start(0)
    viewers.start(1)
    viewers.bench.send(picture(2, key=True))
    sent: list[tuple[int, list[int], float]] = []
    viewers.down_tracks[0].on_sent = lambda each: sent.append((each[0], list(each[1]), each[2]))
    first = viewers.down_tracks[0].peer.twcc_number
    viewers.bench.send(picture(3, size=200), picture(4, size=300))
    viewers.bench.send(picture(5, size=400))
    (number, sizes, now), (following, more, _) = sent
    assert (number, following) == (first, first + 2)
    assert now == viewers.bench.now
    assert [len(sizes), len(more)] == [2, 1]
    assert sizes[1] - sizes[0] == more[0] - sizes[1] == 100


def test_a_paused_viewer_continues_at_the_next_keyframe() -> None:
    viewers = Viewers(2)
    viewers.start(0)
    viewers.start(1)
    viewers.bench.send(picture(2, key=True))
    viewers.down_tracks[0].pause()
    for wire in viewers.wires:
        wire.take()
    viewers.bench.send(picture(3))
    assert viewers.wires[0].media() == []
    viewers.bench.send(picture(4), picture(5, key=True))
    assert viewers.pictures(0) == [0]
    assert viewers.pictures(1) == [0, 1, 2]
