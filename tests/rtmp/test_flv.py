"""sfu.rtmp.flv: bodies of audio and video messages, and what is refused."""

import pytest

from sfu.errors import BadRequest, MalformedPacket
from sfu.rtmp.flv import Tag, TagKind, audio_body, parse_audio, parse_video, video_body

FRAME, HEADER, OTHER = TagKind.FRAME, TagKind.HEADER, TagKind.OTHER


@pytest.mark.parametrize(
    ("body", "tag"),
    [
        (video_body(b"avcc", keyframe=True, header=True), Tag(HEADER, "H264", b"avcc")),
        (video_body(b"idr", keyframe=True), Tag(FRAME, "H264", b"idr", True)),
        (b"\x27\1\xff\xff\xfepicture", Tag(FRAME, "H264", b"picture", False, -2)),
        (b"\x17\2\0\0\0", Tag(OTHER, "H264", b"")),
        (b"\x57\0", Tag(OTHER, "", b"")),
        (b"", Tag(OTHER, "", b"")),
        (b"\x90avc1config", Tag(HEADER, "H264", b"config")),
        (b"\x91avc1\0\0\x21idr", Tag(FRAME, "H264", b"idr", True, 33)),
        (b"\xa3avc1picture", Tag(FRAME, "H264", b"picture", False)),
        (b"\x90av01config", Tag(HEADER, "AV1", b"config")),
        (b"\x91av01unit", Tag(FRAME, "AV1", b"unit", True)),
        (b"\xa1vp09frame", Tag(FRAME, "VP9", b"frame", False)),
        (b"\xa4av01colours", Tag(OTHER, "AV1", b"")),
        (b"\x97\x02\0\0\1\x01av01unit", Tag(FRAME, "AV1", b"unit", True)),
    ],
)
def test_video(body: bytes, tag: Tag) -> None:
    assert parse_video(body) == tag


@pytest.mark.parametrize(
    ("body", "tag"),
    [
        (audio_body(b"config", header=True), Tag(HEADER, "AAC", b"config", True)),
        (audio_body(b"sound"), Tag(FRAME, "AAC", b"sound", True)),
        (b"\x2fmp3", Tag(FRAME, "MP3", b"mp3", True)),
        (b"\x90Opushead", Tag(HEADER, "opus", b"head")),
        (b"\x91Opuspacket", Tag(FRAME, "opus", b"packet", True)),
        (b"\x91mp4asound", Tag(FRAME, "AAC", b"sound", True)),
        (b"\x94Opus", Tag(OTHER, "opus", b"")),
    ],
)
def test_audio(body: bytes, tag: Tag) -> None:
    assert parse_audio(body) == tag


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\x90hvc1", "HEVC"), (b"\x1c\0\0\0\0", "HEVC"), (b"\x90\x01\x02vv", "??vv"), (b"\x22", "Sorenson"),
        (b"\x96\x01", "Multitrack"),
    ],
)  # fmt: skip
def test_refused_video(body: bytes, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason.replace("?", r"\?")):
        parse_video(body)


@pytest.mark.parametrize(("body", "reason"), [(b"\xb2", "Speex"), (b"\x95", "Multitrack"), (b"\x90ac-3", "ac-3")])
def test_refused_audio(body: bytes, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        parse_audio(body)


@pytest.mark.parametrize(
    "body", [b"\x17\1\0", b"\x91av", b"\x91avc1\0", b"\x97", b"\x97\xff", b"\x9fav01", b"\x97\0\0\7" * 20]
)
def test_malformed_video(body: bytes) -> None:
    with pytest.raises(MalformedPacket):
        parse_video(body)


@pytest.mark.parametrize("body", [b"\xaf", b"\x91Op"])
def test_malformed_audio(body: bytes) -> None:
    with pytest.raises(MalformedPacket):
        parse_audio(body)
