"""The programme in the room itself: a participant of its own that publishes what the worker sends back (H.264 and Opus).

Whoever needs the programme within a second, or has only one decoder, subscribes to it over WebRTC like to anybody. It is
not part of the programme, and receives nothing.
"""

import secrets
from collections.abc import Callable, Sequence

from sfu.forwarding.selector import Size
from sfu.ids import Identity
from sfu.rooms.events import Delivery, LeaveReason
from sfu.rooms.media_stats import Account
from sfu.rooms.participant import Participant, Profile
from sfu.rooms.permissions import Permissions
from sfu.rooms.publication import Description
from sfu.rooms.quality import Link
from sfu.rooms.room import Room
from sfu.transport.plain_transport import Feed

NAME = "Programme"


class Presence:
    """A ParticipantSink."""

    def __init__(self, room: Room, feed: Feed, size: Size, secret: str, removed: Callable[[], None]) -> None:
        """`secret`: makes the identity; `removed`: somebody sent it away. Raises what `Room.enter` raises."""
        self._room = room
        self._removed = removed
        self.video_ssrc, self.audio_ssrc = secrets.randbits(31) | 1, secrets.randbits(31) & ~1 | 2
        permissions = Permissions(subscribe=False, data=False, recorder=True)
        profile = Profile(
            identity=Identity(f"programme-track:{secret}"), permissions=permissions, name=NAME, auto_subscribe=False
        )
        seat = room.enter(profile, self)
        assert isinstance(seat, Participant)  # recorders pass doors
        self.participant = seat
        self._feed = feed
        video = feed.publish("video", "H264", self.video_ssrc, size)
        audio = feed.publish("audio", "opus", self.audio_ssrc)
        self._media = (video, audio)
        stage = room.stage
        stage.publish(seat, video, Description(source="screen_share", name=NAME, width=size.width, height=size.height))
        stage.publish(seat, audio, Description(source="screen_share_audio", name=NAME))

    def close(self) -> None:
        """Idempotent."""
        self._room.leave(self.participant)
        for media in self._media:
            self._feed.unpublish(media)

    # -- ParticipantSink --------------------------------------------------------------------------------------------

    def deliver(self, delivery: Delivery) -> None:
        pass

    def relay(self, text: str, *, reliable: bool) -> None:
        pass

    def admitted(self, participant: Participant) -> None:
        pass

    def removed(self, reason: LeaveReason, message: str) -> None:
        self._removed()

    def links(self) -> Sequence[Link]:
        return ()

    def account(self) -> Account | None:
        return None
