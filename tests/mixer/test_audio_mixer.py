"""sfu.mixer.audio_mixer and audio_source. Voices are sines: a step larger than that of the sine is a click."""

from collections.abc import Iterable

import av
import numpy as np
import pytest

from sfu.mixer.audio_mixer import LATENCY, MARGIN, AudioMixer
from sfu.mixer.audio_source import duration
from sfu.mixer.playout_sync import PlayoutSync
from sfu.outputs.encoder import OpusEncoder
from sfu.rtp.frames import CodedFrame

PITCH = 300.0
CLICK = 2.0
"""Multiples of the largest step of the sine itself."""


class FixedClock:
    """Timestamp 0 is due at `shift`; the clock runs at `speed` times the nominal rate."""

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift

    def due(self, timestamp: int) -> float | None:
        return timestamp / 48_000 + self.shift


def packets(seconds: float, amplitude: float | np.ndarray = 0.25, pitch: float = PITCH) -> list[bytes]:
    count = round(seconds * 48_000)
    wave = amplitude * np.sin(2 * np.pi * pitch * np.arange(count) / 48_000)
    encoder = OpusEncoder(64_000)
    return [packet.data for packet in encoder.encode(np.stack([wave, wave], axis=1).astype(np.float32), 0)]


VOICE = packets(6)


def coded(data: bytes, timestamp: int) -> CodedFrame:
    return CodedFrame(data, timestamp, True, 0.0, 0)


def play(
    mix: AudioMixer,
    ticks: int,
    voice: list[bytes],
    *,
    lost: Iterable[int] = (),
    first: int = 0,
    ahead: int = 2,
    source: str = "a",
) -> np.ndarray:
    """Packet n arrives two ticks before it is due."""
    missing, out = set(lost), []
    for tick in range(first, first + ticks):
        number = tick + ahead
        if number < len(voice) and number not in missing:
            mix.receive(source, coded(voice[number], number * 960))
        out.append(mix.tick(tick * 0.02))
    return np.concatenate(out)[:, 0]


def largest_step(sound: np.ndarray, amplitude: float = 0.25, pitch: float = PITCH) -> float:
    return float(np.abs(np.diff(sound)).max() / (amplitude * 2 * np.pi * pitch / 48_000))


@pytest.fixture
def mix() -> AudioMixer:
    mix = AudioMixer()
    mix.open("a", FixedClock())
    return mix


def test_a_voice_is_played_unchanged_and_on_time(mix: AudioMixer) -> None:
    sound = play(mix, 150, VOICE)
    decoder = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = 48_000, "stereo"
    frames = [frame for data in VOICE[2:150] for frame in decoder.decode(av.Packet(data))]
    plain = np.concatenate([frame.to_ndarray().reshape(-1, 2)[:, 0] for frame in frames]) / 32768
    assert np.abs(sound[1920 + LATENCY + 240 :] - plain[240 : len(sound) - 1920 - LATENCY]).max() < 1e-4
    assert largest_step(sound) < CLICK
    assert mix.counters("a") is not None
    assert mix.counters("nobody") is None


@pytest.mark.parametrize("louder", [0, 1])
def test_two_channels_stay_apart(mix: AudioMixer, louder: int) -> None:
    wave = 0.25 * np.sin(2 * np.pi * PITCH * np.arange(96_000) / 48_000)
    channels = [wave * 0, wave * 0]
    channels[louder] = wave
    encoder = OpusEncoder(96_000)
    voice = [packet.data for packet in encoder.encode(np.stack(channels, axis=1).astype(np.float32), 0)]
    out = []
    for tick in range(90):
        mix.receive("a", coded(voice[tick + 2], (tick + 2) * 960))
        out.append(mix.tick(tick * 0.02))
    loudness = np.sqrt(np.mean(np.concatenate(out)[-48_000:] ** 2, axis=0))
    assert loudness[louder] > 0.15
    assert loudness[1 - louder] < loudness[louder] / 30


def test_joins_and_leaves_do_not_click(mix: AudioMixer) -> None:
    parts = [play(mix, 33, VOICE[5:])]
    mix.open("b", FixedClock())
    parts.append(play(mix, 33, packets(3, 0.2, 500), source="b", first=33))
    mix.close("b")
    mix.close("a")
    mix.close("a")
    parts.append(np.concatenate([mix.tick((66 + tick) * 0.02) for tick in range(5)])[:, 0])
    sound = np.concatenate(parts)
    assert np.abs(np.diff(sound)).max() < CLICK * (0.25 * PITCH + 0.2 * 500) * 2 * np.pi / 48_000
    assert not sound[-960:].any()
    assert np.abs(sound).max() > 0.2


