"""What a token allows, under LiveKit's claim names, so that tokens of any LiveKit server SDK mean the same here.

Source: the `video` claim of livekit/protocol `auth/grants.go`. Absent permissions mean what they mean there: publishing
and subscribing are allowed, sending data follows publishing, and everything that governs others is refused. One default
differs: changing one's own name, metadata and attributes is allowed unless `canUpdateOwnMetadata` is false. Claims for
features that this server lacks grant nothing; `IGNORED_CLAIMS` lists them.
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
"""Video grants of LiveKit that have no effect, and why."""


class VideoClaim(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The `video` object as JSON. Unknown claims are ignored: newer SDKs add some that govern features we lack."""

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
    """What the bearer may do, with every default filled in."""

    room: str = ""
    "The room that `room_join` and `room_admin` are bound to; empty: none."
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
    "May change its own name, metadata and attributes. Absent means allowed; LiveKit's default is refused."
    hidden: bool = False
    recorder: bool = False
    room_record: bool = False
    "May have the room recorded."
    room_egress: bool = False
    "May show the room to others: live by HLS, by RTMP, as a track. Ours; LiveKit's `roomRecord` means both."

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
            # Unknown names stay: dropping the only one would turn "nothing we know" into "everything".
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
