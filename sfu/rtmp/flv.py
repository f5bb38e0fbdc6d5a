"""Bodies of RTMP audio and video messages: FLV tags with the additions of Enhanced RTMP.

Adobe Flash Video File Format 10.1, annex E.4.2 and E.4.3; Enhanced RTMP v2 (Veovera, 2024): FourCC codecs, packet types,
ModEx. Codecs that browsers cannot receive over WebRTC, and multitrack streams, are refused with a reason for the person
at the encoder.
"""

import enum
from typing import Final, NamedTuple

from sfu.errors import BadRequest, MalformedPacket

VIDEO_FOURCCS: Final = ("avc1", "av01", "vp09")
"""FourCCs of accepted video codecs, as an RTMP server announces them."""
_CODECS: Final = {b"avc1": "H264", b"av01": "AV1", b"vp09": "VP9"}
_SOUND_CODECS: Final = {b"mp4a": "AAC", b".mp3": "MP3", b"Opus": "opus"}
_LEGACY_VIDEO: Final = {2: "Sorenson H.263", 3: "Screen video", 4: "VP6", 5: "VP6", 6: "Screen video 2", 12: "HEVC"}
_LEGACY_AUDIO: Final = {0: "PCM", 1: "ADPCM", 3: "PCM", 7: "G.711", 8: "G.711", 11: "Speex"}
_AVC, _AAC, _ENHANCED_AUDIO = 7, 10, 9
_MP3: Final = (2, 14)
_COMMAND_FRAME: Final = 5
_MULTITRACK_VIDEO, _MODEX_VIDEO, _MULTITRACK_AUDIO, _MODEX_AUDIO = 6, 7, 5, 7
_MODEX_LIMIT: Final = 8
"""ModEx entries of one message; one is defined."""


class TagKind(enum.Enum):
    HEADER = "header"
    "Decoder configuration."
    FRAME = "frame"
    OTHER = "other"
    "Without media: end of a sequence, colour metadata, commands."


class Tag(NamedTuple):
    """One audio or video message."""

    kind: TagKind
    codec: str
    "`H264`, `AV1`, `VP9`, `AAC`, `MP3` or `opus`."
    data: bytes
    "The frame, or the decoder configuration record."
    keyframe: bool = False
    composition_ms: int = 0
    "Presentation time − decoding time."


def video_body(data: bytes, *, keyframe: bool, header: bool = False) -> bytes:
    """Body of a video message: length-prefixed H.264, or the avcC record if `header` is set."""
    return bytes([0x17 if keyframe else 0x27, 0 if header else 1, 0, 0, 0]) + data


def audio_body(data: bytes, *, header: bool = False) -> bytes:
    """Body of an audio message: raw AAC, or the AudioSpecificConfig if `header` is set."""
    return bytes([0xAF, 0 if header else 1]) + data


def parse_video(body: bytes) -> Tag:
    """Raises MalformedPacket, and BadRequest for media that cannot be forwarded."""
    if not body:
        return Tag(TagKind.OTHER, "", b"")
    first = body[0]
    if first & 0x80:
        return _enhanced_video(body)
    kind, codec = first >> 4, first & 0x0F
    if kind == _COMMAND_FRAME:
        return Tag(TagKind.OTHER, "", b"")
    if codec != _AVC:
        raise unsupported_video(_LEGACY_VIDEO.get(codec, f"codec {codec}"))
    if len(body) < 5:
        raise MalformedPacket("video message is truncated")
    return _avc(body[1], kind == 1, body[2:5], body[5:])


def _avc(packet: int, keyframe: bool, composition: bytes, data: bytes) -> Tag:
    if packet == 0:
        return Tag(TagKind.HEADER, "H264", data)
    if packet == 1:
        return Tag(TagKind.FRAME, "H264", data, keyframe, int.from_bytes(composition, "big", signed=True))
    return Tag(TagKind.OTHER, "H264", b"")


