"""A long mix in simulated time with 2 % loss, jitter and a wrong sender clock, from RTP to the MP4.

Playback must be as long as wall-clock time, with lip sync to the end. All code is the worker's except its two clocks
and its threads, which a loop replaces. `make soak` simulates an hour.
"""

import asyncio
import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from sfu.egress.inputs import Inputs
from sfu.egress.protocol import Member, Track
from sfu.egress.rtp_receiver import RtpReceiver
from sfu.mixer.audio_mixer import LATENCY, MARGIN, RATE, TICK, AudioMixer
from sfu.mixer.compositor import Compositor
from sfu.mixer.decoding import DecoderPool
from sfu.mixer.layout import Layout, arrange
from sfu.outputs.encoder import VIDEO_RATE, AudioEncoder, OpusEncoder, VideoEncoder
from sfu.outputs.finalize import finalize
from sfu.outputs.fmp4 import AudioTrack, VideoTrack, init_segment
from sfu.outputs.recorder import Recorder
from sfu.outputs.segmenter import Segmenter
from sfu.rtp import rtcp
from sfu.transport.plain_transport import pair
from tests.support.packetize import encode, payloads
from tests.support.wire import rtp

SECONDS = float(os.environ.get("MIX_SECONDS", "24"))
FPS = 10
WIDTH, HEIGHT = 128, 72
CYCLE = 0.5
"""From one clap to the next, by the sender's clock; a flash and a tone of 0.1 s each."""
LOSS = 0.02
JITTER = 0.012
DRIFT = 120e-6
"""Relative speed of the sender's clocks: they gain 0.43 s per hour."""
NTP = 3_900_000_000.0
PICTURE, SOUND = 11, 12


