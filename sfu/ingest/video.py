"""The video of a stream: decides whether browsers can receive it as it is, and packetizes it.

H.264 passes without transcoding in the profiles Baseline, Main and High with 4:2:0, 8 bits, progressive and without
B-frames. WebRTC receivers show pictures in the order of arrival, so that B-frames would stutter. AV1 and VP9 pass: their
encoders reorder inside a temporal unit.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from sfu.forwarding.layers import Size
from sfu.outputs.codec_config import codec_config
from sfu.rtmp.flv import Tag
from sfu.rtp.codecs import h264
from sfu.rtp.codecs.avcc import AvcConfiguration, parse_avcc, split_units
from sfu.rtp.codecs.packetizers import av1_payloads, h264_payloads, has_sequence_header, split_obus, vp9_payloads

PASSED_PROFILES: Final = {66: "Baseline", 77: "Main", 100: "High"}
_SPS, _PPS, _DELIMITER, _FILLER = 7, 8, 9, 12
B_FRAMES: Final = (
    "The encoder sends B-frames, so the server transcodes the video. To avoid it, set “Max B-frames” to 0 in OBS "
    "(x264 option bframes=0, FFmpeg -bf 0)."
)
PROFILE: Final = (
    "The encoder's H.264 profile cannot be received by browsers, so the server transcodes the video. To avoid it, choose the "
    "profile high, main or baseline, 8 bits, 4:2:0, progressive."
)
NO_SIZE: Final = Size(0, 0)
TRANSCODED: Final = ("HEVC", "MPEG4", "MJPEG", "VP8")
"""Codecs of cameras that are always transcoded."""
_AV1_CONFIG_HEAD: Final = 4


class Passable(NamedTuple):
    """Payloads of one picture that needs no transcoding."""

    payloads: list[bytes]
    keyframe: bool


class VideoFormat:
    """One configuration of the encoder: codec, parameter sets, size. Raises MalformedPacket and BadRequest."""

    def __init__(self, tag: Tag, size: Size = NO_SIZE) -> None:
        """`tag`: a HEADER tag. `size`: of a codec whose headers the server does not parse."""
        self.codec = tag.codec
        self.config = tag.data
        self.size = size
        self.warning = ""
        "Why the video is transcoded; empty: it passes."
        self._avc: AvcConfiguration | None = None
        self._picture_id = 0
        self._av1_header: list[bytes] = []
        if tag.codec == "H264":
            self._avc = parse_avcc(tag.data)
            sps = h264.parse_sps(self._avc.sps[0][1:])
            self.size = Size(sps.width, sps.height)
            if sps.profile not in PASSED_PROFILES or sps.chroma != 1 or sps.bit_depth != 8 or not sps.progressive:
                self.warning = PROFILE
            elif sps.reorder_frames and sps.profile != 66:
                self.warning = B_FRAMES
        elif tag.codec in TRANSCODED:
            self.warning = (
                f"The camera sends {tag.codec}, so the server transcodes the video. H.264 in the camera avoids it."
            )
        elif tag.codec == "AV1":
            self._av1_header = split_obus(tag.data[_AV1_CONFIG_HEAD:])

    @property
    def published_codec(self) -> str:
        """Codec of the published track."""
        return "H264" if self.codec in TRANSCODED else self.codec

    @property
    def passes(self) -> bool:
        return not self.warning

    def learn_size(self, frame: Tag) -> bool:
        """Reads the size from a keyframe of VP9 or AV1. Returns whether the size is known."""
        if not self.size.width and frame.keyframe and self.codec not in TRANSCODED:
            unit = frame.data if self.codec == "VP9" else self.config[_AV1_CONFIG_HEAD:] or frame.data
            found = codec_config(self.codec, unit)
            self.size = Size(found.width, found.height)
        return self.size.width > 0

    def packetize(self, frame: Tag) -> Passable:
        """Sets `warning` and returns no payloads when the picture turns out to be a B-frame."""
        if self._avc is not None:
            return self._packetize_h264(frame, self._avc)
        if self.codec == "VP9":
            self._picture_id = (self._picture_id + 1) & 0x7FFF
            return Passable(list(vp9_payloads(frame.data, self._picture_id, keyframe=frame.keyframe)), frame.keyframe)
        obus = split_obus(frame.data)
        if frame.keyframe and not has_sequence_header(obus):
            obus = self._av1_header + obus
        return Passable(list(av1_payloads(obus)), frame.keyframe)

    def _packetize_h264(self, frame: Tag, avc: AvcConfiguration) -> Passable:
        units, keyframe = [], False
        for unit in split_units(frame.data, avc.length_size):
            kind = unit[0] & 0x1F
            if kind == 5:
                keyframe = True
            elif kind in (1, 2) and h264.has_b_slice(unit):
                self.warning = B_FRAMES
                return Passable([], False)
            if kind not in (_SPS, _PPS, _DELIMITER, _FILLER) and kind < 24:
                units.append(unit)
        sets = (*avc.sps, *avc.pps) if keyframe else ()
        return Passable(list(h264_payloads(units, sets)), keyframe)


def picture_payloads(config: bytes, data: bytes) -> Iterator[bytes]:
    """Payloads of a picture of our own encoder. `config`: its avcC record with keyframes, else empty."""
    sets: tuple[bytes, ...] = ()
    if config:
        avc = parse_avcc(config)
        sets = (*avc.sps, *avc.pps)
    return h264_payloads(split_units(data), sets)
