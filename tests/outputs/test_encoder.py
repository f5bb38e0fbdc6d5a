"""sfu.outputs.encoder: keyframes, sizes, colours and times, verified with decoders."""

from fractions import Fraction

import av
import numpy as np
import pytest

from sfu.outputs.encoder import (
    AudioEncoder,
    EncodedPacket,
    OpusEncoder,
    Scaler,
    VideoEncoder,
    annex_b,
    nal_units,
    parameter_sets,
)


def moving(number: int, width: int = 640, height: int = 360) -> np.ndarray:
    """A moving gradient, with a scene cut every 17 frames."""
    row = (np.arange(width) + 3 * number + 90 * (number // 17)) % 200 + 20
    canvas = np.empty((height * 3 // 2, width), np.uint8)
    canvas[:height] = row
    canvas[height:] = 128
    return canvas


def encode(encoder: VideoEncoder, numbers: range, **size: int) -> list[EncodedPacket]:
    return [packet for number in numbers for packet in encoder.encode(moving(number, **size), number * 3000)]


def test_renditions_have_keyframes_at_the_same_frames_only() -> None:
    for width, height, rate in ((640, 360, 700_000), (426, 240, 300_000)):
        packets = encode(VideoEncoder(width, height, rate), range(95))
        assert [packet.pts // 3000 for packet in packets] == list(range(95))
        assert [packet.pts // 3000 for packet in packets if packet.keyframe] == [0, 30, 60, 90]
        for packet in packets:
            kinds = [unit[0] & 0x1F for unit in nal_units(packet.data)]
            assert kinds == ([5] if packet.keyframe else [1])
            assert (packet.dts, packet.duration) == (packet.pts, 3000)


def test_a_dropped_tick_moves_a_keyframe_to_the_next_picture() -> None:
    encoder = VideoEncoder(320, 180, 300_000)
    kept = [number for number in range(95) if number not in (30, 31, 45)]
    packets = [packet for number in kept for packet in encoder.encode(moving(number, 320, 180), number * 3000)]
    assert [packet.pts // 3000 for packet in packets if packet.keyframe] == [0, 32, 60, 90]


def test_a_forced_keyframe_does_not_move_the_regular_ones() -> None:
    encoder = VideoEncoder(320, 180, 300_000)
    encode(encoder, range(7), width=320, height=180)
    encoder.force_keyframe()
    packets = encode(encoder, range(7, 40), width=320, height=180)
    assert [packet.pts // 3000 for packet in packets if packet.keyframe] == [7, 30]


@pytest.mark.parametrize("profile", ["high", "main", "baseline"])
def test_avcc_and_annex_b_decode_with_colour_tags(profile: str) -> None:
    encoder = VideoEncoder(640, 360, 1_500_000, profile=profile)
    packets = encode(encoder, range(3))
    sets = parameter_sets(encoder.extradata)
    assert [unit[0] & 0x1F for unit in sets] == [7, 8]
    assert encoder.extradata[0] == 1
    assert encoder.extradata[1] == {"high": 100, "main": 77, "baseline": 66}[profile]
    for data, extradata in (
        ([packet.data for packet in packets], encoder.extradata),
        ([annex_b(packet, encoder.extradata) for packet in packets], None),
    ):
        decoder = av.CodecContext.create("h264", "r")
        decoder.extradata = extradata
        frames = [frame for item in data for frame in decoder.decode(av.Packet(item))] + decoder.decode(None)
        assert len(frames) == 3
        assert (frames[0].width, frames[0].height) == (640, 360)
        assert (frames[0].color_primaries, frames[0].color_trc, frames[0].colorspace) == (6, 6, 6)
        assert int(frames[0].color_range) == 1
        error = np.abs(frames[2].to_ndarray()[:360].astype(int) - moving(2)[:360])
        assert error.mean() < 4


def test_the_bit_rate_is_kept_within_every_second() -> None:
    rng = np.random.default_rng(1)
    noise = rng.integers(16, 235, (270, 320), np.uint8)
    encoder = VideoEncoder(320, 180, 400_000)
    sizes = [
        sum(len(packet.data) for packet in encoder.encode(np.roll(noise, 37 * number), number * 3000))
        for number in range(150)
    ]
    for start in range(60, 120):
        assert sum(sizes[start : start + 30]) * 8 <= 400_000 * 2
    assert 300_000 < sum(sizes[30:]) * 8 / 4 < 480_000


def test_the_canvas_may_change_after_encode() -> None:
    def run(spoil: bool) -> bytes:
        encoder, canvas, found = VideoEncoder(320, 180, 300_000), np.empty((270, 320), np.uint8), b""
        for number in range(5):
            canvas[:] = moving(number, 320, 180)
            found += b"".join(packet.data for packet in encoder.encode(canvas, number * 3000))
            if spoil:
                canvas[:] = 0
        return found

    assert run(True) == run(False)


def test_a_lower_rendition_accepts_the_canvas_or_a_scaled_picture() -> None:
    upper, lower = VideoEncoder(426, 240, 300_000), VideoEncoder(214, 120, 100_000)
    canvas = moving(0)
    scaled = upper.scale(canvas)
    assert (scaled.width, scaled.height) == (426, 240)
    assert upper.encode(scaled, 0)[0].keyframe
    assert lower.encode(scaled, 0)[0].keyframe
    assert lower.encode(moving(1), 3000)[0].pts == 3000
    with pytest.raises(ValueError, match="even"):
        Scaler(427, 240)


def tone(start: int, count: int) -> np.ndarray:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(start, start + count) / 48_000)
    return np.stack([wave, wave], axis=1).astype(np.float32)


def test_aac_has_the_times_of_its_samples() -> None:
    encoder = AudioEncoder()
    packets = [packet for at in range(0, 96_000, 960) for packet in encoder.encode(tone(at, 960), at)]
    packets += encoder.close()
    assert [packet.pts for packet in packets] == list(range(0, 1024 * len(packets), 1024))
    assert all(packet.duration == 1024 and packet.data[:1] != b"\xff" for packet in packets)
    assert encoder.extradata[:2] == b"\x11\x90"  # AAC-LC, 48 kHz, stereo (14496-3 1.6.2.1)
    decoder = av.CodecContext.create("aac", "r")
    decoder.extradata = encoder.extradata
    sound = np.concatenate([f.to_ndarray()[0] for p in packets for f in decoder.decode(av.Packet(p.data))])
    assert np.abs(sound[2048:90_000] - tone(0, 96_000)[2048:90_000, 0]).max() < 0.05


def test_a_gap_becomes_silence_and_a_step_back_raises() -> None:
    encoder = AudioEncoder()
    encoder.encode(tone(0, 960), 0)
    packets = encoder.encode(tone(0, 4096), 4096)
    assert [packet.pts for packet in packets] == [0, 1024, 2048, 3072, 4096, 5120, 6144][: len(packets)]
    with pytest.raises(ValueError, match="follow"):
        encoder.encode(tone(0, 960), 0)


def test_opus_returns_a_packet_per_20_ms_with_input_times() -> None:
    encoder = OpusEncoder()
    packets = [packet for at in range(0, 48_000, 960) for packet in encoder.encode(tone(at, 960), at)]
    assert [packet.pts for packet in packets] == list(range(0, 48_000, 960))
    assert encoder.extradata.startswith(b"OpusHead")
    decoder = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = 48_000, "stereo"
    frames = [frame for packet in packets for frame in decoder.decode(av.Packet(packet.data))]
    assert sum(frame.samples for frame in frames) == 48_000
    assert Fraction(sum(packet.duration for packet in packets), 48_000) == 1
