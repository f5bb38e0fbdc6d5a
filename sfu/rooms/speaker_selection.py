"""Who is in the light of a large room: whose pictures are shown and whose microphones are heard.

Both go by what is said. A few places are held by those who had them, and given away only by rules that keep people from
flapping in and out: one who speaks takes the place of one who has been silent for a while, and only the dominant speaker
takes another's who speaks. Keys are participants; `now` in monotonic seconds. Nothing here knows a track.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from sfu.forwarding.speakers import ACTIVE_LEVEL

MIN_SHOWN_SECONDS: Final = 3.0
"""Seconds for which a face stays at least, and has to be silent before another takes its place."""
MIN_SPEECH_SECONDS: Final = 0.5
"""Seconds for which somebody has to be an active speaker (40 % of 400 ms, LiveKit pkg/sfu/audio) to be shown: no cough."""
SPEECH_PAUSE_SECONDS: Final = 0.5
"""Seconds of silence within one's speech, as between two sentences; after it another may have the place."""
MIN_HEARD_SECONDS: Final = 1.0
"""Seconds for which a voice stays while others speak, too."""
REPLACE_MARGIN_DB: Final = 6.0
"""dB by which a voice has to exceed another that is heard in order to replace it."""
LOUDNESS_SMOOTHING: Final = 0.5
"""Weight of the newest loud sample against those before (Jitsi's `energy-alpha-pct`), in falling; rises count at once."""
NEVER: Final = float("-inf")


class LastSpeakers:
    """Whose pictures are shown: of all that have one, those who spoke last; who never spoke, in the order they came.

    The first `places` of `order` are shown to everybody. The next one is the understudy: those who are shown themselves
    see it in their own place, so that everybody sees `places` others.
    """

    __slots__ = ("_here_since", "_order", "_places", "_speaking_since", "_spoke_at")

    def __init__(self, places: int) -> None:
        self._places = places
        self._order: list[str] = []
        self._spoke_at: dict[str, float] = {}
        self._here_since: dict[str, float] = {}
        self._speaking_since: dict[str, float] = {}

    @property
    def order(self) -> tuple[str, ...]:
        """As far as anybody sees it."""
        return tuple(self._order[: self._places + 1])

    def add(self, key: str) -> None:
        if key not in self._order:
            self._order.append(key)

    def remove(self, key: str) -> None:
        if key in self._order:
            self._order.remove(key)
        self._spoke_at.pop(key, None)
        self._here_since.pop(key, None)

    def is_visible(self, key: str, viewer: str) -> bool:
        """Whether `viewer` sees `key`."""
        if len(self._order) <= self._places or key in self._order[: self._places]:
            return True
        return key == self._order[self._places] and viewer in self._order[: self._places]

    def observe(self, now: float, speakers: Sequence[str], dominant: str) -> None:
        """`speakers`: who is active now, loudest first. Ten times a second while anybody is."""
        self._speaking_since = {key: self._speaking_since.get(key, now) for key in speakers}
        for key in speakers:
            self._spoke_at[key] = now
        if len(self._order) <= self._places:
            return
        waiting = set(self._order[self._places :])
        for key in sorted(speakers, key=lambda speaker: speaker != dominant):
            if key in waiting and now - self._speaking_since[key] >= MIN_SPEECH_SECONDS:
                self._show(key, now, dominant)

    def _show(self, key: str, now: float, dominant: str) -> None:
        shown = self._order[: self._places]
        free = [each for each in shown if self._silent(each, now)]
        if not free and key == dominant:
            free = shown
        if not free:
            return
        # Who spoke longest ago; of those who never did, the one that came last.
        leaves = min(reversed(free), key=lambda each: self._spoke_at.get(each, NEVER))
        place = self._order.index(leaves)
        self._order.remove(key)
        self._order[place] = key
        self._order.insert(self._places, leaves)
        self._here_since[key] = now

    def _silent(self, key: str, now: float) -> bool:
        return now - max(self._spoke_at.get(key, NEVER), self._here_since.get(key, NEVER)) >= MIN_SHOWN_SECONDS


