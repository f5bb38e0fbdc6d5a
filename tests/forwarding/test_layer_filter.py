"""Tests of filtered streams: subscribers receive complete, decodable streams."""

import itertools
import random
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.layer_filter import LIMIT, filtered
from sfu.forwarding.layers import ALL_LAYERS
from sfu.rtp import rtcp
from tests.support.wire import Bench, Rtp, Wire, rtp, vp8

RIDS = {"q": 11, "f": 13}


@dataclass
class Picture:
    """Packets of an encoder, and the pictures (by timestamp) that a decoder needs for each."""

    timestamp: int
    temporal: int
    sync: bool
    key: bool
    number: int
    base: int
    needs: tuple[int, ...]


Pattern = tuple[tuple[int, bool, tuple[int, ...]], ...]
LONG: Pattern = ((0, False, ()), (2, True, ()), (1, True, ()), (2, False, (2,)), (0, False, ()), (2, False, (2,)),
        (1, False, (2,)), (2, False, (6,)))  # fmt: skip
SHORT: Pattern = ((0, False, ()), (2, True, ()), (1, True, ()), (2, False, (1, 2)))
TWO: Pattern = ((0, False, ()), (1, True, ()), (0, False, ()), (1, False, (1,)))
"""libwebrtc's patterns (default_temporal_layers.cc): layer, layer sync, and which higher pictures of this round are needed;
the newest of the lowest layer always is."""


@dataclass
class Encoder:
    """One simulcast layer with temporal layers."""

    rid: str = "q"
    pattern: Pattern = LONG
    sequence: int = 65_500
    number: int = 32_750
    bits: int = 15
    base: int = 250
    packets: int = 2
    size: int = 20
    step: int = 0
    key_wanted: bool = True
    made: list[Picture] = field(default_factory=list)

    def picture(self, timestamp: int) -> list[bytes]:
        if self.key_wanted:
            self.step = 0
        place = self.step % len(self.pattern)
        temporal, sync, needs = self.pattern[place]
        before = self.made[-place:] if place else []
        lowest = next((one.timestamp for one in reversed(self.made) if not one.temporal), None)
        self.base = (self.base + (temporal == 0)) & 0xFF
        key, self.key_wanted = self.key_wanted, False
        needed = () if key else tuple([before[index].timestamp for index in needs])
        if not key and lowest is not None:
            needed += (lowest,)
        self.number = (self.number + 1) & ((1 << self.bits) - 1)
        self.made.append(Picture(timestamp, temporal, sync, key, self.number, self.base, needed))
        self.step += 1
        out = []
        for index in range(self.packets):
            self.sequence += 1
            body = vp8(
                key=key and index == 0, picture=self.number, tl0=self.base, begin=index == 0, temporal=temporal, sync=sync,
                bits=self.bits, size=self.size,
            )  # fmt: skip
            out.append(
                rtp(
                    body,
                    ssrc=RIDS[self.rid],
                    sequence=self.sequence,
                    timestamp=timestamp,
                    marker=index == self.packets - 1,
                    extensions={4: b"1", 10: self.rid.encode()},
                )
            )
        return out


class Scene:
    """A publisher with temporal layers and one subscriber."""

    def __init__(self, *, rids: tuple[str, ...] = ("q",), pattern: Pattern = LONG, **encoder: Any) -> None:
        self.bench, self.wire = Bench(), Wire()
        self.track = self.bench.video(rids)
        self.subscriber = self.bench.peer(self.wire)
        self.down_track: DownTrack = self.bench.down_track(self.track, self.subscriber)
        self.encoders = {rid: Encoder(rid, pattern=pattern, **encoder) for rid in rids}
        self.clock = 3000
        self.got: list[Rtp] = []
        for rid in rids:
            self.bench.send(*self.encoders[rid].picture(0))
        self.bench.uplink.take()

    def set_target(self, temporal: int = ALL_LAYERS, rid: str = "q", *, key: bool = True) -> None:
        self.bench.engine.set_target(
            self.down_track, filtered(self.track.encodings[rid], ALL_LAYERS, temporal), self.bench.now
        )
        self.encoders[rid].key_wanted |= key

    def pictures(self, count: int) -> Iterator[list[bytes]]:
        for _ in range(count):
            yield [packet for encoder in self.encoders.values() for packet in encoder.picture(self.clock)]
            self.clock += 3000

    def run(self, count: int) -> list[Rtp]:
        for packets in self.pictures(count):
            self.bench.now += 1 / 30
            self.bench.send(*packets)
        return self.take()

    def take(self) -> list[Rtp]:
        media = [one for one in self.wire.media() if one.ssrc == self.down_track.ssrc]
        self.got += media
        return media

    def asked(self) -> int:
        """Keyframes that the publisher was asked for since the last call."""
        packets = [packet for data in self.bench.uplink.rtcp() for packet in rtcp.parse(data)]
        return sum(isinstance(packet, rtcp.PictureLossIndication) for packet in packets)


