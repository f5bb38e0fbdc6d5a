"""Limits of the cost of a hostile publisher's streams, in executed instructions per packet and per tick."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from sfu.errors import MalformedPacket
from sfu.forwarding.layer_bitrates import LayerBitrates
from sfu.forwarding.layer_filter import fill, filtered
from sfu.forwarding.track import Track
from sfu.rtp import rtcp
from sfu.rtp.codecs import dependency_descriptor
from sfu.rtp.codecs.dependency_descriptor import DependencyDescriptorReader
from sfu.sdp.capabilities import URI_DEPENDENCY_DESCRIPTOR
from tests.forwarding.test_svc import wide_rtp
from tests.support.cost import PER_MICROSECOND, operations
from tests.support.descriptors import Scalability, packed
from tests.support.wire import EXTENSIONS, Bench, Wire, rtp, vp8

STRUCTURE = (Path(__file__).parent.parent / "data" / "hostile" / "dependency_structure.bin").read_bytes()
TICK = 2_000 * 2 * PER_MICROSECOND
"""2 ms: what one call may cost, whatever the streams of a peer send."""
PACKET = 50 * 2 * PER_MICROSECOND


def structure(templates: int, targets: int, *, differences: int = 0, chains: int = 0, salt: int = 0) -> str:
    """A structure of one layer, in bits. `salt` makes it differ from others."""
    steps = "00" * (templates - 1) + "11"
    indications = "".join(f"{(salt >> 2 * n & 3 if n < 16 else 2):02b}" for n in range(templates * targets))
    listed = ("1" + "0001") * differences + "0" * templates
    width = (targets + 1).bit_length()
    short = (1 << width) - targets - 1
    count = f"{chains:0{width - 1}b}" if chains < short else f"{chains + short:0{width}b}"
    return f"{0:06b}{targets - 1:05b}" + steps + indications + listed + count + "0" * 1600


def descriptor(bits: str, number: int = 0) -> bytes:
    return packed(f"11000000{number & 0xFFFF:016b}" + "10000" + bits)[:255]


WORST = {
    "29 templates and 32 targets": STRUCTURE,
    "10 templates and 32 targets": descriptor(structure(10, 32, salt=5)),
    "64 templates and 5 targets": descriptor(structure(64, 5, differences=128)),
    "64 templates and 32 targets": descriptor(structure(64, 32)),
    "frame differences": descriptor(structure(1, 1, differences=380)),
    "32 chains": descriptor(structure(8, 32, chains=32)),
    "ones": b"\xc0\0\1" + b"\xff" * 252,
    "zeros": b"\xc0\0\1\x80" + bytes(251),
}


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> None:
    dependency_descriptor._read_structured.cache_clear()


@pytest.mark.parametrize("name", WORST)
def test_a_structure(name: str) -> None:
    state, data = DependencyDescriptorReader(), WORST[name]
    cost = operations(lambda: state.read(data, 0, len(data)), raises=MalformedPacket)
    assert 0 < cost <= 4 * PACKET


def test_a_structure_that_comes_again_is_not_parsed_again() -> None:
    state = DependencyDescriptorReader()
    first = operations(lambda: state.read(descriptor(structure(8, 32), 1), 0, 140))
    again = operations(lambda: state.read(descriptor(structure(8, 32), 2), 0, 140))
    assert again < first / 10
    before = state.structure
    state.read(descriptor(structure(8, 32), 3), 0, 140)
    assert state.structure is before


@pytest.mark.parametrize("flags", ["0 1 1 1", "0 0 1 0", "1 1 1 1"])
def test_custom_fields(flags: str) -> None:
    state = DependencyDescriptorReader()
    data = descriptor(structure(10, 32, chains=8))
    state.read(data, 0, len(data))
    custom = packed(f"11000000{5:016b}0" + flags.replace(" ", "") + "01" * 900)[:255]
    assert operations(lambda: state.read(custom, 0, 255), raises=MalformedPacket) <= PACKET


def constant(made: bytes) -> Callable[[int], bytes]:
    return lambda _: made


class Streams:
    """A publisher of `count` streams with dependency descriptors, all watched by one viewer."""

    def __init__(self, count: int) -> None:
        self.bench, self.wire = Bench(), Wire()
        self.viewer = self.bench.peer(self.wire)
        self.tracks: list[Track] = []
        for number in range(count):
            track = self.bench.engine.add_track(
                self.bench.publisher, mid=str(number), kind="video", codec="AV1", parameters="", clock_rate=90_000,
                payload_types={96: "AV1"}, rtx={}, extensions=EXTENSIONS | {URI_DEPENDENCY_DESCRIPTOR: 8}, rids=(),
                ssrcs=((100 + number, None),),
            )  # fmt: skip
            self.bench.down_track(track, self.viewer, number=number)
            self.tracks.append(track)

    def send(self, make: Callable[[int], bytes], sequences: range) -> None:
        for sequence in sequences:
            for number in range(len(self.tracks)):
                header = {"ssrc": 100 + number, "sequence": sequence, "timestamp": 3000 * sequence}
                self.bench.send(wide_rtp(b"\x10\x30frame", {8: make(sequence * 64 + number)}, **header))
            self.bench.now += 0.01
        self.wire.take()


MAKERS: dict[str, Callable[[int], bytes]] = {
    "the same structure": lambda number: STRUCTURE[:1] + (number & 0xFFFF).to_bytes(2, "big") + STRUCTURE[3:],
    "a structure that is taken": lambda number: descriptor(structure(10, 32), number),
    "another structure each time": lambda number: descriptor(structure(10, 32, salt=number), number),
}


@pytest.mark.parametrize("name", MAKERS)
def test_bit_rates_of_layers_are_measured_in_part_at_each_tick(name: str) -> None:
    streams, rates = Streams(48), LayerBitrates()
    streams.send(MAKERS[name], range(1, 140))
    rates.measure(streams.tracks, streams.bench.now)
    for track in streams.tracks:
        track.encodings[""].alive = True
    most = 0
    for _ in range(80):
        streams.bench.now += 0.025
        most = max(most, operations(lambda: rates.measure(streams.tracks, streams.bench.now)))
    assert 0 < most <= TICK
    assert not rates._waiting, "some streams were never looked at"


@pytest.mark.parametrize("name", MAKERS)
def test_leaving_out_layers_of_a_stream_with_structures_in_every_packet(name: str) -> None:
    streams = Streams(1)
    (track,) = streams.tracks
    streams.send(MAKERS[name], range(1, 10))
    stream = filtered(track.encodings[""], 0, 0)
    assert stream is not track.encodings[""]
    streams.bench.engine.set_target(track.down_tracks[0], stream, streams.bench.now)
    cost = operations(lambda: streams.send(MAKERS[name], range(10, 110)))
    assert cost / 100 <= PACKET


def test_an_honest_change_of_the_structure_is_followed() -> None:
    streams = Streams(1)
    (track,) = streams.tracks
    small, large = Scalability([(320, 180)], 2), Scalability([(320, 180), (640, 360)], 2)
    for begin, scalability in ((1, small), (200, large), (400, small)):
        for sequence in range(begin, begin + 150):
            key = sequence == begin
            spatial = sequence % len(scalability.sizes) if not key else 0
            made = scalability.descriptor(spatial, 0, sequence, begin=True, end=True, key=key, new=key)
            streams.send(constant(made), range(sequence, sequence + 1))
        found = filtered(track.encodings[""], 0, 0)
        assert track.encodings[""].layer_filter is not None
        layers = track.encodings[""].layer_filter._layers
        newest = track.encodings[""].find(track.encodings[""].highest)
        assert newest is not None
        assert layers.read(newest) is not None
        assert layers.size(0) == (320, 180)
        del found


@pytest.mark.parametrize("seed", range(50))
def test_a_ring_is_filled_as_if_one_by_one(seed: int) -> None:
    random_ = random.Random(seed)
    ring = [random_.randrange(100) for _ in range(16)]
    end, count = random_.randrange(1000), random_.randrange(16)
    expected = list(ring)
    for back in range(count, 0, -1):
        expected[(end - back) & 15] = -1
    fill(ring, end, count, -1)
    assert ring == expected


@pytest.mark.parametrize("step", [1, 17, 250, 500, 20_000])
def test_gaps_in_a_stream_with_layers_left_out(step: int) -> None:
    """Eight selections of layers of one stream that skips `step` numbers and pictures with every packet."""
    bench, wire = Bench(), Wire()
    track = bench.video(("q",))

    def packet(number: int) -> bytes:
        payload = vp8(key=number == 0, picture=number * step & 0x7FFF, tl0=number & 0xFF, temporal=number % 3)
        timestamp = 3000 * number & 0xFFFFFFFF
        return rtp(payload, ssrc=11, sequence=number * step, timestamp=timestamp, extensions={4: b"1", 10: b"q"})

    bench.send(packet(0), packet(1))
    viewer = bench.peer(wire)
    for number, (spatial, temporal) in enumerate([(s, t) for s in range(4) for t in range(2)]):
        bench.engine.set_target(
            bench.down_track(track, viewer, number=number), filtered(track.encodings["q"], spatial, temporal), 0
        )
    bench.send(*map(packet, range(2, 10)))

    def send() -> None:
        for number in range(10, 60):
            bench.send(packet(number))
            bench.now += 0.01

    assert operations(send) / 50 <= 2 * PACKET


class Gaps:
    """A publisher of `count` streams each of whose packets skips `gap` numbers."""

    def __init__(self, count: int, gap: int) -> None:
        self.bench, self.gap, self.sequence = Bench(), gap, 0
        self.count = count
        for number in range(count):
            self.bench.engine.add_track(
                self.bench.publisher, mid=str(number), kind="video", codec="VP8", parameters="", clock_rate=90_000,
                payload_types={96: "VP8"}, rtx={97: 96}, extensions=EXTENSIONS, rids=(), ssrcs=((100 + number, None),),
            )  # fmt: skip

    def second(self, packets: int) -> tuple[int, int]:
        """Instructions of a second, and of its most expensive tick."""
        total = most = 0
        for _ in range(40):
            for _ in range(packets // 40 // self.count):
                self.sequence += 1 + self.gap
                made = [
                    rtp(vp8(), ssrc=100 + number, sequence=self.sequence, timestamp=3000 * self.sequence & 0xFFFFFFFF)
                    for number in range(self.count)
                ]
                total += operations(partial(self.bench.send, *made))
            tick = operations(lambda: self.bench.tick(0.025))
            total, most = total + tick, max(most, tick)
        return total, most


@pytest.mark.parametrize("gap", [1, 17, 250, 256])
@pytest.mark.parametrize("count", [1, 48])
def test_gaps_in_the_sequence_numbers_of_all_streams(count: int, gap: int) -> None:
    gaps = Gaps(count, gap)
    gaps.second(1920)
    gaps.bench.uplink.take()
    total, most = gaps.second(1920)
    answers = gaps.bench.uplink.rtcp()
    assert most <= TICK
    assert total / 1e6 / (2 * PER_MICROSECOND) < 0.1, "a peer took more than a tenth of the loop"
    assert len(answers) <= 3 * 40 + 20
    assert max(map(len, answers)) <= 1200


def test_an_honest_burst_of_losses_is_asked_for_at_once() -> None:
    """In three simulcast layers, 80 packets of each are lost."""
    bench = Bench()
    track = bench.video()
    for sequence in [*range(1, 10), *range(90, 100)]:
        for rid, ssrc in (("q", 11), ("h", 12), ("f", 13)):
            extensions = {4: b"1", 10: rid.encode()}
            bench.send(rtp(vp8(), ssrc=ssrc, sequence=sequence, timestamp=3000 * sequence, extensions=extensions))
        bench.now += 0.01
    bench.uplink.take()
    bench.tick(0.025)
    asked = [one for data in bench.uplink.rtcp() for one in rtcp.parse(data) if isinstance(one, rtcp.Nack)]
    lost = tuple(range(10, 90))
    assert {one.media_ssrc: one.lost for one in asked} == {11: lost, 12: lost, 13: lost}
    assert track.encodings["q"].nack_generator is not None


def test_half_of_the_packets_are_lost_for_seconds_and_all_are_asked_for() -> None:
    bench, sequence, asked = Bench(), 0, set[int]()
    bench.video(("q",))
    for _ in range(200):
        for _ in range(10):  # 400 packets a second
            sequence += 2
            extensions = {4: b"1", 10: b"q"}
            bench.send(rtp(vp8(), ssrc=11, sequence=sequence, timestamp=3000 * sequence, extensions=extensions))
        bench.tick(0.025)
        asked |= {
            number
            for data in bench.uplink.rtcp()
            for one in rtcp.parse(data)
            if isinstance(one, rtcp.Nack)
            for number in one.lost
        }
    assert set(range(3, sequence, 2)) <= asked
