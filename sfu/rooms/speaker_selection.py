"""Selection of visible and audible participants in a large room.

A limited number of slots is assigned by speech activity, with hysteresis: a new speaker replaces a participant that has
been silent for a while, and only the dominant speaker replaces another active speaker. Keys are participants, `now` is
in monotonic seconds. This module knows no tracks.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from sfu.forwarding.speakers import ACTIVE_LEVEL

MIN_SHOWN_SECONDS: Final = 3.0
"""Minimum seconds that a participant stays visible, and minimum silence before another replaces it."""
MIN_SPEECH_SECONDS: Final = 0.5
"""Seconds of activity (40 % of 400 ms, LiveKit pkg/sfu/audio) before a speaker becomes visible, so that coughs do not count."""
SPEECH_PAUSE_SECONDS: Final = 0.5
"""Longest pause within speech, e.g. between two sentences. After it another participant may take the slot."""
MIN_HEARD_SECONDS: Final = 1.0
"""Minimum seconds that a microphone stays audible while others speak."""
REPLACE_MARGIN_DB: Final = 6.0
"""dB by which a microphone has to exceed an audible one in order to replace it."""
LOUDNESS_SMOOTHING: Final = 0.5
"""Weight of a new sample when loudness falls (Jitsi's `energy-alpha-pct`). A rise applies at once."""
NEVER: Final = float("-inf")


class LastSpeakers:
    """Selects visible cameras: the last speakers, then participants that never spoke in order of arrival.

    The first `slots` of `order` are visible to everyone. The next one is visible only to participants that occupy a slot
    themselves, so that every viewer sees `slots` others.
    """

    __slots__ = ("_order", "_slot_since", "_slots", "_speaking_since", "_spoke_at")

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._order: list[str] = []
        self._spoke_at: dict[str, float] = {}
        self._slot_since: dict[str, float] = {}
        self._speaking_since: dict[str, float] = {}

    @property
    def order(self) -> tuple[str, ...]:
        """The participants that are visible to at least one viewer."""
        return tuple(self._order[: self._slots + 1])

    def add(self, key: str) -> None:
        if key not in self._order:
            self._order.append(key)

    def remove(self, key: str) -> None:
        if key in self._order:
            self._order.remove(key)
        self._spoke_at.pop(key, None)
        self._slot_since.pop(key, None)

    def is_visible(self, key: str, viewer: str) -> bool:
        """Whether the camera of `key` is sent to `viewer`."""
        if len(self._order) <= self._slots or key in self._order[: self._slots]:
            return True
        return key == self._order[self._slots] and viewer in self._order[: self._slots]

    def observe(self, now: float, speakers: Sequence[str], dominant: str) -> None:
        """`speakers`: active speakers, loudest first. Call it ten times a second while there are any."""
        self._speaking_since = {key: self._speaking_since.get(key, now) for key in speakers}
        for key in speakers:
            self._spoke_at[key] = now
        if len(self._order) <= self._slots:
            return
        waiting = set(self._order[self._slots :])
        for key in sorted(speakers, key=lambda speaker: speaker != dominant):
            if key in waiting and now - self._speaking_since[key] >= MIN_SPEECH_SECONDS:
                self._show(key, now, dominant)

    def _show(self, key: str, now: float, dominant: str) -> None:
        shown = self._order[: self._slots]
        free = [each for each in shown if self._silent(each, now)]
        if not free and key == dominant:
            free = shown
        if not free:
            return
        # The one that spoke longest ago; among those that never spoke, the last to arrive.
        replaced = min(reversed(free), key=lambda each: self._spoke_at.get(each, NEVER))
        slot = self._order.index(replaced)
        self._order.remove(key)
        self._order[slot] = key
        self._order.insert(self._slots, replaced)
        self._slot_since[key] = now

    def _silent(self, key: str, now: float) -> bool:
        return now - max(self._spoke_at.get(key, NEVER), self._slot_since.get(key, NEVER)) >= MIN_SHOWN_SECONDS


class LoudestSpeakers:
    """Selects audible microphones: at most `slots`, always including the dominant speaker.

    The first loud sample takes an idle slot at once, so that hardly a syllable is lost. A participant that unmutes is
    likely to speak and gets an idle slot in advance.
    """

    __slots__ = ("_audible", "_changed", "_loud_at", "_loudness", "_now", "_slot_since", "_slots", "_waiting")

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._audible: dict[str, None] = {}
        self._waiting: dict[str, None] = {}
        self._loud_at: dict[str, float] = {}
        self._loudness: dict[str, float] = {}
        self._slot_since: dict[str, float] = {}
        self._changed: set[str] = set()
        self._now = 0.0

    @property
    def withheld(self) -> AbstractSet[str]:
        return self._waiting.keys()

    def take_changes(self) -> set[str]:
        """Participants that became audible or inaudible since the last call."""
        moved, self._changed = self._changed, set()
        return moved

    def add(self, key: str) -> None:
        if key in self._audible or key in self._waiting:
            return
        self._waiting[key] = None
        self._changed.add(key)
        self._loud_at[key] = self._now
        self._enter(key, "")

    def remove(self, key: str) -> None:
        if key not in self._audible and key not in self._waiting:
            return
        for table in (self._audible, self._waiting, self._loud_at, self._loudness, self._slot_since):
            table.pop(key, None)
        if self._waiting and len(self._audible) < self._slots:
            self._enter(max(self._waiting, key=lambda each: self._loud_at[each]), "")

    def observe(self, now: float, levels: Mapping[str, int | None], dominant: str) -> None:
        """`levels`: −dBov by key; None: no packet arrived."""
        self._now = now
        for key, level in levels.items():
            if key not in self._audible and key not in self._waiting:
                continue
            if level is not None and level <= ACTIVE_LEVEL:
                before = self._loudness.get(key, 0.0) if now - self._loud_at[key] < SPEECH_PAUSE_SECONDS else 0.0
                loudness = 127.0 - level
                self._loudness[key] = max(loudness, before + LOUDNESS_SMOOTHING * (loudness - before))
                self._loud_at[key] = now
        if not self._waiting:
            return
        for key in self._by_priority(self._waiting, dominant):
            if self._loud_at[key] == now:
                self._enter(key, dominant)

    def _by_priority(self, keys: Iterable[str], dominant: str) -> list[str]:
        return sorted(keys, key=lambda key: (key != dominant, -self._loudness.get(key, 0.0)))

    def _enter(self, key: str, dominant: str) -> None:
        if len(self._audible) >= self._slots:
            replaced = self._replaceable(key, dominant)
            if replaced is None:
                return
            del self._audible[replaced]
            self._waiting[replaced] = None
            self._changed.add(replaced)
        self._waiting.pop(key, None)
        self._changed.add(key)
        self._audible[key] = None
        self._slot_since[key] = self._now

    def _replaceable(self, key: str, dominant: str) -> str | None:
        silent = [each for each in self._audible if self._now - self._loud_at[each] >= SPEECH_PAUSE_SECONDS]
        if silent:
            return min(silent, key=lambda each: self._loud_at[each])
        if key == dominant:
            return min(self._audible, key=lambda each: self._loudness.get(each, 0.0))
        settled = [e for e in self._audible if e != dominant and self._now - self._slot_since[e] >= MIN_HEARD_SECONDS]
        if not settled:
            return None
        quietest = min(settled, key=lambda each: self._loudness.get(each, 0.0))
        louder = self._loudness.get(key, 0.0) - self._loudness.get(quietest, 0.0)
        return quietest if louder >= REPLACE_MARGIN_DB else None