def _enhanced_video(body: bytes) -> Tag:
    kind, packet = body[0] >> 4 & 7, body[0] & 0x0F
    packet, at = _skip_modex(body, packet, _MODEX_VIDEO)
    if packet == _MULTITRACK_VIDEO:
        raise multitrack()
    if kind == _COMMAND_FRAME and packet != 4:
        return Tag(TagKind.OTHER, "", b"")
    fourcc = body[at : at + 4]
    if len(fourcc) < 4:
        raise MalformedPacket("video message is truncated")
    codec = _CODECS.get(fourcc)
    if codec is None:
        raise unsupported_video("HEVC" if fourcc in (b"hvc1", b"hev1") else _printable(fourcc))
    data = body[at + 4 :]
    if packet == 0:
        return Tag(TagKind.HEADER, codec, data)
    if packet == 3 or (packet == 1 and codec != "H264"):
        return Tag(TagKind.FRAME, codec, data, kind == 1)
    if packet == 1:
        if len(data) < 3:
            raise MalformedPacket("video message is truncated")
        return _avc(1, kind == 1, data[:3], data[3:])
    if packet in (2, 4):
        return Tag(TagKind.OTHER, codec, b"")
    raise MalformedPacket("unknown Enhanced RTMP packet type")


def parse_audio(body: bytes) -> Tag:
    """Raises MalformedPacket, and BadRequest for media that cannot be forwarded."""
    if not body:
        return Tag(TagKind.OTHER, "", b"")
    sound = body[0] >> 4
    if sound == _ENHANCED_AUDIO:
        return _enhanced_audio(body)
    if sound in _MP3:
        return Tag(TagKind.FRAME, "MP3", body[1:], True)
    if sound != _AAC:
        raise unsupported_audio(_LEGACY_AUDIO.get(sound, "Nellymoser" if sound in (4, 5, 6) else f"format {sound}"))
    if len(body) < 2:
        raise MalformedPacket("audio message is truncated")
    return Tag(TagKind.FRAME if body[1] else TagKind.HEADER, "AAC", body[2:], True)


def _enhanced_audio(body: bytes) -> Tag:
    packet, at = _skip_modex(body, body[0] & 0x0F, _MODEX_AUDIO)
    if packet == _MULTITRACK_AUDIO:
        raise multitrack()
    fourcc = body[at : at + 4]
    if len(fourcc) < 4:
        raise MalformedPacket("audio message is truncated")
    codec = _SOUND_CODECS.get(fourcc)
    if codec is None:
        raise unsupported_audio(_printable(fourcc))
    if packet == 0:
        return Tag(TagKind.HEADER, codec, body[at + 4 :])
    if packet == 1:
        return Tag(TagKind.FRAME, codec, body[at + 4 :], True)
    return Tag(TagKind.OTHER, codec, b"")


def _skip_modex(body: bytes, packet: int, modex: int) -> tuple[int, int]:
    """Skips ModEx entries. Returns the packet type behind them and its offset."""
    at = 1
    for _ in range(_MODEX_LIMIT):
        if packet != modex:
            return packet, at
        size = body[at] + 1 if at < len(body) else 0
        at += 1
        if size == 256:
            size = int.from_bytes(body[at : at + 2], "big") + 1
            at += 2
        at += size
        if at >= len(body):
            raise MalformedPacket("Enhanced RTMP message is truncated")
        packet = body[at] & 0x0F
        at += 1
    raise MalformedPacket("too many Enhanced RTMP modifiers")


def unsupported_video(name: str) -> BadRequest:
    return BadRequest(
        f"Browsers cannot receive {name} over WebRTC. Choose H.264 (x264, NVENC H.264, QuickSync H.264) as the video encoder.",
        code="codec_not_supported",
    )


def unsupported_audio(name: str) -> BadRequest:
    return BadRequest(f"The audio codec {name} is not supported. Choose AAC.", code="codec_not_supported")


def multitrack() -> BadRequest:
    return BadRequest(
        "Multitrack RTMP is not supported. Turn off multitrack video in the encoder; the server can encode lower layers.",
        code="multitrack_not_supported",
    )


def _printable(fourcc: bytes) -> str:
    return "".join([chr(byte) if 32 < byte < 127 else "?" for byte in fourcc])
