"""sfu.ingest.stream: the participant and the tracks of one encoder, over reconnects and changes of format.

Without a transcoder process: a recording one takes its place.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from sfu.errors import BadRequest, MalformedPacket
from sfu.ingest import stream as stream_module
from sfu.ingest.settings import Settings
from sfu.ingest.stream import IngestStream
from sfu.ingest.stream_keys import StreamKey
from sfu.ingest.transcoding import (
    Audio,
    ConfigureAudio,
    ConfigureVideo,
    LayerSpec,
    Picture,
    RequestKeyframe,
    Sound,
    ToTranscoder,
    Video,
)
from sfu.ingest.video import B_FRAMES
from sfu.rooms.publication import Publication
from sfu.rtmp.flv import Tag, TagKind
from sfu.rtp.rtcp import encode_pli
from sfu.transport.published_track import PublishedTrack
from sfu.transport.settings import Settings as TransportSettings
from sfu.transport.webrtc_server import WebRtcServer
from tests.rooms.fakes import RoomsFixture
from tests.support.running_server import until
from tests.support.x264 import encode_h264

PICTURES = list(np.random.default_rng(1).integers(16, 235, (3, 96, 96), np.uint8))
KEY = StreamKey("IN_1", "standup", "encoder", "Camera", "", 0.0)
OPUS = Tag(TagKind.FRAME, "opus", b"opus", True)
AAC = Tag(TagKind.HEADER, "AAC", b"\x12\x10")
CONFIG, FRAMES = encode_h264(PICTURES)
HEADER = Tag(TagKind.HEADER, "H264", CONFIG)
B_CONFIG, _ = encode_h264(PICTURES, b_frames=2)


NOWHERE = ("", 0)
"""A source has no address."""


class RecordingTranscoder:
    """Keeps the messages for the process."""

    started: list["RecordingTranscoder"]

    def __init__(self, name: str, listener: object, settings: Settings) -> None:
        self.messages: list[ToTranscoder] = []
        self.open = False

    def start(self) -> None:
        self.open = True
        self.started.append(self)

    def configure(self, message: ToTranscoder) -> None:
        self.messages.append(message)

    send = configure

    def close(self) -> None:
        self.open = False

    def take(self) -> list[ToTranscoder]:
        taken, self.messages = self.messages, []
        return taken


class Encoder:
    """A stream and the encoder that feeds it."""

    def __init__(self, **settings: Any) -> None:
        self.fixture = RoomsFixture()
        self.ada = self.fixture.join("ada", admin=True)
        self.fixture.room.moderation.update(self.ada, lobby=True)
        self.webrtc_server = WebRtcServer(TransportSettings())
        self.ended: list[IngestStream] = []
        self.reasons: list[str] = []
        self.stream = IngestStream(
            KEY, "rtmp", self.fixture.rooms, self.webrtc_server, Settings(**settings), self.ended.append
        )
        self.stream.attach(self.disconnect)
        self.time = 0

    def disconnect(self, reason: str) -> None:
        self.reasons.append(reason)

    def send(self, *frames: bytes, header: Tag | None = None) -> None:
        """Sends pictures; the first one is a keyframe."""
        if header is not None:
            self.stream.receive_video(header, self.time)
        for index, frame in enumerate(frames):
            self.time += 33
            self.stream.receive_video(Tag(TagKind.FRAME, "H264", frame, not index), self.time)

    def publications(self) -> dict[str, Publication]:
        return {one.media.kind: one for one in self.stream.participant.publications.values()}

    def packets(self, kind: str = "video") -> dict[str, int]:
        """Packets that the engine got, by rid."""
        media = self.publications()[kind].media
        assert isinstance(media, PublishedTrack)
        return {rid: encoding.packets for rid, encoding in media.track.encodings.items()}


@pytest.fixture(autouse=True)
def transcoders(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[RecordingTranscoder]]:
    RecordingTranscoder.started = []
    monkeypatch.setattr(stream_module, "Transcoder", RecordingTranscoder)
    yield RecordingTranscoder.started
    assert not any(one.open for one in RecordingTranscoder.started)


async def test_the_encoder_is_an_ingress_participant_past_the_lobby() -> None:
    encoder = Encoder()
    participant = encoder.stream.participant
    assert (participant.identity, participant.name, participant.kind) == ("encoder", "Camera", "ingress")
    assert participant.attributes == {"ingest": "live", "ingest_protocol": "rtmp"}
    assert not participant.permissions.subscribe
    encoder.stream.close()


async def test_h264_and_opus_pass_without_a_process(transcoders: list[RecordingTranscoder]) -> None:
    encoder = Encoder()
    encoder.send(*FRAMES, header=HEADER)
    encoder.stream.receive_audio(OPUS, 0)
    assert transcoders == []
    video, audio = encoder.publications()["video"], encoder.publications()["audio"]
    assert (video.description.source, video.description.width, video.description.layers) == ("camera", 96, ())
    assert audio.description.source == "microphone"
    assert (encoder.stream.codec, encoder.stream.audio_codec, encoder.stream.size) == ("H264", "opus", (96, 64))
    assert encoder.packets()[""] >= len(FRAMES)
    assert encoder.packets("audio") == {"": 1}
    encoder.stream.close()


async def test_nothing_is_sent_before_a_keyframe() -> None:
    encoder = Encoder()
    for keyframe, published in ((False, True), (True, True)):
        encoder.stream.receive_video(HEADER, 0)
        encoder.stream.receive_video(Tag(TagKind.FRAME, "H264", FRAMES[0], keyframe), 33)
        assert ("video" in encoder.publications()) is published
        assert (encoder.packets()[""] > 0) is keyframe
    sent = encoder.packets()[""]
    encoder.stream.receive_video(Tag(TagKind.OTHER, "", b""), 66)
    encoder.stream.receive_video(Tag(TagKind.FRAME, "VP9", b"late", True), 66)
    assert encoder.packets()[""] == sent
    encoder.stream.close()


async def test_other_sound_is_transcoded(transcoders: list[RecordingTranscoder]) -> None:
    encoder = Encoder()
    encoder.stream.receive_audio(AAC, 0)
    encoder.stream.receive_audio(Tag(TagKind.FRAME, "AAC", b"frame", True), 40)
    (one,) = transcoders
    configure, audio = one.take()
    assert configure == ConfigureAudio(codec="AAC", config=AAC.data)
    assert isinstance(audio, Audio)
    assert audio.data == b"frame"
    encoder.stream.sound_transcoded(Sound(pts=0, level=30, data=b"opus"))
    assert encoder.packets("audio") == {"": 1}
    encoder.stream.close()
    encoder.stream.sound_transcoded(Sound(pts=960, level=30, data=b"opus"))


async def test_pictures_that_cannot_pass_are_transcoded(transcoders: list[RecordingTranscoder]) -> None:
    encoder = Encoder()
    encoder.send(*FRAMES[:1], header=Tag(TagKind.HEADER, "H264", B_CONFIG))
    (one,) = transcoders
    configure, video = one.take()
    assert configure == ConfigureVideo(
        codec="H264", config=B_CONFIG, layers=[LayerSpec(rid="", width=0, height=0, bit_rate=300_000)]
    )
    assert isinstance(video, Video)
    assert video.keyframe
    assert encoder.stream.warning == B_FRAMES
    assert encoder.packets() == {"": 0}
    encoder.stream.picture_transcoded(Picture(rid="", pts=0, keyframe=True, data=FRAMES[0], config=CONFIG))
    encoder.stream.picture_transcoded(Picture(rid="x", pts=0, keyframe=True, data=FRAMES[0], config=CONFIG))
    assert encoder.packets()[""] > 0
    with pytest.raises(MalformedPacket):
        encoder.stream.picture_transcoded(Picture(rid="", pts=1, keyframe=True, data=b"", config=b"damaged"))
    encoder.stream.close()


async def test_the_first_b_frame_starts_the_transcoder(transcoders: list[RecordingTranscoder]) -> None:
    _, frames = encode_h264(PICTURES, b_frames=2)
    encoder = Encoder()
    encoder.send(*frames, header=HEADER)
    (one,) = transcoders
    assert [type(each) for each in one.take()][:1] == [ConfigureVideo]
    assert encoder.stream.warning == B_FRAMES
    encoder.stream.close()


async def test_lower_layers_are_encoded_beside_the_encoders_own(transcoders: list[RecordingTranscoder]) -> None:
    encoder = Encoder(renditions=("32x32@50", "160x96@90"))
    encoder.send(*FRAMES, header=HEADER)
    (one,) = transcoders
    configure, *videos = one.take()
    # A layer as high as the source would add nothing.
    assert configure == ConfigureVideo(
        codec="H264", config=CONFIG, layers=[LayerSpec(rid="q", width=32, height=32, bit_rate=50_000)]
    )
    assert len(videos) == len(FRAMES)
    layers = encoder.publications()["video"].description.layers
    assert [(layer.rid, layer.width, layer.height) for layer in layers] == [("q", 32, 32), ("f", 96, 64)]
    assert (encoder.packets()["q"], encoder.packets()["f"] > 0) == (0, True)
    encoder.stream.picture_transcoded(Picture(rid="q", pts=0, keyframe=True, data=FRAMES[0], config=CONFIG))
    assert encoder.packets()["q"] > 0
    encoder.stream.close()


async def test_keyframe_requests_reach_the_transcoder(transcoders: list[RecordingTranscoder]) -> None:
    encoder = Encoder(renditions=("32x32@50",))
    encoder.send(*FRAMES, header=HEADER)
    encoder.stream.picture_transcoded(Picture(rid="q", pts=0, keyframe=True, data=FRAMES[0], config=CONFIG))
    media = encoder.publications()["video"].media
    assert isinstance(media, PublishedTrack)
    transcoders[0].take()
    encoder.stream._source.send(encode_pli(1, media.track.encodings["q"].ssrc), NOWHERE)
    encoder.stream._source.send(encode_pli(1, 7), NOWHERE)
    assert transcoders[0].take() == [RequestKeyframe(rid="q")]
    encoder.stream.close()


async def test_a_reconnect_continues_the_tracks() -> None:
    encoder = Encoder(reconnect_timeout=5.0)
    encoder.send(*FRAMES, header=HEADER)
    track, sent = encoder.publications()["video"].id, encoder.packets()[""]
    encoder.stream.detach(encoder.disconnect)
    assert (encoder.stream.state, encoder.stream.participant.attributes["ingest"]) == ("waiting", "waiting")
    encoder.stream.handle_timer(time.monotonic() + 4.0)
    encoder.stream.attach(encoder.disconnect)
    assert (encoder.stream.state, encoder.stream.participant.attributes["ingest"]) == ("live", "live")
    encoder.stream.receive_video(Tag(TagKind.FRAME, "H264", FRAMES[1]), 0)  # not a keyframe
    assert encoder.packets()[""] == sent
    encoder.send(*FRAMES)
    assert encoder.publications()["video"].id == track
    assert encoder.packets()[""] > sent
    encoder.stream.handle_timer(time.monotonic() + 60.0)
    assert encoder.ended == []
    encoder.stream.close()


async def test_an_encoder_that_stays_away_ends_the_stream() -> None:
    encoder = Encoder(reconnect_timeout=5.0)
    encoder.stream.detach(encoder.disconnect)
    encoder.stream.handle_timer(time.monotonic() + 6.0)
    assert encoder.ended == [encoder.stream]
    assert encoder.fixture.room.members.find_by_identity(encoder.stream.participant.identity) is None
    encoder.stream.close()
    assert len(encoder.ended) == 1
    assert not encoder.webrtc_server.engine.peers


async def test_a_second_encoder_replaces_the_first() -> None:
    encoder = Encoder()
    others: list[str] = []
    encoder.stream.attach(others.append)
    assert encoder.reasons == ["Another encoder uses this stream key."]
    encoder.stream.detach(encoder.disconnect)  # the first connection ends
    assert encoder.stream.state == "live"
    encoder.stream.close()
    assert others == ["The stream was ended by the server."]


async def test_another_codec_is_another_track() -> None:
    encoder = Encoder()
    encoder.send(*FRAMES, header=HEADER)
    first = encoder.publications()["video"]
    encoder.stream.receive_video(Tag(TagKind.HEADER, "VP9", b""), 200)
    assert encoder.publications() == {}
    assert encoder.stream.size == (0, 0)
    encoder.send(*FRAMES, header=HEADER)
    assert encoder.publications()["video"].id != first.id
    encoder.stream.close()


async def test_a_transcoder_that_gave_up_is_a_warning() -> None:
    encoder = Encoder()
    encoder.stream.transcoder_lost("It exited.", final=False)
    assert encoder.stream.warning == ""
    encoder.stream.transcoder_lost("It exited.", final=True)
    assert encoder.stream.warning == "It exited."
    encoder.stream.close()


async def test_removal_from_the_room_disconnects_the_encoder() -> None:
    encoder = Encoder()
    encoder.fixture.room.moderation.kick(encoder.ada, encoder.stream.participant.id, "Not now.")
    assert encoder.ended == []  # a sink does not call back into the room
    await until(lambda: encoder.ended == [encoder.stream])
    assert encoder.reasons == ["You were removed from the room: Not now."]


async def test_damaged_media_is_refused() -> None:
    encoder = Encoder()
    with pytest.raises((MalformedPacket, BadRequest)):
        encoder.stream.receive_video(Tag(TagKind.HEADER, "H264", b"damaged"), 0)
    encoder.send(*FRAMES, header=HEADER)
    with pytest.raises(MalformedPacket):
        encoder.send(FRAMES[0][:-1])
    encoder.stream.close()
    encoder.send(FRAMES[0][:-1])  # ignored after the end
    encoder.stream.receive_audio(OPUS, 0)
    assert encoder.publications() == {}
