"""Messages of an RTSP demuxer process: framing, and bounds of an untrusted sender."""

from typing import Any

import msgspec
import pytest

from sfu.ingest.demuxing import (
    AudioConfig,
    FromDemuxer,
    Open,
    Opened,
    VideoConfig,
    VideoPacket,
    decode_from_demuxer,
    decode_open,
    encode,
)
from tests.ingest.framing import body


def test_both_directions_round_trip() -> None:
    opening = Open(url="rtsp://user:password@camera/1")
    assert decode_open(body(encode(opening))) == opening
    answers: tuple[FromDemuxer, ...] = (
        Opened(ignored=["hevc"]),
        AudioConfig(codec="PCMA", config=b""),
        VideoPacket(time=(1 << 32) - 1, keyframe=True, data=b"x"),
    )
    for answer in answers:
        assert decode_from_demuxer(body(encode(answer))) == answer


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (VideoPacket, {"time": 1 << 32, "keyframe": False, "data": b""}),
        (VideoPacket, {"time": -1, "keyframe": False, "data": b""}),
        (VideoConfig, {"codec": "H264", "config": bytes(65_537), "width": 0, "height": 0}),
        (VideoConfig, {"codec": "H264", "config": b"", "width": 16_385, "height": 0}),
        (VideoConfig, {"codec": "AV1", "config": b"", "width": 0, "height": 0}),
        (AudioConfig, {"codec": "MP3", "config": b""}),
        (Opened, {"ignored": [""] * 9}),
        (Opened, {"ignored": ["x" * 33]}),
        (Open, {"url": ""}),
    ],
)
def test_the_server_refuses_messages_out_of_bounds(kind: type[FromDemuxer | Open], fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_from_demuxer(body(encode(kind(**fields))))