@dataclass
class Narrow:
    """As much of a downlink as a replay asks for."""

    estimator: Any = field(default_factory=lambda: SimpleNamespace(target=1_200_000.0))


def number_of(packet: Rtp) -> int:
    return (packet.payload[2] & 0x7F) << 8 | packet.payload[3]


def temporals(packets: list[Rtp]) -> list[int]:
    return [packet.payload[5] >> 6 for packet in packets if packet.payload and packet.payload[0] & 0x10]


def steps(values: list[int], modulus: int) -> set[int]:
    return {(b - a) % modulus for a, b in itertools.pairwise(values)}


@pytest.mark.parametrize(("temporal", "pattern"), [(0, {0}), (1, {0, 1}), (ALL_LAYERS, {0, 1, 2})])
def test_layers_above_are_left_out_and_leave_no_gap(temporal: int, pattern: set[int]) -> None:
    scene = Scene()
    scene.set_target(temporal)
    packets = scene.run(64)
    assert set(temporals(packets)) == pattern
    assert steps([packet.sequence for packet in packets], 1 << 16) == {1}
    assert steps([number_of(packet) for packet in packets], 1 << 15) == {0, 1}
    assert steps([packet.payload[4] for packet in packets], 256) == {0, 1}
    assert sum(packet.marker for packet in packets) == len(packets) / 2
    assert len(packets) == 2 * sum(LONG[place % 8][0] <= temporal for place in range(64))


def test_seven_bits_of_picture_id_do_as_well() -> None:
    scene = Scene(bits=7, number=100)
    scene.set_target(1)
    packets = scene.run(200)
    assert steps([packet.payload[2] for packet in packets], 128) == {0, 1}


@pytest.mark.parametrize("pattern", [LONG, SHORT, TWO])
def test_layers_come_and_go_between_pictures_and_no_keyframe_is_asked_for(pattern: Pattern) -> None:
    scene = Scene(pattern=pattern)
    scene.set_target()
    scene.run(9)
    scene.asked()
    seen = []
    for temporal in (0, 1, ALL_LAYERS, 0, ALL_LAYERS, 1, 0, 1):
        scene.set_target(temporal, key=False)
        packets = scene.run(16)
        assert {packet.timestamp for packet in packets}
        seen.append(max(temporals(packets[-16:])))
    most = max(one[0] for one in pattern)
    assert seen == [0, 1, most, 0, most, 1, 0, 1]
    assert scene.asked() == 0
    assert steps([packet.sequence for packet in scene.got], 1 << 16) == {1}
    assert steps([number_of(packet) for packet in scene.got], 1 << 15) == {0, 1}
    decode(scene.encoders.values(), scene.got, whole=True)


def test_an_unused_layer_filter_is_removed() -> None:
    scene = Scene()
    scene.set_target(0)
    scene.run(8)
    encoding = scene.track.encodings["q"]
    assert encoding.layer_filter is not None
    scene.set_target(ALL_LAYERS, key=False)
    scene.run(16)
    assert encoding.layer_filter is None
    scene.set_target(1, key=False)
    scene.run(1)
    scene.down_track.clear_target()
    scene.run(2)
    assert encoding.layer_filter is None
    assert encoding.batch == []


