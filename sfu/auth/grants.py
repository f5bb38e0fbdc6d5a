"""Grants of an access token, with LiveKit's claim names, so that tokens of any LiveKit server SDK work unchanged.

Source: the `video` claim of livekit/protocol `auth/grants.go`. Defaults of absent claims are LiveKit's: publishing and
subscribing are allowed, sending data follows publishing, and administration is refused. One default differs: participants
may change their own name, metadata and attributes unless `canUpdateOwnMetadata` is false. Claims for features that this
server lacks have no effect; `IGNORED_CLAIMS` lists them.
"""

from dataclasses import dataclass

from msgspec import Struct

IGNORED_CLAIMS = {
    "destinationRoom": "Participants are not moved or forwarded to other rooms.",
    "ingressAdmin": "There is no ingress API.",
    "agent": "Agents join as ordinary participants.",
    "canManageAgentSession": "There is no agent dispatch.",
    "canSubscribeMetrics": "Metrics of participants are not sent to other participants.",
}
"""LiveKit's video grants without effect, with the reason."""


class VideoClaim(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The `video` claim as JSON. Unknown claims are ignored, because newer SDKs add claims for features we lack."""

    room: str = ""
    room_join: bool = False
    room_create: bool = False
    room_list: bool = False
    room_admin: bool = False
    room_record: bool = False
    room_egress: bool = False
    can_publish: bool | None = None
    can_subscribe: bool | None = None
    can_publish_data: bool | None = None
    can_publish_sources: list[str] | None = None
    can_update_own_metadata: bool | None = None
    hidden: bool = False
    recorder: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoGrants:
    """Permissions of a token, with all defaults applied."""

    room: str = ""
    "The only room that the grants apply to; empty: none."
    room_join: bool = False
    room_create: bool = False
    room_list: bool = False
    room_admin: bool = False
    can_publish: bool = True
    can_subscribe: bool = True
    can_publish_data: bool = True
    can_publish_sources: tuple[str, ...] = ()
    "`camera`, `microphone`, `screen_share`, `screen_share_audio`; empty: every source."
    can_update_own_metadata: bool = True
    "May change its own name, metadata and attributes. Allowed by default, unlike in LiveKit."
    hidden: bool = False
    recorder: bool = False
    room_record: bool = False
    "May record the room."
    room_egress: bool = False
    "May stream the room: HLS, RTMP, mix as a track. A grant of this server; LiveKit's `roomRecord` covers both."

    @classmethod
    def from_claim(cls, claim: VideoClaim) -> "VideoGrants":
        can_publish = claim.can_publish is not False
        return cls(
            room=claim.room,
            room_join=claim.room_join,
            room_create=claim.room_create,
            room_list=claim.room_list,
            room_admin=claim.room_admin,
            can_publish=can_publish,
            can_subscribe=claim.can_subscribe is not False,
            # grants.go GetCanPublishData: absent follows canPublish.
            can_publish_data=can_publish if claim.can_publish_data is None else claim.can_publish_data,
            # Keep unknown names: an empty list would allow every source.
            can_publish_sources=tuple(source.lower() for source in claim.can_publish_sources or ()),
            can_update_own_metadata=claim.can_update_own_metadata is not False,
            hidden=claim.hidden,
            recorder=claim.recorder,
            room_record=claim.room_record,
            room_egress=claim.room_egress,
        )

    def to_claim(self) -> VideoClaim:
        return VideoClaim(
            room=self.room,
            room_join=self.room_join,
            room_create=self.room_create,
            room_list=self.room_list,
            room_admin=self.room_admin,
            room_record=self.room_record,
            room_egress=self.room_egress,
            can_publish=self.can_publish,
            can_subscribe=self.can_subscribe,
            can_publish_data=self.can_publish_data,
            can_publish_sources=list(self.can_publish_sources) or None,
            can_update_own_metadata=None if self.can_update_own_metadata else False,
            hidden=self.hidden,
            recorder=self.recorder,
        )

    def may_publish(self, source: str) -> bool:
        return self.can_publish and (not self.can_publish_sources or source in self.can_publish_sources)

    def may_join(self, room: str) -> bool:
        return self.room_join and bool(room) and self.room == room

    def may_record(self, room: str) -> bool:
        return self.room_record and bool(room) and self.room == room

    def may_live_stream(self, room: str) -> bool:
        return self.room_egress and bool(room) and self.room == room

    def may_administer(self, room: str) -> bool:
        return self.room_admin and bool(room) and self.room == room
