"""sfu.ingest.rtp_source: the engine gets the packets of an ordinary publisher."""

from sfu.forwarding.layers import Size
from sfu.ingest.picture_pacer import BURST
from sfu.ingest.rtp_source import RtpSource
from sfu.resources.media_clock import ntp_time
from sfu.rtp.codecs.packetizers import vp9_payloads
from sfu.rtp.rtcp import encode_pli
from sfu.transport.settings import Settings
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.running_server import until

SIZES = {"q": Size(160, 90), "f": Size(640, 360)}
PICTURE = b"\x82I\x83B\x00" + bytes(200)
NOWHERE = ("", 0)
"""A source has no address."""


class Source(RtpSource):
    def __init__(self) -> None:
        self.server = WebRtcServer(Settings())
        self.wanted: list[int] = []
        super().__init__(self.server, "PA_1", self.wanted.append)


async def test_simulcast_layers_are_distinguished_by_ssrc() -> None:
    source = Source()
    published, senders = source.publish_video("VP9", SIZES)
    assert (published.kind, published.codec, published.stream) == ("video", "VP9", "PA_1")
    assert published.declared == SIZES
    assert len({sender.ssrc for sender in senders.values()}) == 2
    for count, rid in enumerate(SIZES, 1):
        source.send_picture(senders[rid].packets(vp9_payloads(PICTURE, 1, keyframe=True), 0))
        assert len([name for name, encoding in published.track.encodings.items() if encoding.packets]) == count
        assert published.track.encodings[rid].packets == 1
    source.close()


async def test_one_size_is_no_simulcast() -> None:
    source = Source()
    published, senders = source.publish_video("H264", {"": Size(640, 360)})
    assert list(senders) == [""]
    source.send_picture(senders[""].packets([b"\x65" + bytes(100)], 0))
    assert list(published.track.encodings) == [""]
    source.close()


async def test_sound_has_a_level_if_it_is_known() -> None:
    source = Source()
    published, sender = source.publish_audio()
    source.send_sound(sender, b"opus", 0, -1)
    assert published.take_level() is None
    source.send_sound(sender, b"opus", 960, 30)
    assert published.take_level() == 30
    source.close()


async def test_large_pictures_leave_in_slices() -> None:
    source = Source()
    published, senders = source.publish_video("H264", {"": Size(640, 360)})
    payloads = [b"\x7c\x85" + bytes(100)] * (3 * BURST)
    source.send_picture(senders[""].packets(payloads, 0))
    encoding = published.track.encodings[""]
    assert encoding.packets == BURST
    await until(lambda: encoding.packets == len(payloads))
    source.send_picture(senders[""].packets(payloads, 3000))
    source.close()
    assert not source._pacer.waiting
    assert source._timer is None


async def test_sender_reports_reach_the_engine() -> None:
    source = Source()
    published, sender = source.publish_audio()
    source.send_sound(sender, b"opus", 0, -1)
    source.send_report(sender.report(ntp_time(100.0), 0.0))
    assert published.track.encodings[""].last_report is not None
    source.close()


async def test_keyframe_requests_name_the_ssrc() -> None:
    source = Source()
    _, senders = source.publish_video("VP9", SIZES)
    ssrc = senders["q"].ssrc
    assert source.send(encode_pli(1, ssrc), NOWHERE)
    assert source.send(b"\x81\xc9 damaged", NOWHERE)
    assert source.send_segments(memoryview(b"media"), 5, NOWHERE)
    assert source.wanted == [ssrc]
    source.close()


async def test_close_removes_the_tracks() -> None:
    source = Source()
    picture, _ = source.publish_video("VP9", SIZES)
    sound, _ = source.publish_audio()
    source.unpublish(picture)
    source.unpublish(picture)
    assert (picture.track.closed, sound.track.closed) == (True, False)
    source.close()
    source.close()
    assert sound.track.closed
    assert not source.server.engine.peers
