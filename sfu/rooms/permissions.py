"""Permissions of a participant: from the grants of its token, later changed by operators."""

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
    "Sources that the participant may publish; empty: all."
    update_metadata: bool = True
    "Allows changing its own name, metadata and attributes."
    hidden: bool = False
    "Not announced to others. Excludes publishing, chat and data, which would reveal the participant."
    recorder: bool = False
    record: bool = False
    "Allows starting and stopping a recording of the room."
    egress: bool = False
    "Allows starting and stopping live streams and RTMP pushes of the room."

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
        """Admins, hidden participants and recorders enter locked rooms and skip the lobby."""
        return self.admin or self.hidden or self.recorder
