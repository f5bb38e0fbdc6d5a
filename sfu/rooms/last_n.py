"""Large rooms: of the cameras only those of the last N speakers are sent, and of the microphones only the loudest N.

Spotlight decides about people; here that becomes what is withheld of whose subscriptions. Shared screens and their sound
are always sent, and who is hidden or records gets everything. A microphone that never told its level (RFC 6464: some
encoders do not) is not judged by it.
"""

from collections.abc import Iterable, Mapping, Sequence

from sfu.ids import ParticipantId
from sfu.rooms.members import Members
from sfu.rooms.participant import Participant
from sfu.rooms.publication import Publication
from sfu.rooms.settings import Settings
from sfu.rooms.speaker_selection import LastSpeakers, LoudestSpeakers


class LastN:
    """To be told of every change of what is published (`publications_changed`), of everybody who comes, and of levels."""

    __slots__ = ("_leveled", "_members", "_pictures", "_sounds")

    def __init__(self, settings: Settings, members: Members) -> None:
        self._members = members
        self._pictures = LastSpeakers(settings.last_n) if settings.last_n else None
        self._sounds = LoudestSpeakers(settings.loudest) if settings.loudest else None
        self._leveled: set[ParticipantId] = set()
        """Who told a level since they have a microphone."""

    @property
    def needs_levels(self) -> bool:
        """Whether somebody waits to be heard, so that levels have to be looked at without a pause."""
        return self._sounds is not None and bool(self._sounds.withheld)

    def sync(self, viewer: Participant) -> None:
        """A newcomer, or one of whom may now be otherwise what is withheld."""
        if self._pictures is None and self._sounds is None:
            return
        for owner in self._members:
            for publication in owner.publications.values():
                viewer.subscriptions.withhold(publication.id, self._withheld(publication, viewer))

    def publications_changed(self, owner: Participant) -> None:
        """What `owner` publishes changed: before it is offered to anybody, before it is unmuted, or after the rest."""
        if self._pictures is None and self._sounds is None:
            return
        before = self._order()
        on = [publication for publication in owner.publications.values() if not publication.muted]
        if self._pictures is not None:
            if any(map(_is_camera, on)):
                self._pictures.add(owner.id)
            else:
                self._pictures.remove(owner.id)
        if self._sounds is not None:
            if not any(map(_is_microphone, owner.publications.values())):
                self._leveled.discard(owner.id)
            if owner.id in self._leveled and any(map(_is_microphone, on)):
                self._sounds.add(owner.id)
            else:
                self._sounds.remove(owner.id)
        self._apply({owner.id, *self._moved(before)})

    def observe(self, now: float, levels: Mapping[str, int | None], speakers: Sequence[str], dominant: str) -> None:
        """`levels`: −dBov by participant, None: muted, or nothing came. `speakers`: who is active, loudest first."""
        if self._pictures is None and self._sounds is None:
            return
        before = self._order()
        if self._pictures is not None:
            self._pictures.observe(now, speakers, dominant)
        if self._sounds is not None:
            for key, level in levels.items():
                if level is not None and key not in self._leveled:
                    self._leveled.add(ParticipantId(key))
                    self._sounds.add(key)
            self._sounds.observe(now, levels, dominant)
        self._apply(self._moved(before))

    def _order(self) -> tuple[str, ...]:
        return self._pictures.order if self._pictures is not None else ()

    def _moved(self, before: tuple[str, ...]) -> set[str]:
        """Of whom something may now be withheld that was not, or the other way round, by some viewer."""
        moved = self._sounds.take_changes() if self._sounds is not None else set()
        order = self._order()
        if before != order:
            # The last of each is the understudy, whom only some see.
            moved |= set(before) ^ set(order) | {*before[-1:], *order[-1:]}
        return moved

    def _apply(self, owners: Iterable[str]) -> None:
        for key in sorted(owners):
            owner = self._members.find(key)
            if owner is None:
                continue
            for publication in owner.publications.values():
                for viewer in self._members:
                    if viewer is not owner:
                        viewer.subscriptions.withhold(publication.id, self._withheld(publication, viewer))

    def _withheld(self, publication: Publication, viewer: Participant) -> bool:
        permissions, key = viewer.permissions, publication.owner.id
        if permissions.hidden or permissions.recorder or publication.muted:
            return False
        if _is_camera(publication):
            return self._pictures is not None and not self._pictures.is_visible(key, viewer.id)
        return self._sounds is not None and _is_microphone(publication) and key in self._sounds.withheld


def _is_camera(publication: Publication) -> bool:
    return publication.media.kind == "video" and publication.description.source != "screen_share"


def _is_microphone(publication: Publication) -> bool:
    return publication.media.kind == "audio" and publication.description.source != "screen_share_audio"
