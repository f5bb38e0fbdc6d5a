"""The sound clock in virtual time, with a real mixer and a real plug-in."""

import threading

import numpy as np
import pytest

from sfu.egress.audio_loop import BLOCK_SECONDS, AudioLoop
from sfu.mixer.audio_mixer import LATENCY, MARGIN, RATE, TICK, AudioMixer
from sfu.mixer.audio_source import Sound
from sfu.mixer.plugins import MIX, Plugin, PluginHost, PluginInputs


class VirtualLoop:
    """Runs an AudioLoop for `count` blocks."""

    def __init__(self, mixer: AudioMixer, count: int, plugins: PluginHost | None = None) -> None:
        self.now = 99.0
        self.count = count
        self.blocks: list[tuple[Sound, int]] = []
        self.times: list[float] = []
        self.loop = AudioLoop(mixer, 100.0, self.output, plugins, now=lambda: self.now, sleep=self.sleep)
        self.loop.run()

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds

    def output(self, samples: Sound, pts: int) -> None:
        self.blocks.append((samples, pts))
        self.times.append(self.now)
        if len(self.blocks) == self.count:
            self.loop.stop()


def test_blocks_are_even_and_continuous() -> None:
    virtual = VirtualLoop(AudioMixer(), 5)
    assert virtual.times == pytest.approx([100 + (number + 1) * BLOCK_SECONDS + MARGIN for number in range(5)])
    assert virtual.loop.blocks == 5
    position = 0
    for samples, pts in virtual.blocks:
        assert pts == position
        position += len(samples)
    assert position == 5 * TICK - LATENCY, "the limiter's look-ahead is cut off at the beginning"


def test_a_tone_starts_at_its_time() -> None:
    mixer = AudioMixer()
    tone = np.full((TICK * 2, 2), 0.25, np.float32)
    mixer.say("voice", tone)
    virtual = VirtualLoop(mixer, 4)
    sound = np.concatenate([samples for samples, _ in virtual.blocks])[:, 0]
    assert sound[RATE // 100] == pytest.approx(0.25, abs=0.01)
    assert abs(sound[2 * TICK + 1 :]).max() < 0.01


class Listener(Plugin):
    """Records the sounds that it is offered. `all` is set after the third."""

    inputs = PluginInputs(mix_sound=True)

    def __init__(self) -> None:
        self.heard: list[tuple[str, float]] = []
        self.all = threading.Event()

    def sound(self, source: str, sound: Sound, at: float) -> None:
        self.heard.append((source, at))
        if len(self.heard) == 3:
            self.all.set()


def test_plugins_get_the_mix_with_its_mix_time() -> None:
    listener = Listener()
    mixer = AudioMixer()
    plugins = PluginHost({"listener": listener}, mixer.say)
    VirtualLoop(mixer, 3, plugins)
    assert listener.all.wait(10)
    plugins.close()
    assert [source for source, _ in listener.heard] == [MIX] * 3
    assert [at for _, at in listener.heard] == pytest.approx([0.0, 0.02, 0.04])
