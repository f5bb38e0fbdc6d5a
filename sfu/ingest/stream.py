"""One ingest stream: a participant of kind `ingress` with the tracks of its encoder.

It lives from the first connection of an encoder until `ingest.reconnect_timeout` seconds after the last one: an encoder
that reconnects continues the same tracks, from its next keyframe on, with continuing timestamps. Sound is transcoded to
Opus in another process; video passes if browsers can receive it (`sfu.ingest.video`) and is transcoded otherwise.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal

from sfu.forwarding.layers import Size
from sfu.ids import Identity
from sfu.ingest.rtp_source import RtpSource
from sfu.ingest.settings import Settings
from sfu.ingest.stream_keys import StreamKey
from sfu.ingest.timeline import Timeline
from sfu.ingest.transcoder import Transcoder
from sfu.ingest.transcoding import (
    Audio,
    ConfigureAudio,
    ConfigureVideo,
    LayerSpec,
    Picture,
    RequestKeyframe,
    Sound,
    Video,
)
from sfu.ingest.video import VideoFormat, picture_payloads
from sfu.resources.media_clock import ntp_time
from sfu.rooms.events import DataPacket, Delivery, LeaveReason
from sfu.rooms.media_stats import MediaStats
from sfu.rooms.participant import Participant, Profile
from sfu.rooms.permissions import Permissions
from sfu.rooms.publication import Publication
from sfu.rooms.quality import Link
from sfu.rooms.registry import Rooms
from sfu.rooms.room import Room
from sfu.rooms.track_description import LayerDescription, TrackDescription
from sfu.rtmp.flv import Tag, TagKind
from sfu.rtp.sender import RtpSender
from sfu.transport.published_track import PublishedTrack
from sfu.transport.webrtc_server import WebRtcServer

log = logging.getLogger(__name__)

REPORT_INTERVAL: Final = 1.0
TRANSCODED_BIT_RATE: Final = 4_000_000
"""Bits per second of a transcoded picture of 1080 lines; smaller ones get less, by their area."""
PERMISSIONS: Final = Permissions(subscribe=False, data=False)
SOURCE_RID: Final = "f"
"""Rid of the encoder's own video when there are lower layers."""
LAYER_RIDS: Final = ("q", "h")
ATTRIBUTE: Final = "ingest"
"""Attribute of the participant: `live`, or `waiting` while the encoder is disconnected."""

PROTOCOL_ATTRIBUTE: Final = "ingest_protocol"

State = Literal["waiting", "live"]
IngestProtocol = Literal["rtmp", "rtsp"]


class _VideoTrack:
    """A published video track: its publication, its RTP senders by rid, and the format that arrives."""

    __slots__ = ("codec", "publication", "senders", "source")

    def __init__(
        self, source: PublishedTrack, senders: dict[str, RtpSender], publication: Publication, codec: str
    ) -> None:
        self.source, self.senders, self.publication, self.codec = source, senders, publication, codec


