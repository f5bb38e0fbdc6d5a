"""Messages between the server and a transcoder process: msgpack with a 32-bit length prefix, over a Unix stream socket.

The process decodes untrusted media and is not trusted itself: these types bound and validate its messages.
"""

import struct
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

LIMIT: Final = 8_388_608
"""Maximum bytes of a message."""
LENGTH: Final = struct.Struct("!I")


class Message(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base class of messages."""


class LayerSpec(Struct, frozen=True, kw_only=True):
    """A video layer to encode. A size of 0: the size of the input. `bit_rate` in bits per second."""

    rid: str
    width: int
    height: int
    bit_rate: int


# -- server to transcoder ----------------------------------------------------------------------------------------------


class ConfigureAudio(Message, frozen=True, kw_only=True, tag="audio_config"):
    codec: str
    config: bytes


class ConfigureVideo(Message, frozen=True, kw_only=True, tag="video_config"):
    codec: str
    config: bytes
    layers: list[LayerSpec]


class Audio(Message, frozen=True, kw_only=True, tag="audio"):
    """One coded audio frame. `time`: media time in seconds."""

    time: float
    data: bytes


class Video(Message, frozen=True, kw_only=True, tag="video"):
    """One coded picture. `pts`: media time in 1/90000 s."""

    pts: int
    keyframe: bool
    data: bytes


class RequestKeyframe(Message, frozen=True, kw_only=True, tag="keyframe"):
    rid: str


ToTranscoder = ConfigureAudio | ConfigureVideo | Audio | Video | RequestKeyframe


# -- transcoder to server ----------------------------------------------------------------------------------------------


class Ready(Message, frozen=True, kw_only=True, tag="ready"):
    """The process has loaded its libraries."""


class Sound(Message, frozen=True, kw_only=True, tag="sound"):
    """One Opus packet of 20 ms. `pts` in samples at 48 kHz; `level` as in RFC 6464, 0 (loudest) to 127."""

    pts: Annotated[int, Meta(ge=0)]
    level: Annotated[int, Meta(ge=0, le=127)]
    data: Annotated[bytes, Meta(max_length=8192)]


class Picture(Message, frozen=True, kw_only=True, tag="picture"):
    """One H.264 picture with length-prefixed NAL units. `config`: the avcC record, with keyframes."""

    rid: Annotated[str, Meta(max_length=16)]
    pts: Annotated[int, Meta(ge=0)]
    keyframe: bool
    data: bytes
    config: bytes = b""


class Failed(Message, frozen=True, kw_only=True, tag="failed"):
    message: Annotated[str, Meta(max_length=1024)]


FromTranscoder = Ready | Sound | Picture | Failed

_encoder = msgspec.msgpack.Encoder()
decode_to_transcoder: Final = msgspec.msgpack.Decoder(ToTranscoder).decode
decode_from_transcoder: Final = msgspec.msgpack.Decoder(FromTranscoder).decode


def encode(message: ToTranscoder | FromTranscoder) -> bytes:
    """Encodes a message with its length prefix."""
    body = _encoder.encode(message)
    return LENGTH.pack(len(body)) + body
