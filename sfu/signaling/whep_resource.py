"""The resources of WHEP: a participant, one of its tracks, or the mix of the room."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sfu.errors import Conflict, NotFound
from sfu.rooms.participant import Participant
from sfu.rooms.publication import Publication
from sfu.rooms.room import Room
from sfu.rooms.track_description import SOURCE_KINDS, TrackSource
from sfu.sdp.description import SessionDescription
from sfu.sdp.receive_offer import ReceiveOffer

Kind = Literal["audio", "video"]

PARTICIPANT: Final[Mapping[Kind, TrackSource]] = {"audio": "microphone", "video": "camera"}
MIX: Final[Mapping[Kind, TrackSource]] = {"audio": "screen_share_audio", "video": "screen_share"}
"""Sources under which an egress publishes the mix."""
RECEIVING: Final = ("recvonly", "sendrecv")


class NotLive(Conflict):
    """Nothing to watch yet. `retry_after`: seconds."""

    default_code = "not_live"
    retry_after = 2.0


@dataclass(frozen=True, slots=True)
class WhepResource:
    room: str
    identity: str = ""
    "Empty: the mix of the room."
    source: str = ""
    "Empty: camera and microphone."

    @property
    def sources(self) -> Mapping[Kind, TrackSource]:
        """Source of each kind. Raises NotFound."""
        if not self.identity:
            return MIX
        if not self.source:
            return PARTICIPANT
        for source, kind in SOURCE_KINDS.items():
            if source == self.source:
                return {"audio": source} if kind == "audio" else {"video": source}
        raise NotFound(f"A track's source is one of {', '.join(SOURCE_KINDS)}.")

    def find(self, room: Room, mix: str) -> dict[Kind, Publication]:
        """The publications that are live now. `mix`: id of the participant that publishes the mix; empty: none."""
        owner = room.members.find_by_identity(self.identity) if self.identity else room.members.find(mix)
        return _of(owner, self.sources) if owner is not None and not owner.permissions.hidden else {}

    @property
    def missing(self) -> str:
        """Why `find` has no result, for the client."""
        if not self.identity:
            return "The mix of this room is not published. Start an egress with `track`."
        return "This participant does not publish what you want to watch."


def _of(owner: Participant, sources: Mapping[Kind, TrackSource]) -> dict[Kind, Publication]:
    found: dict[Kind, Publication] = {}
    for publication in owner.publications.values():
        kind = publication.media.kind
        if publication.bound and publication.description.source == sources.get(kind):
            found.setdefault(kind, publication)
    return found


def wanted(offer: SessionDescription) -> set[str]:
    """Kinds that the client wants to receive."""
    kinds = {each.kind for each in offer.media if not each.rejected and each.direction in RECEIVING}
    return kinds & {"audio", "video"}


def carries(offer: ReceiveOffer, publications: Mapping[Kind, Publication]) -> bool:
    """Whether an answer to this offer can carry the publications of every kind that the client wants to receive."""
    if not any(section.kind in publications for section in offer.sections.values()):
        return False
    for kind, publication in publications.items():
        section = next((each for each in offer.sections.values() if each.kind == kind), None)
        if section is None:
            if kind in wanted(offer.offer):
                return False
        elif section.choose(publication.media.codec, publication.media.track.parameters) is None:
            return False
    return True