def test_more_selections_than_are_kept_share_the_nearest_one() -> None:
    scene = Scene()
    encoding = scene.track.encodings["q"]
    caps = [(spatial, temporal) for spatial in range(3) for temporal in range(3)]
    down_tracks = [scene.bench.down_track(scene.track, scene.bench.peer(Wire())) for _ in caps]
    for down_track, (spatial, temporal) in zip(down_tracks, caps, strict=True):
        scene.bench.engine.set_target(down_track, filtered(encoding, spatial, temporal), scene.bench.now)
    scene.encoders["q"].key_wanted = True
    scene.run(2)
    assert encoding.layer_filter is not None
    assert len(encoding.layer_filter.filtered) == LIMIT == len(caps) - 1
    shared = down_tracks[-1].current
    assert shared is not None
    assert (shared.spatial, shared.temporal) == (2, 1)
    assert filtered(encoding, 0, 0) is down_tracks[0].current
    for down_track in down_tracks[:-1]:
        down_track.clear_target()
    filtered(encoding, 2, 2)
    assert [(one.spatial, one.temporal) for one in encoding.layer_filter.filtered] == [(2, 1), (2, 2)]


def test_a_repair_that_is_left_out_is_padding_and_one_that_is_not_gets_its_place() -> None:
    scene = Scene(packets=1)
    scene.set_target(0)
    scene.run(1)  # the keyframe
    (two,), (one,), (also_two,), (zero,) = scene.pictures(4)
    scene.bench.send(one)
    assert scene.take() == []
    scene.bench.send(zero)
    (lowest,) = scene.take()
    first = scene.got[0].sequence
    # two numbers stay free, because the missing packets are unknown
    assert (lowest.sequence - first) & 0xFFFF == 3
    assert (number_of(lowest) - number_of(scene.got[0])) & 0x7FFF == 1
    scene.bench.send(also_two)
    scene.bench.send(two)
    fillers = scene.take()
    assert [(packet.sequence - first) & 0xFFFF for packet in fillers] == [2, 1]
    assert [packet.payload for packet in fillers] == [b"", b""]
    nack = rtcp.encode_nack(1, scene.down_track.ssrc, [lowest.sequence, fillers[0].sequence])
    scene.bench.engine.receive_rtcp(scene.subscriber, nack, scene.bench.now, 0.0)
    again = scene.wire.media()
    assert [packet.payload for packet in again] == [
        struct.pack("!H", lowest.sequence) + lowest.payload, struct.pack("!H", fillers[0].sequence)
    ]  # fmt: skip


def test_a_picture_of_the_kept_layers_that_comes_late_is_as_it_would_have_been() -> None:
    scene = Scene(packets=1)
    scene.set_target(1)
    scene.run(1)
    (two,), (one,), (also_two,), (zero,) = scene.pictures(4)
    scene.bench.send(two)
    scene.bench.send(also_two)
    scene.bench.send(zero)
    scene.bench.send(one)
    packets = scene.take()
    assert [(packet.sequence - scene.got[0].sequence) & 0xFFFF for packet in packets] == [2, 1]
    assert [(number_of(packet) - number_of(scene.got[0])) & 0x7FFF for packet in packets] == [2, 1]
    assert scene.wire.media() == []


def test_a_late_packet_behind_a_gap_takes_the_next_number() -> None:
    scene = Scene(packets=1)
    scene.set_target(1)
    scene.run(2)
    (one,), (two,), (zero,) = scene.pictures(3)
    scene.bench.send(two)
    scene.bench.send(one)
    scene.bench.send(zero)
    scene.take()
    assert steps([packet.sequence for packet in scene.got], 1 << 16) == {1}
    assert steps([number_of(packet) for packet in scene.got], 1 << 15) == {1}


def test_from_one_encodings_layers_to_anothers_at_a_keyframe() -> None:
    scene = Scene(rids=("q", "f"))
    scene.encoders["f"].sequence, scene.encoders["f"].number = 9, 77
    scene.set_target(0)
    scene.run(24)
    scene.asked()
    scene.set_target(1, "f", key=False)
    assert scene.asked() == 1
    scene.run(3)
    scene.encoders["f"].key_wanted = True
    packets = scene.run(9)
    assert temporals(packets)[-1] == 0
    assert 1 in temporals(packets)
    assert scene.track.encodings["q"].layer_filter is None
    assert steps([packet.sequence for packet in scene.got], 1 << 16) == {1}
    assert steps([number_of(packet) for packet in scene.got], 1 << 15) <= {0, 1}


def test_a_stream_that_goes_on_under_another_ssrc_is_thinned_as_before() -> None:
    scene = Scene()
    scene.set_target(0)
    scene.run(8)
    scene.bench.now += 2
    RIDS["q"] = 99
    try:
        scene.encoders["q"].key_wanted = True
        packets = scene.run(16)
    finally:
        RIDS["q"] = 11
    scene.encoders["q"].key_wanted = True
    assert set(temporals(packets)) == {0}


