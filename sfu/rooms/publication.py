"""One track that a participant publishes: its description and the source of its media."""

from dataclasses import dataclass

from sfu.ids import ParticipantId, TrackId
from sfu.rooms.ports import MediaSource
from sfu.rooms.state import PublicationState
from sfu.rooms.track_description import TrackDescription


@dataclass(slots=True, eq=False)
class Publication:
    id: TrackId
    owner: ParticipantId
    media: MediaSource
    description: TrackDescription
    muted: bool = False

    @property
    def state(self) -> PublicationState:
        media = self.media
        return PublicationState(self.id, self.owner, media.kind, media.codec, self.description, self.muted)
