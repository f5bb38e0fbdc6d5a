"""How well each participant is connected, in one word, from its links; told when it changes."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from sfu.ids import ParticipantId
from sfu.rooms.events import QualityChanged
from sfu.rooms.members import Members
from sfu.rooms.participant import Participant

Quality = Literal["excellent", "good", "poor", "lost"]

EXCELLENT_LOSS, EXCELLENT_RTT = 0.02, 0.15
"""Below both nobody notices: Opus conceals 2 %, and 150 ms is where G.114 says that delay begins to matter."""
GOOD_LOSS, GOOD_RTT = 0.05, 0.3
"""Below both a conversation holds; beyond 5 % frames freeze in spite of resends, beyond 300 ms people interrupt."""
SILENT = 6.5
"""Seconds without any packet after which a link is lost. Idle ones still carry a consent check every 4 to 6 s
(RFC 7675 5.1)."""


class Link(Protocol):
    """One connection's path now. `rtt` and `silent_for` in seconds, `loss` 0 to 1."""

    @property
    def rtt(self) -> float | None: ...

    @property
    def loss(self) -> float: ...

    @property
    def silent_for(self) -> float: ...

    @property
    def connected(self) -> bool: ...


def quality_of(link: Link) -> Quality:
    """In words of the worst of loss, delay and silence."""
    if not link.connected or link.silent_for > SILENT:
        return "lost"
    rtt = link.rtt or 0.0
    if link.loss < EXCELLENT_LOSS and rtt < EXCELLENT_RTT:
        return "excellent"
    if link.loss < GOOD_LOSS and rtt < GOOD_RTT:
        return "good"
    return "poor"


class QualityMonitor:
    """The last word on everybody. Newcomers are told all of it, the others what changed."""

    __slots__ = ("_known", "_members", "_newcomers")

    def __init__(self, members: Members) -> None:
        self._members = members
        self._known: dict[ParticipantId, Quality] = {}
        self._newcomers: set[ParticipantId] = set()

    @property
    def known(self) -> Mapping[ParticipantId, Quality]:
        """The last word on everybody of whom there is one."""
        return self._known

    def sync(self, participant: Participant) -> None:
        self._newcomers.add(participant.id)

    def forget(self, participant: Participant) -> None:
        self._known.pop(participant.id, None)
        self._newcomers.discard(participant.id)

    def observe(self) -> None:
        links = {participant: participant.sink.links() for participant in self._members}
        changed: dict[ParticipantId, Quality] = {}
        for participant, its in links.items():
            quality = self._judge(participant, its)
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

    def _judge(self, participant: Participant, links: Sequence[Link]) -> Quality | None:
        """None: nothing to judge by, e.g. a connection that is only being made."""
        known = participant.id in self._known
        judged = [quality_of(link) for link in links if link.connected or known]
        if not judged:
            return None
        return max(judged, key=("excellent", "good", "poor", "lost").index)
