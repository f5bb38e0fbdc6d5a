"""Tests of layer bitrates: estimates rise quickly, fall slowly, and have a default before the first sample."""

import pytest

from sfu.forwarding.layer_bitrates import DEFAULT_BITS, LayerBitrates
from sfu.forwarding.layer_parser import layer_shares
from sfu.forwarding.layers import Size
from tests.support.wire import Bench, rtp, vp8

DECLARED = {"q": Size(320, 180), "h": Size(640, 360), "f": Size(1280, 720)}


def test_rates_follow_up_quickly_and_down_slowly() -> None:
    bench, rates = Bench(), LayerBitrates()
    track = bench.video()
    low = track.encodings["q"]
    low.ssrc, low.alive = 11, True
    now = 100.0

    def pass_seconds(count: int, rate: float) -> float:
        nonlocal now
        for _ in range(count):
            rates.measure([track], now)
            now += 1.0
            low.bytes += int(rate / 8)
        rates.measure([track], now)
        now += 0.001
        return rates.of(low)

    assert pass_seconds(5, 150e3) == pytest.approx(150e3, rel=0.01)
    assert pass_seconds(5, 300e3) > 0.85 * 300e3
    assert pass_seconds(5, 100e3) > 0.6 * 300e3
    assert pass_seconds(60, 100e3) == pytest.approx(100e3, rel=0.05)
    assert not rates.measure([track], now)


def test_layers_are_what_is_alive_and_rise() -> None:
    bench, rates = Bench(), LayerBitrates()
    track = bench.video()
    for rid, ssrc in (("q", 11), ("f", 13)):
        track.encodings[rid].ssrc, track.encodings[rid].alive = ssrc, True
    layers = rates.layers(track, DECLARED)
    assert [layer.name for layer in layers] == ["q", "f"]
    assert layers[1].bitrate == pytest.approx(1280 * 720 * DEFAULT_BITS)
    assert layers[0].bitrate < layers[1].bitrate


def test_bit_rates_of_temporal_layers_are_measured_while_watched() -> None:
    bench, rates = Bench(), LayerBitrates()
    track = bench.video(("q",))
    sizes, number = {0: 400, 1: 200, 2: 100}, 0

    def second(fps: int = 32, *, key: bool = False) -> None:
        nonlocal number
        for step in range(fps):
            temporal = (0, 2, 1, 2)[step % 4]
            number += 1
            packet = vp8(
                picture=number, tl0=number // 4 & 0xFF, temporal=temporal, size=sizes[temporal], key=key and not step
            )
            bench.send(
                rtp(packet, ssrc=11, sequence=number, timestamp=number * 90_000 // fps, extensions={4: b"1", 10: b"q"})
            )
        bench.tick(1.0)
        rates.measure([track], bench.now)

    for _ in range(3):
        second()
    assert len(rates.layers(track, DECLARED)) == 1
    bench.down_track(track, bench.peer(bench.uplink))
    second(key=True)
    layers = rates.layers(track, DECLARED)
    assert [layer.temporal for layer in layers] == [0, 1, 127]
    assert [layer.fps for layer in layers] == pytest.approx([8, 16, 32], rel=0.1)
    total = layers[-1].bitrate
    assert [layer.bitrate / total for layer in layers] == pytest.approx([0.47, 0.72, 1.0], abs=0.03)
    second(4)  # hardly anything moves: what is known is kept
    assert len(rates.layers(track, DECLARED)) == 3


@pytest.mark.parametrize("count", range(12, 30))
def test_frames_a_second_of_layers_are_right_from_the_first_pictures_on(count: int) -> None:
    bench = Bench()
    track = bench.video(("q",))
    for number in range(1, count + 1):
        packet = vp8(picture=number, tl0=number // 4, temporal=(0, 2, 1, 2)[number % 4], size=100)
        bench.send(rtp(packet, ssrc=11, sequence=number, timestamp=number * 4500, extensions={4: b"1", 10: b"q"}))
    found = layer_shares(track.encodings["q"])
    assert found is not None
    assert [share.fps for share in found] == pytest.approx([5, 10, 20])


@pytest.mark.parametrize(
    ("codec", "payload"), [("VP8", b"\x90\x80\x80\1\x11\0\0" + bytes(99)), ("H264", b"\x41" + bytes(99))]
)
def test_streams_without_layer_information_have_one_layer(codec: str, payload: bytes) -> None:
    bench, rates = Bench(), LayerBitrates()
    track = bench.video(("q",), codec=codec)
    bench.down_track(track, bench.peer(bench.uplink))
    for number in range(64):
        bench.send(rtp(payload, ssrc=11, sequence=number, timestamp=number * 3000, extensions={4: b"1", 10: b"q"}))
    bench.tick(1.0)
    for _ in range(3):
        rates.measure([track], bench.now)
        bench.now += 1
    assert len(rates.layers(track, DECLARED)) <= 1
    assert layer_shares(track.encodings["q"]) == ()
