"""One track that a participant publishes: its description and the source of its media."""

from dataclasses import dataclass, field

from sfu.ids import ParticipantId, TrackId
from sfu.rooms.ports import MediaSource
from sfu.rooms.state import PublicationState
from sfu.rooms.track_description import TrackDescription
from sfu.rooms.unbound_media import UnboundMedia


@dataclass(slots=True, eq=False)
class Publication:
    id: TrackId
    owner: ParticipantId
    media: MediaSource
    description: TrackDescription
    muted: bool = False
    _state: PublicationState | None = field(default=None, init=False, repr=False)

    @property
    def bound(self) -> bool:
        """False: restored from a snapshot, and its publisher does not send yet."""
        return not isinstance(self.media, UnboundMedia)

    @property
    def state(self) -> PublicationState:
        """The same object until something changes: a join reads the state of every publication in the room."""
        state, media = self._state, self.media
        if (
            state is None
            or state.muted != self.muted
            or state.description is not self.description
            or state.codec != media.codec
        ):
            state = PublicationState(self.id, self.owner, media.kind, media.codec, self.description, self.muted)
            self._state = state
        return state
