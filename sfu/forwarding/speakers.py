"""Detects the active speakers and the dominant speaker.

Levels are −dBov (RFC 6464), polled every 100 ms. The dominant speaker follows Volfin & Cohen, "Dominant speaker
identification for multipoint videoconferencing" (2012): each participant's recent activity is compared with the dominant
speaker's on three time scales. A challenger must win on all three, so that a cough or one loud word changes nothing. Active
speakers are all participants that were loud enough recently (LiveKit pkg/sfu/audio: ≤ 35 −dBov for at least 40 % of 400 ms;
levels in steps of 1/8).
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

ACTIVE_LEVEL = 35
"""−dBov. Samples at or below it (louder) count as speech."""
ACTIVE_SHARE = 0.4
WINDOW = 4
"""Samples (400 ms) that decide whether a participant is active."""
IMMEDIATE, MEDIUM, LONG = 3, 10, 30
"""Samples of the three time scales: 0.3, 1 and 3 s."""
RATIOS = (3.0, 2.0, 0.0)
"""Log-ratios that a challenger needs on the three time scales (as in mediasoup)."""
STEPS = 8


@dataclass(frozen=True, slots=True)
class SpeakerChange:
    """The state after a change. `dominant` is empty until a participant speaks; `speakers` are active, loudest first."""

    dominant: str
    speakers: tuple[tuple[str, float], ...]
    "Key and level, 0 silent … 1 loudest, in steps of 1/8."


@dataclass(slots=True)
class _Voice:
    samples: deque[int] = field(default_factory=lambda: deque(maxlen=LONG))

    def activity(self, length: int) -> float:
        """Average loudness of the newest `length` samples, 0–127."""
        newest = list(self.samples)[-length:]
        return sum(newest) / length

    def level(self) -> float:
        newest = list(self.samples)[-WINDOW:]
        loud = [sample for sample in newest if sample >= 127 - ACTIVE_LEVEL]
        if len(loud) < ACTIVE_SHARE * WINDOW:
            return 0.0
        mean = sum(loud) / len(loud)
        return math.ceil(STEPS * min(1.0, (mean - (127 - ACTIVE_LEVEL) + 1) / (ACTIVE_LEVEL + 1))) / STEPS


class SpeakerDetector:
    """Takes one level per key and poll, and returns changes. `now` is monotonic seconds."""

    __slots__ = ("_voices", "dominant", "speakers")

    def __init__(self) -> None:
        self._voices: dict[str, _Voice] = {}
        self.dominant = ""
        self.speakers: tuple[tuple[str, float], ...] = ()

    def observe(self, now: float, levels: Mapping[str, int | None]) -> SpeakerChange | None:
        """`levels`: −dBov by key; None without packets (silence: muted, DTX). Missing keys have left."""
        for gone in self._voices.keys() - levels.keys():
            del self._voices[gone]
        for key, level in levels.items():
            voice = self._voices.get(key)
            if voice is None:
                if level is None:
                    continue
                voice = self._voices[key] = _Voice()
            voice.samples.append(0 if level is None else 127 - level)
        active = [(key, loud) for key, voice in self._voices.items() if (loud := voice.level()) > 0]
        active.sort(key=lambda item: (-item[1], item[0]))
        speakers = tuple(active)
        dominant = self._elect(speakers)
        if speakers == self.speakers and dominant == self.dominant:
            return None
        self.speakers, self.dominant = speakers, dominant
        return SpeakerChange(dominant, speakers)

    def _elect(self, speakers: tuple[tuple[str, float], ...]) -> str:
        incumbent = self._voices.get(self.dominant)
        if incumbent is None:
            return speakers[0][0] if speakers else ""
        best, best_score = self.dominant, 0.0
        for key, _ in speakers:
            if key == self.dominant:
                continue
            voice = self._voices[key]
            scores = [
                _log_ratio(voice.activity(length), incumbent.activity(length)) for length in (IMMEDIATE, MEDIUM, LONG)
            ]
            if all(score > ratio for score, ratio in zip(scores, RATIOS, strict=True)) and scores[1] > best_score:
                best, best_score = key, scores[1]
        return best


def _log_ratio(challenger: float, incumbent: float) -> float:
    """Scaled natural logarithm of the ratio of two activities. Both have a floor, so that silence is comparable."""
    return 4.0 * math.log(max(challenger, 1.0) / max(incumbent, 1.0))
