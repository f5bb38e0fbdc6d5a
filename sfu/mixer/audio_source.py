"""Jitter buffer and decoder of one Opus stream: turns late, duplicate and lost packets into an even stream of samples.

Packets are held by timestamp until they are due. The decoder conceals a missing packet (libopus does so for a packet
that consists of the TOC byte alone): concealment fades out, and plays comfort noise during DTX. After half a second
without packets the source goes to sleep. A deviation from the due time is corrected by one to four samples per 20 ms
with cubic interpolation; ticks without a correction are copied. RFC 6716 3.1 (TOC), RFC 7587 (timestamps at 48 kHz).
"""

from typing import Final, Protocol

import av
import numpy as np
from numpy.typing import NDArray

Sound = NDArray[np.float32]

RATE: Final = 48_000
TICK: Final = 960
FADE: Final = 240
"""Samples of a fade in or out: 5 ms."""
PACKET_LIMIT: Final = 64
"""Packets buffered at most; more than one second of the packets that browsers send."""
_CONCEAL_LIMIT: Final = RATE // 2
"""Samples of concealment in a row after which the source goes to sleep."""
_LOSS_LIMIT: Final = 5 * TICK
"""Samples. A gap up to this length counts as loss; a longer one is silence that was not sent."""
_EARLY_STEP: Final = RATE // 40
"""Samples. Playout that is early by more than this (25 ms) is corrected at once with concealed frames."""
_LATE_STEP: Final = 60 * RATE // 1000
"""Samples. Playout that is late by more than this is corrected at once: video does not wait for gradual correction."""
_LATE_QUIET: Final = RATE // 100
"""Samples. Playout that is late by more than this is corrected at once if the signal is quiet."""
_QUIET: Final = 0.003
"""Amplitude (−50 dB) below which skipping 20 ms is inaudible."""
_RESTART: Final = 2 * RATE
"""Samples. A stream further than this from its due time has restarted."""
_TOLERANCE: Final = 240
"""Samples. A timestamp this close to the expected one counts as contiguous."""
_START_CORRECTING: Final = 72
_STOP_CORRECTING: Final = 8
"""Deviations in samples at which gradual correction starts and stops."""
_MAX_CORRECTION: Final = 4
"""Samples per tick: 0.42 %."""
_SIZES: Final = (480, 960, 1920, 2880), (480, 960), (120, 240, 480, 960)
_RAMP: Final = ((np.arange(FADE, dtype=np.float32) + 0.5) / FADE)[:, None]


class Clock(Protocol):
    """The part of `sfu.mixer.playout_sync.TrackClock` that an audio source needs."""

    def due(self, timestamp: int) -> float | None: ...


def duration(packet: bytes) -> int:
    """Samples at 48 kHz that an Opus packet decodes to; 0 if its header is invalid."""
    if not packet:
        return 0
    count = packet[0] & 3
    if count == 3 and len(packet) < 2:
        return 0
    frames = 1 if count == 0 else 2 if count < 3 else packet[1] & 0x3F
    samples = frames * _frame_size(packet[0])
    return samples if samples <= 5760 else 0


def _frame_size(toc: int) -> int:
    config = toc >> 3
    mode = 0 if config < 12 else 1 if config < 16 else 2
    return _SIZES[mode][config & (1 if mode == 1 else 3)]


