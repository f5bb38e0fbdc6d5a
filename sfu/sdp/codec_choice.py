"""Chooses the codec of an m-line: the publisher's first choice, in the profile that most subscribers can decode.

The server does not transcode, so a subscriber cannot see a track whose profile it cannot decode. RFC 7742 6.2 makes
Constrained Baseline mandatory for H.264; all browsers decode profile 0 of VP9 and AV1. An offer with only another
profile is accepted: subscribers that cannot decode it receive no media and the reason `codec`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sfu.sdp.capabilities import CLOCK_RATES, PARAMETERS_LIMIT, canonical_codec, h264_profile, parse_parameters
from sfu.sdp.description import MediaSection
from sfu.sdp.formats import Codec


@dataclass(frozen=True, slots=True)
class CodecChoice:
    """Accepted codecs of one m-line. A data channel m-line has none."""

    codecs: tuple[Codec, ...]
    rtx: tuple[tuple[int, int], ...]

    @property
    def main(self) -> Codec:
        """The codec that is not RED."""
        return next(codec for codec in self.codecs if codec.name.lower() != "red")


def choose_codecs(section: MediaSection) -> CodecChoice | None:
    """None: the m-line has no supported codec."""
    known: dict[str, list[Codec]] = {}
    for codec in section.codecs:
        name = canonical_codec(section.kind, codec.name)
        if name and codec.clock_rate == CLOCK_RATES[section.kind] and len(codec.parameters) <= PARAMETERS_LIMIT:
            known.setdefault(name, []).append(codec)
    red = known.pop("red", [])
    if not known:
        return None
    name, same = next(iter(known.items()))
    main = min(_sendable(section, same), key=lambda codec: _rank(name, codec))
    chosen = {id(main)}
    # RFC 2198 5: the fmtp of RED lists the codecs inside; only the main codec is useful.
    inside = {str(main.payload_type), ""}
    chosen.update([id(codec) for codec in red if set(codec.parameters.split("/")) <= inside][:1])
    rtx = tuple([(number, apt) for number, apt in section.rtx.items() if apt == main.payload_type][:1])
    return CodecChoice(tuple([codec for codec in section.codecs if id(codec) in chosen]), rtx)


def _sendable(section: MediaSection, codecs: Sequence[Codec]) -> Sequence[Codec]:
    """The codecs that all simulcast streams may use, if any (RFC 8851: a rid may be bound to payload types)."""
    usable = [
        codec for codec in codecs if all(stream.choose(codec.payload_type) is not None for stream in section.streams)
    ]
    return usable or codecs


def _rank(name: str, codec: Codec) -> tuple[int, int]:
    """Rank of a codec profile; lower ranks have more decoder support."""
    parameters = parse_parameters(codec.parameters)
    if name == "H264":
        # RFC 6184 8.1: the default packetization-mode is 0, single NAL unit mode.
        return h264_profile(parameters.get("profile-level-id", "")), parameters.get("packetization-mode") != "1"
    if name == "VP9":
        return parameters.get("profile-id", "0") != "0", 0
    if name == "AV1":
        return parameters.get("profile", "0") != "0", 0
    return 0, 0
