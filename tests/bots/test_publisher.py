"""sfu.bots.publisher: the packets, the descriptions and the answers to feedback of a publishing bot.

Without a network: the connection keeps what is sent.
"""

import pytest

from sfu.bots.descriptions import AUDIO_MID, VIDEO_MID, VP8_RTX
from sfu.bots.media_sources import Camera, Layer, Microphone, Picture, Sound
from sfu.bots.outbound import EXT_AUDIO_LEVEL, EXT_MID, EXT_RID, EXT_TRANSPORT_CC
from sfu.bots.publisher import RESENDS_PER_REPORT, SILENCE, PublishingConnection
from sfu.bots.voice import SILENT, Turn
from sfu.rtp import rtcp
from sfu.sdp.answer import accept_offer
from sfu.sdp.description import parse
from sfu.signaling.messages import LayerSpec
from sfu.transport.dtls import Identity
from tests.bots.test_media_sources import Grey
from tests.support.wire import Rtp

LAYERS = (Layer("h", 160, 90, 50_000), Layer("f", 320, 180, 100_000))
PICTURE = Picture((b"first", b"second"), 3000, key=True)
IDENTITY = Identity()


class Publisher(PublishingConnection):
    """Attached to a camera and a microphone that do not run."""

    def __init__(self, *, layers: tuple[Layer, ...] = LAYERS, audio: bool = True, turn: Turn | None = None) -> None:
        self.camera = Camera(Grey(), layers, 10) if layers else None
        self.microphone = Microphone(Grey()) if audio else None
        self.losses: list[str] = []
        super().__init__(IDENTITY, self.camera, self.microphone, turn=turn or Turn(), lost=self.losses.append)
        self.rtp: list[Rtp] = []
        self.rtcp: list[object] = []
        self.connection.send_rtp = lambda packet: self.rtp.append(Rtp.parse(packet))  # type: ignore[method-assign]  # no network
        self.connection.send_rtcp = lambda packet: self.rtcp.extend(rtcp.parse(packet))  # type: ignore[method-assign]

    def take(self) -> list[Rtp]:
        taken, self.rtp = self.rtp, []
        return taken


async def test_the_server_accepts_the_offer_and_the_tracks_describe_it() -> None:
    publisher = Publisher()
    accepted = accept_offer(parse(publisher.offer()))
    assert [(track.mid, track.kind, track.rids) for track in accepted.tracks] == [
        (AUDIO_MID, "audio", ()),
        (VIDEO_MID, "video", ("h", "f")),
    ]
    audio, video = publisher.tracks({VIDEO_MID: "TR_9"})
    assert (audio.mid, audio.track, audio.source) == (AUDIO_MID, "", "microphone")
    assert (video.mid, video.track, video.width, video.height) == (VIDEO_MID, "TR_9", 320, 180)
    assert video.layers == [
        LayerSpec(rid=one.rid, width=one.width, height=one.height, fps=10, bitrate=one.bitrate) for one in LAYERS
    ]
    assert publisher.offer() != publisher.offer()  # the version increases


@pytest.mark.parametrize(("layers", "audio", "mids"), [((), True, [AUDIO_MID]), (LAYERS[:1], False, [VIDEO_MID])])
async def test_without_camera_or_microphone(layers: tuple[Layer, ...], audio: bool, mids: list[str]) -> None:
    publisher = Publisher(layers=layers, audio=audio)
    assert [track.mid for track in publisher.tracks({})] == mids
    assert [track.mid for track in accept_offer(parse(publisher.offer())).tracks] == mids
    assert all(not track.layers for track in publisher.tracks({}))
    publisher.send_sound(Sound(b"opus", 960, 30, 0.0))
    assert bool(publisher.take()) is audio


async def test_pictures_and_sound_become_rtp() -> None:
    publisher = Publisher()
    publisher.send_picture(1, PICTURE)
    publisher.send_sound(Sound(b"opus", 960, 30, 0.0))
    first, second, sound = publisher.take()
    assert (first.ssrc, second.ssrc) == (publisher.video[1].ssrc,) * 2
    assert (first.marker, second.marker, second.sequence - first.sequence) == (False, True, 1)
    assert (first.extensions[EXT_MID], first.extensions[EXT_RID]) == (VIDEO_MID.encode(), b"f")
    assert (sound.payload, sound.extensions[EXT_AUDIO_LEVEL]) == (b"opus", bytes([0x80 | 30]))
    numbers = [int.from_bytes(one.extensions[EXT_TRANSPORT_CC], "big") for one in (first, second, sound)]
    assert [(number - numbers[0]) & 0xFFFF for number in numbers] == [0, 1, 2]


