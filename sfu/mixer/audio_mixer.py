"""The programme's sound: everyone's voice, placed in time, summed and limited, 20 ms at a time.

Float throughout at 48 kHz, so that nothing clips before the limiter. Who joins, leaves or is muted fades over 5 ms.
RFC 7587 (Opus in RTP).
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
"""Seconds after the end of a tick that its caller best waits: the last twentieth of the packets may come then."""
LATENCY: Final = BLOCK
"""Samples by which the mix lags behind the time it was asked for: the limiter's look-ahead."""
VOICE_LIMIT: Final = RATE
"""Samples that a voice given as samples may be ahead."""


@dataclass(frozen=True, slots=True)
class SourceCounters:
    late: int
    "Packets after their time."
    lost: int
    "Holes concealed."
    corrected: int
    "Samples taken out (negative: put in) to follow the sender's clock."


class _Voice:
    """Samples that come from a program rather than from a participant."""

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
            # Nothing more is there: it may have ended, so it ends softly.
            out[given - FADE : given] *= ramp[::-1]
        self._playing = self._count > 0
        return out


class AudioMixer:
    """Mixes all sources of a room. `tick` runs on the sound's thread; every other method may be called by any."""

    def __init__(self) -> None:
        self.on_source: Callable[[str, Sound], None] | None = None
        """Told each source's 20 ms, on the sound's thread, before they are mixed; may change them in place."""
        self._lock = threading.Lock()
        self._sources: dict[str, AudioSource] = {}
        self._leaving: list[AudioSource] = []
        self._voices: dict[str, _Voice] = {}
        self._limiter = Limiter()

    def open(self, source: str, clock: Clock) -> None:
        """`clock` tells when the source's timestamps are due: a `timeline.TrackClock`."""
        with self._lock:
            if (old := self._sources.pop(source, None)) is not None:
                self._let_go(old)
            self._sources[source] = AudioSource(clock)

    def close(self, source: str) -> None:
        """Fades it out with the next tick. Idempotent."""
        with self._lock:
            if (old := self._sources.pop(source, None)) is not None:
                self._let_go(old)
            self._voices.pop(source, None)

    def receive(self, source: str, frame: CodedFrame) -> None:
        """One Opus packet; ignored if the source is not open."""
        with self._lock:
            if (found := self._sources.get(source)) is not None:
                found.receive(frame.data, frame.timestamp)

    def set_gain(self, source: str, gain: float) -> None:
        """0 mutes, 1 is as it came."""
        with self._lock:
            if (found := self._sources.get(source)) is not None:
                found.gain = min(max(gain, 0.0), 4.0)

    def set_muted(self, source: str, muted: bool) -> None:
        self.set_gain(source, 0.0 if muted else 1.0)

    def say(self, voice: str, samples: Sound) -> None:
        """Samples of a plug-in or a bot, played one after the other from the next tick on; `close(voice)` ends it."""
        with self._lock:
            self._voices.setdefault(voice, _Voice()).push(samples)

    def counters(self, source: str) -> SourceCounters | None:
        with self._lock:
            found = self._sources.get(source)
            return None if found is None else SourceCounters(found.late, found.lost, found.corrected)

    def tick(self, start: float) -> Sound:
        """The 960 × 2 samples due from monotonic `start` on, `LATENCY` late. Each call is 20 ms after the last one's
        `start`; it is best made `TICK / RATE + MARGIN` seconds after it, when what was due has come.
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
                    del self._voices[name]  # it begins anew when it speaks again
        return self._limiter.process(mix)

    def _let_go(self, source: AudioSource) -> None:
        source.gain = 0.0
        self._leaving.append(source)
