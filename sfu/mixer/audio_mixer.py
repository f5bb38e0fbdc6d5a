"""Audio mixer of a room: aligns all sources in time, sums them and limits the sum, in blocks of 20 ms.

Samples are 32-bit float at 48 kHz, so nothing clips before the limiter. A source that joins, leaves or is muted fades
over 5 ms. RFC 7587 (Opus in RTP).
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from sfu.mixer.audio_source import FADE, RATE, TICK, AudioSource, Clock, Sound
from sfu.mixer.limiter import BLOCK, Limiter
from sfu.rtp.frames import CodedFrame

__all__ = ["LATENCY", "MARGIN", "RATE", "TICK", "AudioMixer", "SourceCounters"]

MARGIN: Final = 0.020
"""Seconds to wait after the end of a tick before rendering it. The latest 5 % of the packets may arrive in this time."""
LATENCY: Final = BLOCK
"""Samples by which the mix lags behind the requested time: the limiter's look-ahead."""
VOICE_LIMIT: Final = RATE
"""Samples that a synthetic voice may buffer; the oldest are dropped beyond that."""


@dataclass(frozen=True, slots=True)
class SourceCounters:
    late: int
    "Packets that arrived after their playout time."
    lost: int
    "Gaps that were concealed."
    corrected: int
    "Samples removed (negative: inserted) to follow the sender's clock."


class _Voice:
    """Buffers samples from a plug-in or a bot rather than from a participant."""

    def __init__(self) -> None:
        self.dropped = 0
        self._held: deque[Sound] = deque()
        self._count = 0
        self._playing = False

    def push(self, samples: Sound) -> None:
        self._held.append(np.array(samples, np.float32))
        self._count += len(samples)
        while self._count > VOICE_LIMIT:
            gone = self._held.popleft()
            self._count -= len(gone)
            self.dropped += len(gone)

    def render(self) -> Sound | None:
        if not self._count:
            self._playing = False
            return None
        joined = np.concatenate(self._held)
        out = np.zeros((TICK, 2), np.float32)
        given = min(TICK, len(joined))
        out[:given] = joined[:given]
        self._held.clear()
        self._count = len(joined) - given
        ramp = ((np.arange(FADE, dtype=np.float32) + 0.5) / FADE)[:, None]
        if not self._playing and given >= FADE:
            out[:FADE] *= ramp
        if self._count:
            self._held.append(joined[given:])
        elif given >= FADE:
            # The buffer is empty, so the voice may have ended: fade out.
            out[given - FADE : given] *= ramp[::-1]
        self._playing = self._count > 0
        return out


class AudioMixer:
    """Mixes all sources of a room. `tick` runs on the audio thread; any thread may call the other methods."""

    def __init__(self) -> None:
        self.on_source: Callable[[str, Sound], None] | None = None
        """Called on the audio thread with each source's 20 ms before mixing; may modify the samples in place."""
        self._lock = threading.Lock()
        self._sources: dict[str, AudioSource] = {}
        self._leaving: list[AudioSource] = []
        self._voices: dict[str, _Voice] = {}
        self._limiter = Limiter()

    def open(self, source: str, clock: Clock) -> None:
        """`clock` maps the source's timestamps to playout times: a `playout_sync.TrackClock`."""
        with self._lock:
            if (old := self._sources.pop(source, None)) is not None:
                self._fade_out(old)
            self._sources[source] = AudioSource(clock)

    def close(self, source: str) -> None:
        """Fades the source out in the next tick. Idempotent."""
        with self._lock:
            if (old := self._sources.pop(source, None)) is not None:
                self._fade_out(old)
            self._voices.pop(source, None)

    def receive(self, source: str, frame: CodedFrame) -> None:
        """One Opus packet; ignored if the source is not open."""
        with self._lock:
            if (found := self._sources.get(source)) is not None:
                found.receive(frame.data, frame.timestamp)

    def set_gain(self, source: str, gain: float) -> None:
        """0 mutes; 1 leaves the level unchanged; limited to 4."""
        with self._lock:
            if (found := self._sources.get(source)) is not None:
                found.gain = min(max(gain, 0.0), 4.0)

    def set_muted(self, source: str, muted: bool) -> None:
        self.set_gain(source, 0.0 if muted else 1.0)

    def say(self, voice: str, samples: Sound) -> None:
        """Queues samples of a plug-in or a bot for playout from the next tick on. `close(voice)` discards the rest."""
        with self._lock:
            self._voices.setdefault(voice, _Voice()).push(samples)

    def counters(self, source: str) -> SourceCounters | None:
        with self._lock:
            found = self._sources.get(source)
            return None if found is None else SourceCounters(found.late, found.lost, found.corrected)

    def tick(self, start: float) -> Sound:
        """Renders the 960 × 2 samples due from monotonic `start` on, delayed by `LATENCY`.

        `start` advances by 20 ms per call. Call `TICK / RATE + MARGIN` seconds after `start`, when the packets that are
        due have arrived.
        """
        with self._lock:
            mix = np.zeros((TICK, 2), np.float32)
            for name, source in self._sources.items():
                sound = source.render(start)
                if sound is not None:
                    if self.on_source is not None:
                        self.on_source(name, sound)
                    mix += sound
            for source in self._leaving:
                sound = source.render(start)
                if sound is not None:
                    mix += sound
            self._leaving.clear()
            for name, voice in list(self._voices.items()):
                sound = voice.render()
                if sound is not None:
                    mix += sound
                else:
                    del self._voices[name]  # the next `say` opens it again
        return self._limiter.process(mix)

    def _fade_out(self, source: AudioSource) -> None:
        source.gain = 0.0
        self._leaving.append(source)
