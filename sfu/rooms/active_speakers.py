"""Who speaks: levels of the microphones in, `speakers` events out, by the detector of sfu.forwarding."""

from sfu.forwarding.speakers import SpeakerDetector
from sfu.rooms.events import SpeakersChanged
from sfu.rooms.last_n import LastN
from sfu.rooms.members import Members
from sfu.rooms.participant import Participant
from sfu.rooms.publications import Publications


class ActiveSpeakers:
    __slots__ = ("_detector", "_heard", "_last_n", "_members", "_publications")

    def __init__(self, members: Members, publications: Publications, last_n: LastN) -> None:
        self._members = members
        self._last_n = last_n
        self._publications = publications
        self._detector = SpeakerDetector()
        self._heard = SpeakersChanged("", ())

    def sync(self, participant: Participant) -> None:
        """Tells a newcomer who speaks now."""
        if self._heard.dominant:
            self._members.send_to(self._heard, participant)

    def observe(self, now: float) -> bool:
        """To be called ten times a second while it says that something is heard, less often otherwise."""
        if not len(self._publications) and not self._heard.dominant:
            return False
        levels: dict[str, int | None] = {}
        for publication in self._publications:
            # The sound of a shared screen is nobody speaking.
            if publication.media.kind != "audio" or publication.description.source == "screen_share_audio":
                continue
            level = publication.media.take_level()
            loudest = levels.get(publication.owner.id)
            if level is None or publication.muted:
                levels.setdefault(publication.owner.id, None)
            elif loudest is None or level < loudest:
                levels[publication.owner.id] = level
        change = self._detector.observe(now, levels)
        if change is not None:
            self._heard = SpeakersChanged(change.dominant, change.speakers)
            self._members.broadcast(self._heard)
        self._last_n.observe(now, levels, [key for key, _ in self._heard.speakers], self._heard.dominant)
        heard = any(level is not None for level in levels.values()) or bool(self._heard.speakers)
        return heard or self._last_n.needs_levels
