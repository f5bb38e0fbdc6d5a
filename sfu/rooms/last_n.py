"""Last-N for large rooms: only the cameras of the last N speakers and the N loudest microphones are sent.

speaker_selection.py selects participants; this module withholds or releases the tracks of each subscriber accordingly.
Shared screens and their audio are always sent. Hidden participants and recorders receive everything. A microphone that
never reports a level (some encoders omit RFC 6464) is always sent.
"""

from collections.abc import Iterable, Mapping, Sequence

from sfu.ids import ParticipantId
from sfu.rooms.members import Members
from sfu.rooms.participant import Participant
from sfu.rooms.publication import Publication
from sfu.rooms.settings import Settings
from sfu.rooms.speaker_selection import LastSpeakers, LoudestSpeakers


class LastN:
    """Call `publications_changed` on every change, `sync` for each new participant, and `observe` with audio levels."""

    __slots__ = ("_cameras", "_members", "_microphones", "_reporting")

    def __init__(self, settings: Settings, members: Members) -> None:
        self._members = members
        self._cameras = LastSpeakers(settings.last_n) if settings.last_n else None
        self._microphones = LoudestSpeakers(settings.loudest) if settings.loudest else None
        self._reporting: set[ParticipantId] = set()
        """Participants whose microphone has reported a level."""

    @property
    def needs_levels(self) -> bool:
        """Whether microphones are withheld, so that levels have to be observed at the full rate."""
        return self._microphones is not None and bool(self._microphones.withheld)

    def sync(self, viewer: Participant) -> None:
        """Applies the limits to one viewer: it is new, or its permissions changed."""
        if self._cameras is None and self._microphones is None:
            return
        for owner in self._members:
            for publication in owner.publications.values():
                viewer.subscriptions.withhold(publication.id, self._withheld(publication, viewer))

    def publications_changed(self, owner: Participant) -> None:
        """Call it before a publication is offered to subscribers, before it is unmuted, and after any other change."""
        if self._cameras is None and self._microphones is None:
            return
        before = self._order()
        on = [publication for publication in owner.publications.values() if not publication.muted]
        if self._cameras is not None:
            if any(map(_is_camera, on)):
                self._cameras.add(owner.id)
            else:
                self._cameras.remove(owner.id)
        if self._microphones is not None:
            if not any(map(_is_microphone, owner.publications.values())):
                self._reporting.discard(owner.id)
            if owner.id in self._reporting and any(map(_is_microphone, on)):
                self._microphones.add(owner.id)
            else:
                self._microphones.remove(owner.id)
        self._apply({owner.id, *self._changed(before)})

    def observe(self, now: float, levels: Mapping[str, int | None], speakers: Sequence[str], dominant: str) -> None:
        """`levels`: −dBov by participant; None: muted, or no packet arrived. `speakers`: active speakers, loudest first."""
        if self._cameras is None and self._microphones is None:
            return
        before = self._order()
        if self._cameras is not None:
            self._cameras.observe(now, speakers, dominant)
        if self._microphones is not None:
            for key, level in levels.items():
                if level is not None and key not in self._reporting:
                    self._reporting.add(ParticipantId(key))
                    self._microphones.add(key)
            self._microphones.observe(now, levels, dominant)
        self._apply(self._changed(before))

    def _order(self) -> tuple[str, ...]:
        return self._cameras.order if self._cameras is not None else ()

    def _changed(self, before: tuple[str, ...]) -> set[str]:
        """Publishers whose visibility or audibility changed for at least one viewer."""
        moved = self._microphones.take_changes() if self._microphones is not None else set()
        order = self._order()
        if before != order:
            # The participant just past the limit is visible only to viewers that occupy a slot themselves.
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
        permissions, key = viewer.permissions, publication.owner
        if permissions.hidden or permissions.recorder or publication.muted:
            return False
        if _is_camera(publication):
            return self._cameras is not None and not self._cameras.is_visible(key, viewer.id)
        return self._microphones is not None and _is_microphone(publication) and key in self._microphones.withheld


def _is_camera(publication: Publication) -> bool:
    return publication.media.kind == "video" and publication.description.source != "screen_share"


def _is_microphone(publication: Publication) -> bool:
    return publication.media.kind == "audio" and publication.description.source != "screen_share_audio"