class Sender:
    """Packets in order of arrival: (time, packet)."""

    def __init__(self) -> None:
        self._dice = random.Random(3)
        dark = np.concatenate([np.full(WIDTH * HEIGHT, 40, np.uint8), np.full(WIDTH * HEIGHT // 2, 128, np.uint8)])
        light = dark.copy()
        light[: WIDTH * HEIGHT] = 235
        shape = (HEIGHT * 3 // 2, WIDTH)
        count = round(CYCLE * FPS)
        pictures = [(light if not number else dark).reshape(shape) for number in range(count)]
        self._pictures = [payloads("VP8", unit) for unit in encode("VP8", pictures, gop=count)]
        tone = 0.25 * np.sin(2 * np.pi * 1000 / RATE * np.arange(RATE // 10))
        wave = np.zeros(round(CYCLE * RATE), np.float32)
        wave[: len(tone)] = tone
        wave = np.tile(wave, 3)
        found = OpusEncoder(32_000).encode(np.stack([wave, wave], axis=1), 0)
        self._sounds = [packet.data for packet in found][25:50]

    def packets(self, seconds: float) -> Iterator[tuple[float, bytes]]:
        waiting: list[tuple[float, int, bytes]] = []
        sequence, order = [0, 0], 0

        def send(at: float, packet: bytes, ssrc: int) -> None:
            nonlocal order
            if ssrc and self._dice.random() < LOSS:
                return
            order += 1
            waiting.append((at / (1 + DRIFT) + 0.03 + self._dice.uniform(0, JITTER), order, packet))

        for step in range(round(seconds * 50 * (1 + DRIFT))):
            at = step * 0.02  # by the sender's clock
            data = self._sounds[step % len(self._sounds)]
            send(at, rtp(data, ssrc=SOUND, sequence=sequence[0] & 0xFFFF, timestamp=step * TICK & 0xFFFFFFFF), SOUND)
            sequence[0] += 1
            if step % (50 // FPS) == 0:
                number = step // (50 // FPS)
                parts = self._pictures[number % len(self._pictures)]
                for index, part in enumerate(parts):
                    timestamp = number * VIDEO_RATE // FPS & 0xFFFFFFFF
                    marker = index == len(parts) - 1
                    packet = rtp(part, ssrc=PICTURE, sequence=sequence[1] & 0xFFFF, timestamp=timestamp, marker=marker)
                    send(at, packet, PICTURE)
                    sequence[1] += 1
            if step % 250 == 50:
                for ssrc, rate in ((PICTURE, VIDEO_RATE), (SOUND, RATE)):
                    ntp = int((NTP + at) * (1 << 32))
                    report = rtcp.SenderReport(ssrc, ntp, round(at * rate) & 0xFFFFFFFF, step, step)
                    send(at, rtcp.encode_sender_report(report), 0)
            waiting.sort()
            while waiting and waiting[0][0] <= at / (1 + DRIFT):
                arrival, _, packet = waiting.pop(0)
                yield arrival, packet


class Now:
    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def produce(directory: Path, seconds: float) -> None:
    """Runs the steps of the worker in order of simulated time."""
    now = Now()
    server, theirs = pair()
    rtp_receiver, sound = RtpReceiver(theirs), AudioMixer()
    decoders = DecoderPool(1, now=now)
    inputs = Inputs(
        rtp_receiver, sound, lambda track, clock: decoders.open(track.codec, clock), lambda kind, text: None
    )
    camera = Track(id="camera", ssrc=PICTURE, kind="video", codec="VP8", source="camera")
    microphone = Track(id="microphone", ssrc=SOUND, kind="audio", codec="opus", source="microphone")
    inputs.apply([Member(id="a", identity="a", name="", tracks=[camera, microphone])])
    inputs.set_visible_tracks({"camera"})
    scene = arrange(Layout.SINGLE, inputs.members, WIDTH, HEIGHT, stage="a")
    (tile,) = scene.tiles
    source = inputs.sources["camera"]
    source.show(tile.area.width, tile.area.height, tile.fit)
    compositor, video, audio = Compositor(WIDTH, HEIGHT), VideoEncoder(WIDTH, HEIGHT, 100_000, FPS, FPS), AudioEncoder()
    segmenter, recorder = Segmenter("72p"), Recorder(directory, now=now)
    recorder.begin(init_segment(VideoTrack(WIDTH, HEIGHT, video.extradata), AudioTrack(audio.extradata)), 0.0)
    arriving = Sender().packets(seconds + 1)
    arrival, packet = next(arriving)
    ticks = sounds = 0
    while ticks < round(seconds * FPS):
        tick_at, sound_at = 1 + ticks / FPS, 1 + (sounds + 1) * TICK / RATE + MARGIN
        due = min(tick_at, sound_at)
        while arrival <= due:
            now.at = arrival
            server.send(struct.pack("!H", len(packet)) + packet)
            assert rtp_receiver.readable(arrival)
            decoders.wait_idle()  # otherwise a decoder thread on a busy machine would be late on the simulated clock
            arrival, packet = next(arriving, (float("inf"), b""))
        now.at = due
        if sound_at <= tick_at:
            samples, pts = sound.tick(1 + sounds * TICK / RATE), sounds * TICK - LATENCY
            segmenter.receive_audio(audio.encode(samples[max(0, -pts) :], max(0, pts)))
            sounds += 1
        else:
            rtp_receiver.handle_timer(due)
            decoders.wait_idle()
            canvas = compositor.composite(scene, {"camera": source.picture_at(due)})
            pts = ticks * VIDEO_RATE // FPS
            for part in segmenter.receive_video(video.encode(canvas, pts)):
                recorder.add(part.data, part.pts, independent=part.independent, duration=part.duration)
            ticks += 1
    assert recorder.snapshot().dropped == 0
    recorder.close()
    decoders.close()
    for sock in (server, theirs):
        sock.close()


def onsets(path: Path) -> tuple[list[float], list[float], float, float]:
    """Start times of flashes and tones, in seconds, and the ends of video and sound."""
    flashes: list[float] = []
    dark, end = False, 0.0
    with av.open(str(path)) as source:
        for frame in source.decode(video=0):
            light = bool(frame.to_ndarray(format="gray").mean() > 150)
            end = float(frame.time or 0.0) + 1 / FPS
            if light and dark:
                flashes.append(float(frame.time or 0.0))
            dark = not light
    tones: list[float] = []
    quiet, heard = 0.0, 0.0
    with av.open(str(path)) as source:
        for block in source.decode(audio=0):
            at = float(block.time or 0.0)
            (loud,) = np.nonzero(np.abs(block.to_ndarray()[0]) > 0.08)
            if len(loud):
                if at + loud[0] / RATE - quiet > 0.15:
                    tones.append(at + loud[0] / RATE)
                quiet = at + loud[-1] / RATE
            heard = at + block.samples / RATE
    return flashes, tones, end, heard


def phase(times: list[float]) -> np.ndarray:
    """Delay of each time within the sender's cycle, whose clock is fast."""
    cycle = CYCLE / (1 + DRIFT)
    late = (np.array(times) + 1) % cycle
    return np.where(late > cycle / 2, late - cycle, late)


async def test_playback_has_wall_clock_length_and_lip_sync_to_the_end(tmp_path: Path) -> None:
    await asyncio.to_thread(produce, tmp_path / "mix", SECONDS)
    done = finalize(tmp_path / "mix")
    assert done is not None
    flashes, tones, end, heard = await asyncio.to_thread(onsets, tmp_path / "mix" / "recording.mp4")
    assert end == pytest.approx(SECONDS, abs=0.040)
    # Sound that arrived after the last picture is not part of the file.
    assert SECONDS - 0.1 - 1 / FPS - 0.05 < heard < SECONDS + 0.040
    assert min(len(flashes), len(tones)) > 0.85 * SECONDS / CYCLE
    shown, spoken = phase(flashes), phase(tones)
    fifth = max(20, len(spoken) // 5)
    for part in (slice(None, fifth), slice(-fifth, None)):
        assert abs(float(np.median(spoken[part]) - np.median(shown[part]))) < 0.040 + 0.5 / FPS
    # The last delays equal the first ones: the mix contains none of the sender's drift.
    assert float(np.median(spoken[-fifth:])) == pytest.approx(float(np.median(spoken[:fifth])), abs=0.040)
    assert float(np.percentile(np.abs(spoken - np.median(spoken)), 95)) < 0.040