class AudioSource:
    """Decodes and plays one Opus stream. `receive` and `render` are called under the mixer's lock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.late = 0
        "Packets that arrived after their playout time."
        self.lost = 0
        "Gaps that were concealed."
        self.corrected = 0
        "Samples removed (negative: inserted) to follow the sender's clock."
        self.gain = 1.0
        self._gain_now = 1.0
        self._packets: dict[int, bytes] = {}
        self._decoder: av.AudioCodecContext | None = None
        self._ready: Sound = np.zeros((0, 2), np.float32)
        self._end = 0  # timestamp after the last sample of `_ready`
        self._before: Sound = np.zeros((1, 2), np.float32)  # the last sample played
        self._toc = 0xF8
        self._concealed = 0
        self._asleep = True
        self._waking = False
        self._correcting = False

    @property
    def asleep(self) -> bool:
        return self._asleep and self._gain_now == self.gain and not self._packets

    def receive(self, data: bytes, timestamp: int) -> None:
        """Buffers one packet; drops it if its playout time has passed."""
        if not duration(data):
            return
        if not self._asleep and self._end - _RESTART < timestamp < self._end - self._tolerance:
            self.late += 1
            return
        if len(self._packets) >= PACKET_LIMIT:
            del self._packets[min(self._packets)]
        self._packets[timestamp] = data

    def render(self, start: float) -> Sound | None:
        """Renders the 960 samples due from monotonic `start` on; None: silence. The caller owns the array."""
        origin = self.clock.due(0)
        if origin is None or (self.gain == 0.0 and self._gain_now == 0.0):
            self._packets.clear()
            self._sleep()
            return None
        wanted = round((start - origin) * RATE)
        if self._asleep and not self._wake(wanted):
            return None
        out = self._play(wanted)
        if self._gain_now != self.gain or self.gain != 1.0:
            out *= np.interp(np.arange(TICK), (0, FADE), (self._gain_now, self.gain)).astype(np.float32)[:, None]
            self._gain_now = self.gain
        return out

    # -- sleeping -----------------------------------------------------------------------------------------------------

    def _wake(self, wanted: int) -> bool:
        for timestamp in sorted(self._packets):
            if timestamp >= wanted + TICK:
                return False
            if timestamp + duration(self._packets[timestamp]) > wanted:
                break
            del self._packets[timestamp]  # its playout time passed while the source slept
            self.late += 1
        else:
            return False
        self._asleep, self._concealed = False, 0
        if self._decoder is None:
            self._decoder = _decoder()
        # Play silence up to the packet, which begins within this tick or before it.
        self._ready = np.zeros((max(0, timestamp - wanted), 2), np.float32)
        self._end = timestamp
        self._waking = timestamp >= wanted
        if timestamp < wanted:
            self._fill(1)
            self._ready = self._ready[wanted - timestamp :]
            _fade_in(self._ready)
        return True

    @property
    def _tolerance(self) -> int:
        # After concealment the stream may continue in the middle of a concealed frame.
        return TICK - 1 if self._concealed else _TOLERANCE

    def _sleep(self) -> None:
        self._asleep, self._correcting = True, False
        self._ready = self._ready[:0]
        self._before = np.zeros((1, 2), np.float32)

    # -- playing ------------------------------------------------------------------------------------------------------

    def _play(self, wanted: int) -> Sound:
        early = self._end - len(self._ready) - wanted  # samples by which playout is ahead of its due time
        if abs(early) > _RESTART:
            return self._stop()
        if early > _EARLY_STEP:
            for _ in range(min(early // TICK + 1, 10)):
                self._append(self._conceal(), 0)
            early = 0
        elif early < -_LATE_STEP:
            return self._skip(-early)
        elif early < -_LATE_QUIET and self._is_quiet():
            return self._skip(min(-early, TICK))
        take = TICK - self._correction(early)
        self._fill(take)
        if take == TICK:
            out = self._ready[:TICK].copy()
        else:
            out = _stretch(self._before, self._ready, take)
            self.corrected += take - TICK
        self._before = self._ready[take - 1 : take].copy()
        self._ready = self._ready[take:]
        if self._concealed >= _CONCEAL_LIMIT:
            out[-FADE:] *= _RAMP[::-1]
            self._sleep()
        return out

    def _stop(self) -> Sound:
        self._packets.clear()
        self._fill(FADE)
        out = np.zeros((TICK, 2), np.float32)
        out[:FADE] = self._ready[:FADE] * _RAMP[::-1]
        self._sleep()
        return out

    def _correction(self, early: int) -> int:
        """How many samples fewer than 960 the next tick consumes from the stream (negative: more)."""
        distance = abs(early)
        if distance > _START_CORRECTING:
            self._correcting = True
        elif distance < _STOP_CORRECTING:
            self._correcting = False
        if not self._correcting or self._concealed:
            return 0
        strength = min(_MAX_CORRECTION, 1 + distance // 480)
        return strength if early > 0 else -strength

    def _is_quiet(self) -> bool:
        """Whether the next two ticks are quiet."""
        self._fill(2 * TICK)
        return bool(np.abs(self._ready[: 2 * TICK]).max() < _QUIET)

    def _skip(self, samples: int) -> Sound:
        """Skips `samples` with a short crossfade."""
        self._fill(TICK)
        old = self._ready[:FADE].copy()
        while samples > 0:
            self._fill(TICK)
            drop = min(samples, len(self._ready))
            self._ready = self._ready[drop:]
            samples -= drop
        self._fill(TICK)
        out = self._ready[:TICK].copy()
        out[:FADE] = out[:FADE] * _RAMP + old * (1 - _RAMP)
        self._before = out[-1:].copy()
        self._ready = self._ready[TICK:]
        return out

    def _fill(self, samples: int) -> None:
        while len(self._ready) < samples:
            timestamp = self._next_packet()
            if timestamp is None:
                sound = self._conceal()
                self._concealed += len(sound)
                self._append(sound, len(sound))
                continue
            if 0 < self._concealed <= _LOSS_LIMIT:
                self.lost += 1
            self._concealed = 0
            data = self._packets.pop(timestamp)
            self._toc = data[0]
            sound = self._decode(data)
            if self._waking:
                self._waking = False
                _fade_in(sound)
            self._append(sound, 0)
            self._end = timestamp + len(sound)

    def _append(self, sound: Sound, duration: int) -> None:
        self._ready = np.concatenate((self._ready, sound)) if len(self._ready) else sound
        self._end += duration

    def _next_packet(self) -> int | None:
        """Timestamp of the next contiguous packet; None if it is missing. Drops packets that are too late."""
        if self._end in self._packets:
            return self._end
        for timestamp in sorted(self._packets):
            if timestamp < self._end - self._tolerance:
                del self._packets[timestamp]
                self.late += 1
            elif timestamp <= self._end + _TOLERANCE:
                return timestamp
            else:
                break
        return None

    def _conceal(self) -> Sound:
        return self._decode(bytes([self._toc & 0xFC]))

    def _decode(self, data: bytes) -> Sound:
        assert self._decoder is not None
        expected = duration(data)
        try:
            frames = self._decoder.decode(av.Packet(data))
        except av.FFmpegError:
            frames = []
        parts = [frame.to_ndarray().reshape(-1, 2) for frame in frames if isinstance(frame, av.AudioFrame)]
        if not parts:
            return np.zeros((expected, 2), np.float32)
        sound = np.concatenate(parts) if len(parts) > 1 else parts[0]
        return np.multiply(sound, np.float32(1 / 32768), dtype=np.float32)


def _decoder() -> av.AudioCodecContext:
    """Uses libopus rather than FFmpeg's own decoder: it conceals losses and upmixes mono to stereo."""
    codec = av.CodecContext.create("libopus", "r")
    assert isinstance(codec, av.AudioCodecContext)
    codec.sample_rate, codec.layout = RATE, "stereo"
    return codec