async def test_a_bot_is_silent_outside_its_turn() -> None:
    publisher = Publisher(turn=Turn(index=1, count=2, seconds=10.0))
    for at in (5.0, 15.0, 19.5):
        publisher.send_sound(Sound(b"opus", 960, 30, at))
    assert [one.payload for one in publisher.take()] == [SILENCE, b"opus", SILENCE]
    assert [publisher.speaks(at) for at in (5.0, 15.0, 19.5)] == [False, True, False]
    publisher.send_sound(Sound(b"opus", 960, 30, 5.0))
    assert publisher.take()[0].extensions[EXT_AUDIO_LEVEL] == bytes([SILENT])


async def test_muted_tracks_send_nothing() -> None:
    publisher = Publisher()
    publisher.muted[VIDEO_MID] = publisher.muted[AUDIO_MID] = True
    publisher.send_picture(0, PICTURE)
    publisher.send_sound(Sound(b"opus", 960, 30, 0.0))
    assert publisher.take() == []
    assert not publisher.speaks(0.0)


async def test_lost_packets_are_sent_again_as_rtx() -> None:
    publisher = Publisher()
    publisher.send_picture(0, PICTURE)
    lost, _ = publisher.take()
    stream = publisher.video[0]
    publisher.rtcp_received(rtcp.encode_nack(1, stream.ssrc, [lost.sequence, lost.sequence + 9]), 0.0)
    publisher.rtcp_received(rtcp.encode_nack(1, 7, [lost.sequence]), 0.0)
    (again,) = publisher.take()
    assert (again.ssrc, again.payload_type) == (stream.rtx_ssrc, VP8_RTX)
    assert again.payload == lost.sequence.to_bytes(2, "big") + b"first"


async def test_resends_per_report_are_bounded() -> None:
    publisher = Publisher()
    for _ in range(RESENDS_PER_REPORT):
        publisher.send_picture(0, PICTURE)
    sequences = [one.sequence for one in publisher.take()]
    publisher.rtcp_received(rtcp.encode_nack(1, publisher.video[0].ssrc, sequences), 0.0)
    assert len(publisher.take()) == RESENDS_PER_REPORT


async def test_reports_and_keyframe_requests_are_counted() -> None:
    publisher = Publisher()
    stream = publisher.video[0]
    block = rtcp.ReportBlock(stream.ssrc, 64, 5, 0, 0, 0, 0)
    publisher.rtcp_received(rtcp.encode_receiver_report(rtcp.ReceiverReport(1, (block,))), 0.0)
    assert (stream.known, stream.reported_lost, stream.fraction_lost) == (True, 5, 0.25)
    publisher.send_picture(0, PICTURE)
    assert EXT_MID not in publisher.take()[0].extensions
    publisher.rtcp_received(rtcp.encode_pli(1, stream.ssrc), 0.0)
    publisher.rtcp_received(rtcp.encode_full_intra_request(1, stream.ssrc, 1), 0.0)
    publisher.rtcp_received(b"\x81\xc9 damaged", 0.0)
    assert publisher.keyframes_asked == 2


async def test_streams_that_sent_are_reported_once_a_second() -> None:
    publisher = Publisher()
    publisher.send_picture(0, PICTURE)
    for now in (100.0, 100.1, 101.5):
        publisher.handle_timer(now)
    reports = [one for one in publisher.rtcp if isinstance(one, rtcp.SenderReport)]
    assert [(one.ssrc, one.packets) for one in reports] == [(publisher.video[0].ssrc, 2)] * 2


async def test_sources_are_attached_while_connected() -> None:
    publisher = Publisher()
    assert publisher.camera is not None
    publisher.connected()
    assert publisher.camera._sinks == [publisher.send_picture]
    publisher.lost("no answer")
    assert (publisher.camera._sinks, publisher.losses) == ([], ["no answer"])
    publisher.connected()
    publisher.close()
    publisher.close()
    assert publisher.camera._sinks == []
