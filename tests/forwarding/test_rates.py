"""What an encoding costs, measured: quickly up, slowly down, guessed before."""

import pytest

from sfu.forwarding.rates import GUESS, Rates
from sfu.forwarding.selector import Size
from tests.support.wire import Bench

DECLARED = {"q": Size(320, 180), "h": Size(640, 360), "f": Size(1280, 720)}


def test_rates_follow_up_quickly_and_down_slowly() -> None:
    bench, rates = Bench(), Rates()
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
    bench, rates = Bench(), Rates()
    track = bench.video()
    for rid, ssrc in (("q", 11), ("f", 13)):
        track.encodings[rid].ssrc, track.encodings[rid].alive = ssrc, True
    layers = rates.layers(track, DECLARED)
    assert [layer.name for layer in layers] == ["q", "f"]
    assert layers[1].bitrate == pytest.approx(1280 * 720 * GUESS)
    assert layers[0].bitrate < layers[1].bitrate