@pytest.mark.parametrize("lost", [[40], [40, 41], [40, 41, 42, 60, 62], list(range(40, 60))])
def test_losses_are_concealed_without_a_click(mix: AudioMixer, lost: list[int]) -> None:
    sound = play(mix, 120, VOICE, lost=lost)
    assert largest_step(sound) < CLICK
    counters = mix.counters("a")
    assert counters is not None
    assert counters.lost == {1: 1, 2: 1, 5: 3, 20: 0}[len(lost)]
    if len(lost) == 1:
        hole = sound[40 * 960 + LATENCY : 41 * 960 + LATENCY]
        assert np.abs(hole).max() > 0.15  # the decoder continues the tone


def test_two_percent_of_loss_for_a_while(mix: AudioMixer) -> None:
    lost = [number for number in range(280) if np.random.default_rng(number).random() < 0.02]
    assert largest_step(play(mix, 280, VOICE, lost=lost)) < CLICK


def test_dtx_does_not_count_as_loss_and_does_not_click(mix: AudioMixer) -> None:
    """A second without packets, then one packet every 400 ms, then voice again."""
    envelope = np.interp(np.arange(200 * 960), np.array([0, 49, 50, 149, 150, 200]) * 960, [1, 1, 0, 0, 1, 1])
    voice = packets(4, 0.25 * envelope)
    kept = {number for number in range(50, 150) if number % 20 == 0 or number < 60}
    sound = play(mix, 190, voice, lost=[number for number in range(50, 150) if number not in kept])
    assert largest_step(sound) < CLICK
    assert np.abs(sound[60 * 960 : 140 * 960]).max() < 0.02
    counters = mix.counters("a")
    assert counters is not None
    assert counters.lost == 0


def test_a_source_sleeps_without_packets_and_wakes_in_the_middle_of_a_packet() -> None:
    mix = AudioMixer()
    clock = FixedClock(0.007)
    mix.open("a", clock)
    lost = range(30, 130)
    sound = play(mix, 200, VOICE, lost=lost)
    assert largest_step(sound) < CLICK
    assert not sound[90 * 960 : 125 * 960].any()
    assert np.abs(sound[140 * 960 :]).max() > 0.2


@pytest.mark.parametrize("ppm", [200, -200, 1000])
def test_drift_is_corrected_sample_by_sample(ppm: int) -> None:
    """The sender's clock is `ppm` fast, so its timestamps are due earlier and earlier."""
    mix, clock = AudioMixer(), FixedClock()
    mix.open("a", clock)
    out, sent = [], 0
    voice = VOICE[50:250]
    for tick in range(1500):
        now = tick * 0.02
        clock.shift = -now * ppm * 1e-6
        while sent * 960 / 48_000 + clock.shift <= now + 0.05:
            mix.receive("a", coded(voice[sent % 200], sent * 960))
            sent += 1
        out.append(mix.tick(now))
    counters = mix.counters("a")
    assert counters is not None
    assert counters.corrected == pytest.approx(ppm * 1e-6 * 30 * 48_000, abs=200)
    assert (counters.late, counters.lost) == (0, 0)
    sound = np.concatenate(out)[:, 0]
    assert largest_step(sound[960 * 3 :]) < CLICK


@pytest.mark.parametrize("jump", [0.06, 0.15, -0.15, -0.3, 5.0, -5.0])
def test_a_jump_of_the_playout_time_does_not_click(jump: float) -> None:
    mix, clock = AudioMixer(), FixedClock()
    mix.open("a", clock)
    out, sent = [], 0
    for tick in range(250):
        now = tick * 0.02
        if tick == 60:
            clock.shift += jump
        if tick > 60 and abs(jump) > 1:  # the timestamps restarted at another offset
            sent = max(sent, round((now + 0.04 - clock.shift) * 50)) if jump < 0 else 60 + tick
            if jump > 0:
                mix.receive("a", coded(VOICE[50 + sent % 200], round((now + 0.04 - clock.shift) * 50) * 960))
        while jump <= 1 and sent < 300 and sent * 0.02 + clock.shift <= now + 0.045:
            mix.receive("a", coded(VOICE[sent], sent * 960))
            sent += 1
        out.append(mix.tick(now))
    assert largest_step(np.concatenate(out)[:, 0]) < CLICK