class LoudestSpeakers:
    """Whose microphones are heard: as many as there are `places`, and the dominant speaker always.

    The first loud sample takes a place that nobody needs, so that hardly a syllable is lost; and whoever opens the
    microphone is likely to speak, and gets one in advance.
    """

    __slots__ = ("_heard", "_here_since", "_loud_at", "_loudness", "_moved", "_now", "_places", "_waiting")

    def __init__(self, places: int) -> None:
        self._places = places
        self._heard: dict[str, None] = {}
        self._waiting: dict[str, None] = {}
        self._loud_at: dict[str, float] = {}
        self._loudness: dict[str, float] = {}
        self._here_since: dict[str, float] = {}
        self._moved: set[str] = set()
        self._now = 0.0

    @property
    def withheld(self) -> AbstractSet[str]:
        return self._waiting.keys()

    def take_changes(self) -> set[str]:
        """Who is heard now and was not, or the other way round, since the last call."""
        moved, self._moved = self._moved, set()
        return moved

    def add(self, key: str) -> None:
        if key in self._heard or key in self._waiting:
            return
        self._waiting[key] = None
        self._moved.add(key)
        self._loud_at[key] = self._now
        self._enter(key, "")

    def remove(self, key: str) -> None:
        if key not in self._heard and key not in self._waiting:
            return
        for memory in (self._heard, self._waiting, self._loud_at, self._loudness, self._here_since):
            memory.pop(key, None)
        if self._waiting and len(self._heard) < self._places:
            self._enter(max(self._waiting, key=lambda each: self._loud_at[each]), "")

    def observe(self, now: float, levels: Mapping[str, int | None], dominant: str) -> None:
        """`levels`: −dBov by key, None: nothing came."""
        self._now = now
        for key, level in levels.items():
            if key not in self._heard and key not in self._waiting:
                continue
            if level is not None and level <= ACTIVE_LEVEL:
                before = self._loudness.get(key, 0.0) if now - self._loud_at[key] < SPEECH_PAUSE_SECONDS else 0.0
                loudness = 127.0 - level
                self._loudness[key] = max(loudness, before + LOUDNESS_SMOOTHING * (loudness - before))
                self._loud_at[key] = now
        if not self._waiting:
            return
        for key in self._by_need(self._waiting, dominant):
            if self._loud_at[key] == now:
                self._enter(key, dominant)

    def _by_need(self, keys: Iterable[str], dominant: str) -> list[str]:
        return sorted(keys, key=lambda key: (key != dominant, -self._loudness.get(key, 0.0)))

    def _enter(self, key: str, dominant: str) -> None:
        if len(self._heard) >= self._places:
            leaves = self._replaceable(key, dominant)
            if leaves is None:
                return
            del self._heard[leaves]
            self._waiting[leaves] = None
            self._moved.add(leaves)
        self._waiting.pop(key, None)
        self._moved.add(key)
        self._heard[key] = None
        self._here_since[key] = self._now

    def _replaceable(self, key: str, dominant: str) -> str | None:
        silent = [each for each in self._heard if self._now - self._loud_at[each] >= SPEECH_PAUSE_SECONDS]
        if silent:
            return min(silent, key=lambda each: self._loud_at[each])
        if key == dominant:
            return min(self._heard, key=lambda each: self._loudness.get(each, 0.0))
        settled = [e for e in self._heard if e != dominant and self._now - self._here_since[e] >= MIN_HEARD_SECONDS]
        if not settled:
            return None
        quietest = min(settled, key=lambda each: self._loudness.get(each, 0.0))
        louder = self._loudness.get(key, 0.0) - self._loudness.get(quietest, 0.0)
        return quietest if louder >= REPLACE_MARGIN_DB else None