def _fade_in(sound: Sound) -> None:
    length = min(FADE, len(sound))
    sound[:length] *= np.linspace(0, 1, length, dtype=np.float32)[:, None]


def _weights(take: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Catmull-Rom interpolation: source index of each sample of a tick, and the weights of its four neighbours."""
    position = np.arange(TICK) * (take / TICK)
    index = position.astype(np.intp)
    t = (position - index).astype(np.float32)
    weights = np.stack(
        (
            -0.5 * t + t**2 - 0.5 * t**3,
            1 - 2.5 * t**2 + 1.5 * t**3,
            0.5 * t + 2 * t**2 - 1.5 * t**3,
            -0.5 * t**2 + 0.5 * t**3,
        )
    )
    return index, weights[:, :, None].astype(np.float32)


_TABLES: Final = {take: _weights(take) for take in range(TICK - _MAX_CORRECTION, TICK + _MAX_CORRECTION + 1)}


def _stretch(before: Sound, sound: Sound, take: int) -> Sound:
    """Resamples `take` samples of `sound` to 960."""
    index, weights = _TABLES[take]
    ahead = sound[take : take + 2]
    if len(ahead) < 2:
        ahead = np.concatenate((ahead, np.repeat(sound[-1:], 2 - len(ahead), axis=0)))
    around = np.concatenate((before, sound[:take], ahead))
    out: Sound = around[index] * weights[0]
    for offset in (1, 2, 3):
        out += around[index + offset] * weights[offset]
    return out