def test_a_subscriber_in_a_replay_switches_after_it() -> None:
    scene = Scene(packets=4, size=1000)
    listener = scene.bench.down_track(scene.track, scene.bench.peer(Wire()), number=1)
    scene.bench.engine.set_target(listener, scene.track.encodings["q"], scene.bench.now)
    scene.encoders["q"].key_wanted = True
    for packets in scene.pictures(16):
        scene.bench.now += 1 / 30
        scene.bench.send(*packets)
    scene.bench.tick(0.025)
    scene.subscriber.downlink = Narrow()  # type: ignore[assignment]  # stands for the part that is read
    scene.set_target(key=False)
    assert 0 < len(scene.take()) < 64
    scene.set_target(0, key=False)
    for packets in scene.pictures(60):
        scene.bench.now += 1 / 30
        scene.bench.send(*packets)
        scene.bench.tick(0.025)
    assert set(temporals(scene.take()[-40:])) == {0}
    assert steps([packet.sequence for packet in scene.got], 1 << 16) == {1}
    decode(scene.encoders.values(), scene.got, whole=True)


def test_a_codec_without_distinguishable_layers_is_sent_whole() -> None:
    bench = Bench()
    encoding = bench.video((), codec="H264").encodings[""]
    assert filtered(encoding, 0, 0) is encoding


def decode(encoders: Iterable[Encoder], packets: list[Rtp], *, whole: bool) -> None:
    """Everything that was sent can be decoded: one number for each picture, and whatever it needs was sent before."""
    made = {one.timestamp: one for encoder in encoders for one in encoder.made}
    shown: set[int] = set()
    numbers: dict[int, int] = {}
    by_sequence: dict[int, Rtp] = {}
    order = 0
    last = packets[0].sequence
    for packet in packets:
        order += ((packet.sequence - last + 0x8000) & 0xFFFF) - 0x8000
        last = packet.sequence
        assert order not in by_sequence, "a number was used twice"
        by_sequence[order] = packet
    pictures: list[int] = []
    for order in sorted(by_sequence):
        packet = by_sequence[order]
        if not packet.payload:
            continue
        if packet.timestamp not in numbers:
            pictures.append(packet.timestamp)
            numbers[packet.timestamp] = number_of(packet)
        assert numbers[packet.timestamp] == number_of(packet), "one picture has two numbers"
    assert len(set(numbers.values())) == len(numbers), "two pictures have one number"
    assert pictures == sorted(pictures)
    for timestamp in pictures:
        picture = made[timestamp]
        if whole:
            assert picture.key or all(needed in shown for needed in picture.needs), f"{picture} cannot be decoded"
        shown.add(timestamp)
    if whole:
        assert set(range(max(by_sequence))) <= set(by_sequence), "a number was never sent"


@pytest.mark.parametrize("pattern", [LONG, SHORT, TWO])
@pytest.mark.parametrize("loss", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_random_targets_and_upstream_loss(seed: int, loss: float, pattern: Pattern) -> None:
    """Layers change at random while packets come late, in another order, in larger batches: nothing is ever sent twice
    or under two numbers, and without loss everything can be decoded."""
    chance = random.Random(seed)
    scene = Scene(pattern=pattern)
    scene.set_target()
    scene.run(2)
    late: list[tuple[int, bytes]] = []
    for step, packets in enumerate(scene.pictures(400)):
        scene.bench.now += 1 / 30
        if chance.random() < 0.1:
            scene.set_target(chance.choice((0, 1, ALL_LAYERS)), key=chance.random() < 0.1)
        batch = []
        for packet in packets:
            if chance.random() < loss:
                late.append((step + chance.randrange(1, 5), packet))
            else:
                batch.append(packet)
        due = [packet for when, packet in late if when <= step]
        late = [entry for entry in late if entry[0] > step]
        batch += due
        if loss:
            chance.shuffle(due)
        if chance.random() < 0.3:
            for packet in batch:
                scene.bench.send(packet)
        else:
            scene.bench.send(*batch)
    scene.take()
    assert scene.bench.engine.dropped["fault"] == 0
    assert len(scene.got) > 200
    decode(scene.encoders.values(), scene.got, whole=not loss)
