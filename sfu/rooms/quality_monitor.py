"""Watches the connection quality of all participants of a room and broadcasts changes."""

from collections.abc import Mapping, Sequence

from sfu.ids import ParticipantId
from sfu.rooms.events import QualityChanged
from sfu.rooms.members import Members
from sfu.rooms.participant import Participant
from sfu.rooms.quality import Link, Quality, quality_of


class QualityMonitor:
    """Stores the latest quality per participant. New participants get all of them, the others only changes."""

    __slots__ = ("_known", "_members", "_newcomers")

    def __init__(self, members: Members) -> None:
        self._members = members
        self._known: dict[ParticipantId, Quality] = {}
        self._newcomers: set[ParticipantId] = set()

    @property
    def known(self) -> Mapping[ParticipantId, Quality]:
        """Latest known quality per participant."""
        return self._known

    def sync(self, participant: Participant) -> None:
        """Sends the quality of all participants to this one at the next `observe`."""
        self._newcomers.add(participant.id)

    def forget(self, participant: Participant) -> None:
        self._known.pop(participant.id, None)
        self._newcomers.discard(participant.id)

    def observe(self) -> None:
        links = {participant: participant.sink.links() for participant in self._members}
        changed: dict[ParticipantId, Quality] = {}
        for participant, its in links.items():
            quality = self._assess(participant, its)
            if quality is not None and quality != self._known.get(participant.id):
                self._known[participant.id] = quality
                if not participant.permissions.hidden:
                    changed[participant.id] = quality
        newcomers, self._newcomers = self._newcomers, set()
        for participant, its in links.items():
            qualities = changed
            if participant.id in newcomers:
                hidden = {one.id for one in links if one.permissions.hidden}
                qualities = {key: quality for key, quality in self._known.items() if key not in hidden}
            if qualities:
                rtt = max((link.rtt or 0.0 for link in its), default=0.0)
                loss = max((link.loss for link in its), default=0.0)
                self._members.send_to(QualityChanged(qualities, rtt, loss), participant)

    def _assess(self, participant: Participant, links: Sequence[Link]) -> Quality | None:
        """None: no link can be assessed yet, e.g. the first connection is still being established."""
        known = participant.id in self._known
        qualities = [quality_of(link) for link in links if link.connected or known]
        if not qualities:
            return None
        return max(qualities, key=("excellent", "good", "poor", "lost").index)
