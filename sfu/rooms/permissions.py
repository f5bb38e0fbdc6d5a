"""What a participant may do: the token's grants, as the room reads them and as operators change them later."""

from dataclasses import dataclass
from typing import Self

from sfu.auth.grants import VideoGrants


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    publish: bool = True
    subscribe: bool = True
    data: bool = True
    "Chat and data messages."
    admin: bool = False
    sources: tuple[str, ...] = ()
    "Sources that may be published; empty: every one."
    update_metadata: bool = True
    "May change its own name, metadata and attributes."
    hidden: bool = False
    "Not announced to anybody; cannot publish or speak, since that would announce it."
    recorder: bool = False
    record: bool = False
    "May have the room recorded."
    egress: bool = False
    "May show the room to others: live, by RTMP."

    @classmethod
    def from_grants(cls, grants: VideoGrants) -> Self:
        return cls(
            publish=grants.can_publish and not grants.hidden,
            subscribe=grants.can_subscribe,
            data=grants.can_publish_data and not grants.hidden,
            admin=grants.room_admin,
            sources=grants.can_publish_sources,
            update_metadata=grants.can_update_own_metadata,
            hidden=grants.hidden,
            recorder=grants.recorder,
            record=grants.room_record,
            egress=grants.room_egress,
        )

    def may_publish(self, source: str) -> bool:
        return self.publish and (not self.sources or source in self.sources)

    @property
    def bypasses_lobby(self) -> bool:
        """Locks and lobbies do not hold those who open them, nor the operator's own recorders."""
        return self.admin or self.hidden or self.recorder
