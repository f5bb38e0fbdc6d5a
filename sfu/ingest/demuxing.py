"""Messages between the server and an RTSP demuxer process: msgpack with a 32-bit length prefix, over a Unix stream socket.

The process parses untrusted data and is not trusted itself: these types bound and validate its messages.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from sfu.ingest.transcoding import LENGTH, Failed, Message, Ready

VIDEO_CODECS: Final = {"h264": "H264", "hevc": "HEVC", "mpeg4": "MPEG4", "mjpeg": "MJPEG", "vp8": "VP8"}
"""Names by libavcodec's names. H.264 passes when browsers can receive it; the others are transcoded."""
AUDIO_CODECS: Final = {"aac": "AAC", "pcm_alaw": "PCMA", "pcm_mulaw": "PCMU", "opus": "opus"}

Time = Annotated[int, Meta(ge=0, lt=1 << 32)]
Config = Annotated[bytes, Meta(max_length=65_536)]


class Open(Message, frozen=True, kw_only=True, tag="open"):
    """Server to process. The URL has credentials, so it is neither an argument nor in the environment."""

    url: str


class Opened(Message, frozen=True, kw_only=True, tag="opened"):
    """The camera plays. `ignored`: codecs that are not supported."""

    ignored: Annotated[list[Annotated[str, Meta(max_length=32)]], Meta(max_length=8)]


class VideoConfig(Message, frozen=True, kw_only=True, tag="video_config"):
    """`config`: the avcC record for H.264, else the extradata of libavcodec."""

    codec: Literal["H264", "HEVC", "MPEG4", "MJPEG", "VP8"]
    config: Config
    width: Annotated[int, Meta(ge=0, le=16_384)]
    height: Annotated[int, Meta(ge=0, le=16_384)]


class AudioConfig(Message, frozen=True, kw_only=True, tag="audio_config"):
    codec: Literal["AAC", "PCMA", "PCMU", "opus"]
    config: Config


class VideoPacket(Message, frozen=True, kw_only=True, tag="video"):
    """One picture. `time`: presentation time in milliseconds modulo 2³². H.264 has length-prefixed NAL units."""

    time: Time
    keyframe: bool
    data: bytes


class AudioPacket(Message, frozen=True, kw_only=True, tag="audio"):
    time: Time
    data: bytes


FromDemuxer = Ready | Opened | VideoConfig | AudioConfig | VideoPacket | AudioPacket | Failed

_encoder = msgspec.msgpack.Encoder()
decode_open: Final = msgspec.msgpack.Decoder(Open).decode
decode_from_demuxer: Final = msgspec.msgpack.Decoder(FromDemuxer).decode


def encode(message: Open | FromDemuxer) -> bytes:
    """Encodes a message with its length prefix."""
    body = _encoder.encode(message)
    return LENGTH.pack(len(body)) + body
