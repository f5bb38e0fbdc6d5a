"""Tests of spatial layers in one stream, by the dependency descriptor and by the VP9 payload descriptor."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.layer_bitrates import LayerBitrates
from sfu.forwarding.layer_filter import filtered
from sfu.forwarding.layer_parser import DependencyDescriptorLayerParser, layer_parser_for
from sfu.forwarding.layers import ALL_LAYERS, Size
from sfu.rtp import rtcp
from sfu.rtp.codecs.dependency_descriptor import DependencyDescriptorReader
from sfu.sdp.capabilities import OUT_EXTENSION_IDS, URI_DEPENDENCY_DESCRIPTOR
from tests.support.descriptors import Scalability
from tests.support.wire import EXTENSIONS, Bench, Rtp, Wire, rtp

SIZES = [(320, 180), (640, 360), (1280, 720)]
PATTERN = (0, 2, 1, 2)
DEPENDENCY = OUT_EXTENSION_IDS[URI_DEPENDENCY_DESCRIPTOR]


def wide_rtp(payload: bytes, extensions: dict[int, bytes], **header: Any) -> bytes:
    """With the two-byte form of header extensions."""
    packet = rtp(b"", **header)
    block = b"".join(bytes((number, len(value))) + value for number, value in extensions.items())
    block += bytes(-len(block) % 4)
    return bytes((packet[0] | 0x10,)) + packet[1:] + b"\x10\0" + (len(block) // 4).to_bytes(2, "big") + block + payload


@dataclass
class Svc:
    """A publisher of one stream with three by three layers, two packets for each layer of a picture."""

    codec: str
    descriptors: bool
    sequence: int = 65_000
    frame: int = 65_500
    picture: int = 32_700
    timestamp: int = 0
    step: int = 0
    key_wanted: bool = True
    scalability: Scalability = field(default_factory=lambda: Scalability(SIZES, 3))

    def packets(self) -> list[bytes]:
        key, self.key_wanted = self.key_wanted, False
        self.step = 0 if key else self.step + 1
        temporal = PATTERN[self.step % 4]
        self.timestamp += 3000
        self.picture = (self.picture + 1) & 0x7FFF
        out = []
        for spatial in range(3):
            self.frame += 1
            for part in range(2):
                self.sequence += 1
                begin, end = part == 0, part == 1
                extensions = {4: b"1"}
                if self.descriptors:
                    new = key and spatial == 0 and begin
                    extensions[8] = self.scalability.descriptor(
                        spatial, temporal, self.frame, begin=begin, end=end, key=key, new=new
                    )
                out.append(
                    wide_rtp(
                        self.payload(spatial, temporal, key, begin, end),
                        extensions,
                        ssrc=11,
                        sequence=self.sequence & 0xFFFF,
                        timestamp=self.timestamp,
                        marker=end and spatial == 2,
                    )
                )
        return out

    def payload(self, spatial: int, temporal: int, key: bool, begin: bool, end: bool) -> bytes:
        body = bytes(20 * (1 << spatial))
        if self.codec == "AV1":
            return bytes((0x18 if key and begin and spatial == 0 else 0x10,)) + b"\x30" + body
        structure = b"\x58" + b"".join(w.to_bytes(2, "big") + h.to_bytes(2, "big") for w, h in SIZES) + b"\0"
        with_structure = key and begin and spatial == 0
        first = 0xA0 | (0 if key else 0x40) | begin << 3 | end << 2 | with_structure << 1
        layer = temporal << 5 | (temporal == 0) << 4 | spatial << 1 | (spatial > 0 and key)
        head = bytes((first, 0x80 | self.picture >> 8, self.picture & 0xFF, layer, self.step // 4 & 0xFF))
        return head + (structure if with_structure else b"") + body


class Scene:
    def __init__(self, codec: str, descriptors: bool) -> None:
        self.bench, self.wire = Bench(), Wire()
        EXTENSIONS_WITH = EXTENSIONS | {URI_DEPENDENCY_DESCRIPTOR: 8}
        self.track = self.bench.engine.add_track(
            self.bench.publisher, mid="1", kind="video", codec=codec, parameters="", clock_rate=90_000,
            payload_types={96: codec}, rtx={97: 96}, extensions=EXTENSIONS_WITH, rids=(), ssrcs=((11, None),),
        )  # fmt: skip
        self.encoding = self.track.encodings[""]
        self.down_track: DownTrack = self.bench.down_track(self.track, self.bench.peer(self.wire))
        self.source = Svc(codec, descriptors)
        self.run(8)
        self.bench.uplink.take()

    def set_target(self, spatial: int, temporal: int) -> None:
        self.bench.engine.set_target(self.down_track, filtered(self.encoding, spatial, temporal), self.bench.now)

    def run(self, count: int) -> list[Rtp]:
        for _ in range(count):
            self.bench.now += 1 / 30
            self.bench.send(*self.source.packets())
        return self.wire.media()

    def asked(self) -> bool:
        """Whether the publisher was asked for a keyframe; it makes one."""
        found = [packet for data in self.bench.uplink.rtcp() for packet in rtcp.parse(data)]
        asked = any(isinstance(packet, rtcp.PictureLossIndication) for packet in found)
        self.source.key_wanted |= asked
        return asked


def layers(packets: list[Rtp]) -> set[tuple[int, int]]:
    return {((packet.payload[3] >> 1) & 7, packet.payload[3] >> 5) for packet in packets}


BOTH = pytest.mark.parametrize("descriptors", [True, False])


@BOTH
@pytest.mark.parametrize("spatial", [0, 1])
@pytest.mark.parametrize("temporal", [0, 1, ALL_LAYERS])
def test_layers_above_are_left_out(descriptors: bool, spatial: int, temporal: int) -> None:
    scene = Scene("VP9", descriptors)
    scene.set_target(spatial, temporal)
    assert scene.asked()
    packets = scene.run(40)
    kept = min(temporal, 2)
    assert layers(packets) == {(s, t) for s in range(spatial + 1) for t in range(kept + 1)}
    assert [packet.sequence for packet in packets] == list(range(500, 500 + len(packets)))
    for packet in packets:  # the marker ends a picture, whatever its last layer is now
        assert packet.marker == (packet.payload[0] & 4 != 0 and packet.payload[3] >> 1 & 7 == spatial)
    pictures = [(packet.payload[1] & 0x7F) << 8 | packet.payload[2] for packet in packets]
    assert pictures[0] == (scene.source.picture - 39) & 0x7FFF  # numbers of pictures are what they were


@BOTH
def test_down_at_once_and_up_at_a_keyframe_that_is_asked_for(descriptors: bool) -> None:
    scene = Scene("VP9", descriptors)
    scene.set_target(ALL_LAYERS, ALL_LAYERS)
    assert scene.asked()
    got = scene.run(9)
    scene.set_target(1, ALL_LAYERS)
    assert not scene.asked()
    down = scene.run(1)
    assert max(layers(down))[0] == 1
    scene.bench.now += 1
    scene.set_target(ALL_LAYERS, ALL_LAYERS)
    waiting = scene.run(6)
    assert max(layers(waiting))[0] == 1
    assert scene.asked()
    up = scene.run(4)
    assert max(layers(up))[0] == 2
    packets = got + down + waiting + up
    assert [packet.sequence for packet in packets] == list(range(500, 500 + len(packets)))
    timestamps = [packet.timestamp for packet in packets]
    assert sorted(timestamps) == timestamps
    assert len(set(timestamps)) == 20


@BOTH
def test_frames_come_back_without_a_keyframe(descriptors: bool) -> None:
    scene = Scene("VP9", descriptors)
    scene.set_target(1, 0)
    assert scene.asked()
    scene.run(8)
    scene.set_target(1, ALL_LAYERS)
    packets = scene.run(9)
    assert not scene.asked()
    assert max(layers(packets)) == (1, 2)
    # not before the lowest layer's next picture
    assert [packet.payload[3] >> 5 for packet in packets][:2] == [0, 0]


def test_any_codec_with_descriptors() -> None:
    scene = Scene("AV1", True)
    scene.set_target(0, 1)
    assert scene.asked()
    state = DependencyDescriptorReader()
    found = []
    for packet in scene.run(40):
        descriptor = packet.extensions[DEPENDENCY]
        frame = state.read(descriptor, 0, len(descriptor))
        found.append((frame.spatial, frame.temporal))
        assert packet.marker == frame.descriptor.end
    assert set(found) == {(0, 0), (0, 1)}
    assert scene.encoding.structure


def test_bit_rates_of_all_layers() -> None:
    for descriptors in (True, False):
        scene, rates = Scene("VP9", descriptors), LayerBitrates()
        for _ in range(3):
            scene.run(30)
            scene.bench.tick(0.01)
            rates.measure([scene.track], scene.bench.now)
        found = rates.layers(scene.track, {"": Size(1280, 720)})
        assert [(layer.spatial, layer.temporal) for layer in found] == [
            (s, t) for s in (0, 1, ALL_LAYERS) for t in (0, 1, ALL_LAYERS)
        ]
        assert [(layer.width, layer.height) for layer in found[::3]] == SIZES
        assert [layer.fps for layer in found[:3]] == pytest.approx([7.5, 15, 30], rel=0.2)
        assert [layer.bitrate for layer in found] == sorted(layer.bitrate for layer in found)


@pytest.mark.parametrize(
    "read",
    [
        lambda: DependencyDescriptorLayerParser(b"\x80\0\1").is_switch_point,  # no structure in it
        lambda: DependencyDescriptorLayerParser(b"").size,
    ],
)
def test_a_structure_that_is_none_says_nothing(read: Callable[[], object]) -> None:
    assert callable(read())
    assert DependencyDescriptorLayerParser(b"\x80\0\1").size(0) == (0, 0)


def test_a_template_that_is_not_there_is_passed_on() -> None:
    scene = Scene("AV1", True)
    scene.set_target(0, 0)
    scene.asked()
    scene.run(4)
    scene.source.scalability.layers[:0] = [(9, 9)] * 20  # all template numbers are others now
    assert layer_parser_for(scene.encoding) is not None
    assert scene.run(1)
