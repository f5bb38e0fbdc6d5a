"""Another node of the cluster as a peer of the engine."""

from sfu.forwarding.engine import Engine
from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.rtcp_handler import IngressLimits
from sfu.forwarding.stream_table import NODE_LIMITS
from sfu.forwarding.track import Track
from sfu.ids import PeerId
from tests.support.wire import Bench, PlainSealer, Wire, rtp, vp8

WALL = 3_000_000_000.0


class NodeBench(Bench):
    """A Bench whose publisher is a node."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine(PlainSealer(), segments=True, ingress=IngressLimits(10, 10_000))
        self.publisher = self.node()

    def node(self) -> EnginePeer:
        self.count += 1
        peer = self.engine.open_node_peer(PeerId(self.count), 1)
        self.engine.set_srtp_sessions(peer, object(), object(), 16)
        self.engine.set_peer_address(peer, self.uplink, ("192.0.2.1", 5000 + self.count))
        return peer

    def relayed(
        self, peer: EnginePeer, first: int = 10, rids: tuple[str, ...] = ("q", "h"), mid: str = "TR_1"
    ) -> Track:
        return self.engine.add_track(
            peer, mid=mid, kind="video", codec="VP8", parameters="", clock_rate=90_000, payload_types={96: "VP8"},
            rtx={97: 96}, extensions={}, rids=rids, ssrcs=pairs(first, len(rids)), by_ssrc=True,
        )  # fmt: skip

    def frame(self, ssrc: int, sequence: int, *, key: bool = False) -> None:
        self.send(rtp(vp8(key=key), ssrc=ssrc, sequence=sequence, timestamp=3000 * sequence))


def pairs(first: int, count: int) -> tuple[tuple[int, int], ...]:
    return tuple((first + 2 * index, first + 2 * index + 1) for index in range(count))


def test_only_declared_streams_are_taken() -> None:
    bench = NodeBench()
    track = bench.relayed(bench.publisher)
    assert not bench.publisher.exceeds_ssrc_limit(10)
    assert bench.publisher.exceeds_ssrc_limit(99)
    bench.engine.remove_track(track)
    assert bench.publisher.exceeds_ssrc_limit(10)


def test_a_node_sends_more_streams_than_a_client_up_to_its_limit() -> None:
    bench = NodeBench()
    tracks = [
        bench.relayed(bench.publisher, 10 + 4 * number, mid=f"TR_{number}")
        for number in range(NODE_LIMITS.streams // 4)
    ]
    assert all(encoding.ssrc for track in tracks for encoding in track.encodings.values())
    beyond = bench.relayed(bench.publisher, 100_000, mid="TR_beyond")
    assert not any(encoding.ssrc for encoding in beyond.encodings.values())


def test_limits_of_clients_do_not_throttle_a_node() -> None:
    bench = NodeBench()
    bench.relayed(bench.publisher)
    client = bench.peer(Wire())
    bench.engine.add_track(
        client, mid="1", kind="video", codec="VP8", parameters="", clock_rate=90_000, payload_types={96: "VP8"}, rtx={},
        extensions={}, rids=(), ssrcs=((50, None),),
    )  # fmt: skip
    node = bench.publisher
    for ssrc, peer in ((10, node), (50, client)):
        bench.publisher = peer
        bench.tick(0.3)  # a check of the rate
        for sequence in range(1, 200):
            bench.frame(ssrc, sequence)
        peer.budget.charge(0.9, bench.now)
    bench.tick(0.05)
    assert client.flooding is True
    assert node.flooding is False


def test_missing_packets_of_a_node_are_bounded_per_stream_only() -> None:
    bench = NodeBench()
    rids = tuple(f"r{number}" for number in range(8))
    bench.relayed(bench.publisher, rids=rids)
    for index in range(8):
        bench.frame(10 + 2 * index, 1)
        bench.frame(10 + 2 * index, 202)
    generators = [
        encoding.nack_generator
        for track in bench.publisher.tracks.values()
        for encoding in track.encodings.values()
        if encoding.nack_generator is not None
    ]
    assert [len(generator.missing) for generator in generators] == [200] * 8
    bench.tick(0.1)
    assert bench.publisher.counters.nacks_sent > 512


def test_packets_to_a_node_are_sent_before_those_to_clients() -> None:
    bench = Bench()
    track = bench.video(("q",), ssrcs=((50, None),))
    bench.send(rtp(vp8(key=True), ssrc=50, sequence=1, timestamp=1))
    node = bench.engine.open_node_peer(PeerId(90), 1)
    down_tracks = [bench.down_track(track, peer, number=n) for n, peer in enumerate((bench.peer(Wire()), node))]
    for down_track in down_tracks:
        bench.engine.set_target(down_track, track.encodings["q"], bench.now)
    bench.tick(1.0)
    assert track.encodings["q"].down_tracks == down_tracks[::-1]


def test_a_track_continues_with_other_streams_of_the_same_node() -> None:
    bench, wire = NodeBench(), Wire()
    track = bench.relayed(bench.publisher)
    down_track = bench.down_track(track, bench.peer(wire))
    bench.frame(10, 1, key=True)
    bench.engine.set_target(down_track, track.encodings["q"], bench.now)
    bench.frame(10, 2, key=True)
    before = wire.media()[-1]
    bench.engine.rebind_track(track, bench.publisher, {}, pairs(50, 2))
    assert bench.publisher.exceeds_ssrc_limit(10)
    bench.frame(50, 700)
    assert wire.media() == []
    bench.frame(50, 701, key=True)
    after = wire.media()
    assert [(packet.ssrc, packet.sequence) for packet in after] == [(before.ssrc, before.sequence + 1)]


def test_a_track_continues_with_streams_of_another_node() -> None:
    bench, wire = NodeBench(), Wire()
    first, second = bench.publisher, bench.node()
    track = bench.relayed(first)
    other = bench.relayed(first, 30, mid="TR_2")
    down_track = bench.down_track(track, bench.peer(wire))
    bench.frame(10, 1, key=True)
    bench.engine.set_target(down_track, track.encodings["q"], bench.now)
    bench.frame(10, 2, key=True)
    before = wire.media()[-1]
    bench.engine.rebind_track(track, second, {}, pairs(10, 2))
    assert track.peer is second
    assert list(first.tracks) == [other.mid]
    bench.publisher = second
    bench.frame(10, 300, key=True)
    assert [packet.sequence for packet in wire.media()] == [before.sequence + 1]
    bench.engine.close_peer(first)
    assert not track.closed
    assert other.closed
    bench.engine.close_peer(second)
    assert track.closed
