"""Active speakers of a room: passes microphone levels to the detector of sfu.forwarding and broadcasts its changes."""

from sfu.forwarding.speakers import SpeakerDetector
from sfu.rooms.events import SpeakersChanged
from sfu.rooms.last_n import LastN
from sfu.rooms.members import Members
from sfu.rooms.participant import Participant
from sfu.rooms.publications import Publications


class ActiveSpeakers:
    __slots__ = ("_current", "_detector", "_last_n", "_members", "_publications")

    def __init__(self, members: Members, publications: Publications, last_n: LastN) -> None:
        self._members = members
        self._last_n = last_n
        self._publications = publications
        self._detector = SpeakerDetector()
        self._current = SpeakersChanged("", ())

    def sync(self, participant: Participant) -> None:
        """Sends the current speakers to a participant that joined or resumed."""
        if self._current.dominant:
            self._members.send_to(self._current, participant)

    def observe(self, now: float) -> bool:
        """Returns whether to call again after 100 ms; otherwise a longer interval is enough."""
        if not len(self._publications) and not self._current.dominant:
            return False
        levels: dict[str, int | None] = {}
        for publication in self._publications:
            # The audio of a shared screen is not speech.
            if publication.media.kind != "audio" or publication.description.source == "screen_share_audio":
                continue
            level = publication.media.take_level()
            loudest = levels.get(publication.owner)
            if level is None or publication.muted:
                levels.setdefault(publication.owner, None)
            elif loudest is None or level < loudest:
                levels[publication.owner] = level
        change = self._detector.observe(now, levels)
        if change is not None:
            self._current = SpeakersChanged(change.dominant, change.speakers)
            self._members.broadcast(self._current)
            self._members.observe(self._current)
        self._last_n.observe(now, levels, [key for key, _ in self._current.speakers], self._current.dominant)
        audible = any(level is not None for level in levels.values()) or bool(self._current.speakers)
        return audible or self._last_n.needs_levels
