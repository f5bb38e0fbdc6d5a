"""Participant that publishes the mix, which the worker sends back as H.264 and Opus, into its own room.

It serves viewers who need latency below one second or can decode only one video: they subscribe to it over WebRTC. The
mix does not include it, and it receives no media.
"""

import secrets
from collections.abc import Callable, Sequence

from sfu.forwarding.layers import Size
from sfu.ids import Identity
from sfu.rooms.events import DataPacket, Delivery, LeaveReason
from sfu.rooms.media_stats import MediaStats
from sfu.rooms.participant import Participant, Profile
from sfu.rooms.permissions import Permissions
from sfu.rooms.quality import Link
from sfu.rooms.room import Room
from sfu.rooms.track_description import TrackDescription
from sfu.transport.plain_transport import EncodingParameters, PlainTransport

NAME = "Live mix"


class OutputParticipant:
    """A ParticipantSink that ignores all events."""

    def __init__(
        self, room: Room, plain_transport: PlainTransport, size: Size, secret: str, removed: Callable[[], None]
    ) -> None:
        """`secret` is part of the identity. `removed` is called when the participant is removed from the room.

        Raises what `Room.join` raises.
        """
        self._room = room
        self._removed = removed
        self.video_ssrc, self.audio_ssrc = secrets.randbits(31) | 1, secrets.randbits(31) & ~1 | 2
        permissions = Permissions(subscribe=False, data=False, recorder=True)
        profile = Profile(
            identity=Identity(f"egress:{secret}"), permissions=permissions, name=NAME, auto_subscribe=False
        )
        participant = room.join(profile, self)
        assert isinstance(participant, Participant)  # recorders skip the lobby
        self.participant = participant
        self._plain_transport = plain_transport
        video = plain_transport.publish("video", "H264", [EncodingParameters(self.video_ssrc, size=size)])
        audio = plain_transport.publish("audio", "opus", [EncodingParameters(self.audio_ssrc)])
        self._media = (video, audio)
        publications = room.publications
        publications.publish(
            participant, video, TrackDescription(source="screen_share", name=NAME, width=size.width, height=size.height)
        )
        publications.publish(participant, audio, TrackDescription(source="screen_share_audio", name=NAME))

    def close(self) -> None:
        """Leaves the room. Idempotent."""
        self._room.leave(self.participant)
        for media in self._media:
            self._plain_transport.unpublish(media)

    # -- ParticipantSink --------------------------------------------------------------------------------------------

    def deliver(self, delivery: Delivery) -> None:
        pass

    def relay_data(self, packet: DataPacket, *, reliable: bool) -> None:
        pass

    def admitted(self, participant: Participant) -> None:
        pass

    def removed(self, reason: LeaveReason, message: str) -> None:
        self._removed()

    def links(self) -> Sequence[Link]:
        return ()

    def media_stats(self) -> MediaStats | None:
        return None