def test_late_playout_catches_up_in_a_pause() -> None:
    """The path becomes 50 ms faster during speech; the next pause is shortened by as much."""
    mix, clock = AudioMixer(), FixedClock(0.05)
    mix.open("a", clock)
    envelope = np.interp(np.arange(200 * 960), np.array([0, 59, 60, 99, 100, 200]) * 960, [1, 1, 0, 0, 1, 1])
    voice = packets(4, 0.25 * envelope)
    out, sent = [], 0
    for tick in range(150):
        clock.shift = 0.05 if tick < 40 else 0.0
        while sent * 0.02 + clock.shift <= tick * 0.02 + 0.045:
            mix.receive("a", coded(voice[sent], sent * 960))
            sent += 1
        out.append(mix.tick(tick * 0.02))
    sound = np.concatenate(out)[:, 0]
    assert largest_step(sound) < CLICK
    (loud,) = np.nonzero(np.abs(sound[70 * 960 :]) > 0.05)
    heard = (loud[0] / 960 + 70 - 100) * 20
    assert abs(heard) < 20  # without the pause, this would take almost three seconds of speech


def test_muting_and_unmuting_fade(mix: AudioMixer) -> None:
    parts = [play(mix, 40, VOICE)]
    mix.set_muted("a", True)
    parts.append(play(mix, 40, VOICE, first=40))
    mix.set_muted("a", False)
    parts.append(play(mix, 40, VOICE, first=80))
    assert largest_step(np.concatenate(parts)) < CLICK
    assert not parts[1][960 * 2 :].any()
    assert np.abs(parts[2]).max() > 0.2


def test_late_packets_are_counted_and_malformed_ones_ignored(mix: AudioMixer) -> None:
    play(mix, 50, VOICE)
    mix.receive("a", coded(VOICE[20], 20 * 960))
    for data in (b"", b"\xff", b"\x03", bytes([0x1B, 63]) + bytes(40)):
        mix.receive("a", coded(data, 60 * 960))
    for number in range(200):
        mix.receive("a", coded(b"\xfc" + bytes([number]) * 50, (60 + number) * 960))
    mix.receive("nobody", coded(VOICE[0], 0))
    for tick in range(50, 150):
        assert np.isfinite(mix.tick(tick * 0.02)).all()
    counters = mix.counters("a")
    assert counters is not None
    assert counters.late >= 1


@pytest.mark.parametrize(
    ("head", "samples"),
    [
        (b"", 0),
        (b"\xf8", 960),
        (b"\xf9", 1920),
        (b"\x18", 2880),
        (b"\x08", 960),
        (b"\x60", 480),
        (b"\xe0", 120),
        (b"\xfb\x03", 2880),
        (b"\xfb\x3f", 0),
        (b"\xfb", 0),
    ],
)
def test_duration(head: bytes, samples: int) -> None:
    assert duration(head) == samples


def test_a_plug_ins_voice_is_mixed_and_fades_out(mix: AudioMixer) -> None:
    wave = 0.25 * np.sin(2 * np.pi * PITCH * np.arange(4_800) / 48_000 + 1)
    mix.say("bot", np.stack([wave, wave], axis=1).astype(np.float32))
    sound = np.concatenate([mix.tick(tick * 0.02) for tick in range(10)])[:, 0]
    assert np.abs(sound[LATENCY + 240 : LATENCY + 4_500] - wave[240:4_500]).max() < 1e-5
    assert largest_step(sound) < CLICK
    assert not sound[LATENCY + 4_800 :].any()
    for _ in range(100):
        mix.say("bot", np.ones((960, 2), np.float32))
    mix.close("bot")
    assert not mix.tick(0.3)[LATENCY:].any()


def test_on_source_may_modify_the_samples(mix: AudioMixer) -> None:
    heard: list[str] = []

    def silence(source: str, sound: np.ndarray) -> None:
        heard.append(source)
        sound *= 0

    mix.on_source = silence
    assert not play(mix, 20, VOICE).any()
    assert set(heard) == {"a"}