class IngestStream:
    """A ParticipantSink. Takes parsed messages of one encoder at a time. All methods run on the event loop."""

    def __init__(
        self,
        key: StreamKey,
        protocol: IngestProtocol,
        rooms: Rooms,
        webrtc_server: WebRtcServer,
        settings: Settings,
        ended: Callable[["IngestStream"], None],
    ) -> None:
        """Joins the room. `ended` is called when the stream left it. Raises what `Rooms.join` raises."""
        self.key = key
        self.warning = ""
        "One sentence for the person at the encoder; empty: none."
        self.received_bytes = 0
        self.disconnect: Callable[[str], None] | None = None
        "Ends the connection of the encoder with a reason; None: no encoder is connected."
        self.timeline = Timeline()
        self._settings = settings
        self._ended = ended
        self._closed = False
        self._detached_at: float | None = None
        self._reported = 0.0
        self._format: VideoFormat | None = None
        self._audio_codec = ""
        self._video: _VideoTrack | None = None
        self._audio: tuple[PublishedTrack, RtpSender] | None = None
        self._needs_keyframe = True
        self._last_pts = -1
        self._transcoder: Transcoder | None = None
        self.transcoder_task: asyncio.Task[None] | None = None
        profile = Profile(
            identity=Identity(key.identity),
            permissions=PERMISSIONS,
            name=key.name,
            attributes={ATTRIBUTE: "live", PROTOCOL_ATTRIBUTE: protocol},
            auto_subscribe=False,
            may_create=True,
            kind="ingress",
            invited=True,
        )
        entry = rooms.join(key.room, profile, self)
        assert isinstance(entry, Participant)  # an invited participant skips the lobby
        self.participant = entry
        self.room: Room = rooms.find(key.room)
        self._source = RtpSource(webrtc_server, entry.id, self._keyframe_wanted)

    # -- the encoder ------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return "live" if self.disconnect is not None else "waiting"

    @property
    def codec(self) -> str:
        """Video codec of the encoder; empty: no video yet."""
        return self._format.codec if self._format is not None else ""

    @property
    def audio_codec(self) -> str:
        """Audio codec of the encoder; empty: no audio yet."""
        return self._audio_codec

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the encoder's video."""
        return (self._format.size.width, self._format.size.height) if self._format is not None else (0, 0)

    def attach(self, disconnect: Callable[[str], None]) -> None:
        """An encoder connected. One that is still connected is disconnected: it is probably the same one."""
        previous, self.disconnect = self.disconnect, disconnect
        if previous is not None:
            previous("Another encoder uses this stream key.")
        self._detached_at = None
        self._needs_keyframe = True
        self.timeline.restart()
        self._show("live")

    def detach(self, disconnect: Callable[[str], None]) -> None:
        """The encoder's connection ended. Does nothing if another encoder has taken over."""
        if self.disconnect == disconnect:
            self.disconnect = None
            self._detached_at = time.monotonic()
            self._show("waiting")

    def receive_video(self, tag: Tag, timestamp: int) -> None:
        """Raises MalformedPacket and BadRequest; the connection must then be closed."""
        if self._closed or tag.kind is TagKind.OTHER:
            return
        if tag.kind is TagKind.HEADER:
            self.use_format(VideoFormat(tag))
            return
        now = time.monotonic()
        media = self.timeline.place("video", timestamp, now) + tag.composition_ms / 1000
        form = self._format
        if form is None or form.codec != tag.codec:
            return
        if self._video is None and not (form.learn_size(tag) and self._publish_video(form)):
            return
        if self._needs_keyframe and not tag.keyframe:
            return
        self._needs_keyframe = False
        pts = max(0, round(media * 90_000))
        if form.passes:
            self._pass_picture(form, tag, pts)
        if self._transcoder is not None and (not form.passes or self._settings.layers):
            self._transcoder.send(Video(pts=pts, keyframe=tag.keyframe, data=tag.data))
        self._report(now)

    def receive_audio(self, tag: Tag, timestamp: int) -> None:
        """Raises MalformedPacket and BadRequest; the connection must then be closed."""
        if self._closed or tag.kind is TagKind.OTHER:
            return
        if tag.kind is TagKind.HEADER or tag.codec != self._audio_codec:
            self._audio_codec = tag.codec
            config = tag.data if tag.kind is TagKind.HEADER else b""
            if tag.codec != "opus":
                self._start_transcoder().configure(ConfigureAudio(codec=tag.codec, config=config))
            if self._audio is None:
                self._publish_audio()
        if tag.kind is TagKind.HEADER:
            return
        now = time.monotonic()
        media = self.timeline.place("audio", timestamp, now)
        if tag.codec == "opus":
            assert self._audio is not None
            self._source.send_sound(self._audio[1], tag.data, round(media * 48_000), -1)
        elif self._transcoder is not None:
            self._transcoder.send(Audio(time=media, data=tag.data))
        self._report(now)

    def handle_timer(self, now: float) -> None:
        """Call it about every second."""
        if self._detached_at is not None and now - self._detached_at >= self._settings.reconnect_timeout:
            self.close()

    def close(self) -> None:
        """Disconnects the encoder, leaves the room and ends the transcoder. Idempotent."""
        if self._closed:
            return
        self._closed = True
        disconnect, self.disconnect = self.disconnect, None
        if disconnect is not None:
            disconnect("The stream was ended by the server.")
        self.room.leave(self.participant)
        self._source.close()
        if self._transcoder is not None:
            self.transcoder_task = self._transcoder.close()
        self._ended(self)

    # -- video ------------------------------------------------------------------------------------------------------

    def use_format(self, form: VideoFormat) -> None:
        """The video of the encoder continues in this format."""
        if self._closed:
            return
        self._needs_keyframe = True
        self._format = form
        self._warn(form.warning)
        if self._video is not None and self._video.codec != form.published_codec:
            self._unpublish_video()
        if self._video is not None and (not form.passes or self._settings.layers):
            self._configure_video(form)

    def _publish_video(self, form: VideoFormat) -> bool:
        sizes: dict[str, Size] = {}
        layers = self._lower_layers(form)
        if layers:
            sizes = {layer.rid: Size(layer.width, layer.height) for layer in layers}
        sizes[SOURCE_RID if layers else ""] = form.size
        source, senders = self._source.publish_video(form.published_codec, sizes)
        description = TrackDescription(
            source="camera",
            width=form.size.width,
            height=form.size.height,
            layers=tuple(LayerDescription(rid=rid, width=size.width, height=size.height) for rid, size in sizes.items())
            if layers
            else (),
        )
        publication = self.room.publications.publish(self.participant, source, description)
        self._video = _VideoTrack(source, senders, publication, form.published_codec)
        if not form.passes or layers:
            self._configure_video(form)
        return True

    def _unpublish_video(self) -> None:
        if self._video is not None:
            self.room.publications.unpublish(self._video.publication)
            self._source.unpublish(self._video.source)
            self._video = None

    def _lower_layers(self, form: VideoFormat) -> list[LayerSpec]:
        if form.published_codec != "H264":
            return []
        return [
            LayerSpec(rid=rid, width=layer.width, height=layer.height, bit_rate=layer.bit_rate)
            for rid, layer in zip(LAYER_RIDS, self._settings.layers, strict=False)
            if layer.height < form.size.height
        ]

    def _configure_video(self, form: VideoFormat) -> None:
        layers = self._lower_layers(form)
        if not form.passes:
            area = form.size.width * form.size.height / (1920 * 1080)
            rate = max(300_000, round(TRANSCODED_BIT_RATE * area**0.75))
            rid = SOURCE_RID if self._video is not None and SOURCE_RID in self._video.senders else ""
            layers = [*layers, LayerSpec(rid=rid, width=0, height=0, bit_rate=rate)]
        if layers:
            self._start_transcoder().configure(ConfigureVideo(codec=form.codec, config=form.config, layers=layers))

    def _pass_picture(self, form: VideoFormat, tag: Tag, pts: int) -> None:
        video = self._video
        if video is None:
            return
        passed = form.packetize(tag)
        if not form.passes:  # the first B-frame
            self._warn(form.warning)
            self._needs_keyframe = True
            self._configure_video(form)
            return
        self._send_picture(video.senders.get("") or video.senders[SOURCE_RID], passed.payloads, pts)

    def _send_picture(self, sender: RtpSender, payloads: list[bytes], pts: int) -> None:
        if payloads:
            self._source.send_picture(sender.packets(payloads, pts))

    def _keyframe_wanted(self, ssrc: int) -> None:
        if self._transcoder is None or self._video is None:
            return  # RTMP has no request for a keyframe
        for rid, sender in self._video.senders.items():
            if sender.ssrc == ssrc:
                self._transcoder.send(RequestKeyframe(rid=rid))

    # -- sound ------------------------------------------------------------------------------------------------------

    def _publish_audio(self) -> None:
        source, sender = self._source.publish_audio()
        self.room.publications.publish(self.participant, source, TrackDescription(source="microphone"))
        self._audio = source, sender

    # -- transcoder -------------------------------------------------------------------------------------------------

    def _start_transcoder(self) -> Transcoder:
        if self._transcoder is None:
            self._transcoder = Transcoder(self.key.id, self, self._settings)
            self._transcoder.start()
        return self._transcoder

    def sound_transcoded(self, sound: Sound) -> None:
        if self._audio is not None and not self._closed:
            self._source.send_sound(self._audio[1], sound.data, sound.pts, sound.level)

    def picture_transcoded(self, picture: Picture) -> None:
        """Raises MalformedPacket: the transcoder process is not trusted."""
        video = self._video
        if video is None or self._closed:
            return
        sender = video.senders.get(picture.rid)
        if sender is not None:
            self._send_picture(sender, list(picture_payloads(picture.config, picture.data)), picture.pts)

    def transcoder_lost(self, reason: str, *, final: bool) -> None:
        self._needs_keyframe = True
        if final:
            self._warn(reason)

    # -- state ------------------------------------------------------------------------------------------------------

    def _warn(self, warning: str) -> None:
        if warning and warning != self.warning:
            log.warning("ingest stream is transcoded", extra={"ingest": self.key.id, "reason": warning})
        self.warning = warning

    def _show(self, state: State) -> None:
        if not self._closed and self.room.members.find(self.participant.id) is self.participant:
            self.room.moderation.update_participant(self.participant, attributes={ATTRIBUTE: state}, by=None)

    def _report(self, now: float) -> None:
        """Sender reports of all streams at one moment, which ties them to one clock (RFC 3550 6.4.1)."""
        if now - self._reported < REPORT_INTERVAL or self.timeline.anchor is None:
            return
        self._reported = now
        senders = [*self._video.senders.values()] if self._video is not None else []
        if self._audio is not None:
            senders.append(self._audio[1])
        media = self.timeline.media_time(now)
        for sender in senders:
            self._source.send_report(sender.report(ntp_time(now), media))

    # -- ParticipantSink --------------------------------------------------------------------------------------------

    def deliver(self, delivery: Delivery) -> None:
        pass

    def relay_data(self, packet: DataPacket, *, reliable: bool) -> None:
        pass

    def admitted(self, participant: Participant) -> None:
        pass

    def removed(self, reason: LeaveReason, message: str) -> None:
        asyncio.get_running_loop().call_soon(self._removed, message)

    def _removed(self, message: str) -> None:
        if self.disconnect is not None:
            disconnect, self.disconnect = self.disconnect, None
            disconnect(message or "The stream was removed from its room.")
        self.close()

    def links(self) -> Sequence[Link]:
        return ()

    def media_stats(self) -> MediaStats | None:
        return None