@pytest.mark.parametrize("silent", [0, 1], ids=["right only", "left only"])
@pytest.mark.parametrize("jump", [0.0, 0.15], ids=["even", "behind a jump"])
def test_left_and_right_stay_apart(silent: int, jump: float) -> None:
    """A stereo source keeps its channels apart through decoding, resampling, a crossfade and the limiter."""
    wave = 0.6 * np.sin(2 * np.pi * PITCH * np.arange(48_000 * 3) / 48_000).astype(np.float32)
    both = np.stack([wave, wave], axis=1)
    both[:, silent] = 0.0
    stereo = [packet.data for packet in OpusEncoder(128_000).encode(both, 0)]
    mix, clock, out = AudioMixer(), FixedClock(), []
    mix.open("a", clock)
    for tick in range(140):
        clock.shift = -tick * 0.02 * 400e-6 - (jump if tick > 70 else 0.0)  # drift: samples are removed
        for number in (tick, tick + 8) if tick == 71 and jump else (tick + (8 if tick > 71 and jump else 0),):
            if number < len(stereo):
                mix.receive("a", coded(stereo[number], number * 960))
        out.append(mix.tick(tick * 0.02))
    sound = np.concatenate(out)[4_800:]
    loud, quiet = np.abs(sound[:, 1 - silent]), np.abs(sound[:, silent])
    assert loud.max() > 0.5
    assert quiet.max() < 0.02 * loud.max()


def test_a_mono_and_a_stereo_source_are_mixed_side_by_side(mix: AudioMixer) -> None:
    left = np.zeros((48_000, 2), np.float32)
    left[:, 0] = 0.4 * np.sin(2 * np.pi * 1000 * np.arange(48_000) / 48_000)
    screen = [packet.data for packet in OpusEncoder(128_000).encode(left, 0)]
    mix.open("screen", FixedClock())
    out = []
    for tick in range(45):
        mix.receive("a", coded(VOICE[tick], tick * 960))
        mix.receive("screen", coded(screen[tick], tick * 960))
        out.append(mix.tick(tick * 0.02))
    spectrum = np.abs(np.fft.rfft(np.concatenate(out)[9_600 : 9_600 + 24_000], axis=0))
    voice, tone = round(PITCH / 2), 500
    assert spectrum[voice, 0] == pytest.approx(spectrum[voice, 1], rel=0.05)
    assert spectrum[tone, 0] > 50 * spectrum[tone, 1]


def test_sixteen_loud_voices_stay_below_full_scale() -> None:
    mix = AudioMixer()
    for number in range(16):
        mix.open(str(number), FixedClock())
    out = []
    for tick in range(60):
        for number in range(16):
            mix.receive(str(number), coded(VOICE[tick], tick * 960))
        out.append(mix.tick(tick * 0.02))
    sound = np.concatenate(out)[:, 0]
    assert 0.5 < np.abs(sound).max() < 0.9
    assert largest_step(sound, 0.9) < CLICK


@pytest.mark.parametrize(("jitter", "loss"), [(0.0, 0.0), (0.005, 0.0), (0.025, 0.02)])
def test_with_playout_sync_over_a_path_with_jitter(jitter: float, loss: float) -> None:
    """One minute: late and lost packets stay rare, nothing clicks, and the playout delay stays low."""
    rng = np.random.default_rng(3)
    mix, timeline = AudioMixer(), PlayoutSync()
    clock = timeline.open(48_000, leads=True)
    mix.open("a", clock)
    arrivals = sorted(
        (number * 0.02 + 0.03 + (rng.exponential(jitter) if jitter else 0.0), number)
        for number in range(3000)
        if rng.random() >= loss
    )
    out, delays = [], []
    for tick in range(2990):
        start = tick * 0.02 + 0.011
        while arrivals and arrivals[0][0] <= start + 0.02 + MARGIN:
            at, number = arrivals.pop(0)
            frame = coded(VOICE[50 + number % 200], number * 960)
            clock.receive_frame(frame.timestamp, at)
            mix.receive("a", frame)
            delays.append((clock.due(number * 960) or 0) - number * 0.02)
        out.append(mix.tick(start))
    counters = mix.counters("a")
    assert counters is not None
    assert counters.lost + counters.late <= 3000 * (loss + (0.04 if jitter else 0))
    assert largest_step(np.concatenate(out)[:, 0]) < CLICK
    assert np.mean(delays) < 0.03 + 0.025 + 3.2 * jitter
