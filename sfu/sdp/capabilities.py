"""Supported codecs, header extensions and payload types, for answers to publishers and offers to subscribers.

Codec parameters: RFC 6184 (H264), RFC 7587 (opus), RFC 9628 (VP9), the AV1 RTP specification. The server does not
transcode, so a codec is supported if its packets can be forwarded; the server need not decode it.
"""

import re
from typing import Final

from sfu.errors import AtCapacity

URI_MID: Final = "urn:ietf:params:rtp-hdrext:sdes:mid"
URI_RID: Final = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
URI_REPAIRED_RID: Final = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
URI_TRANSPORT_CC: Final = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
URI_ABS_SEND_TIME: Final = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
URI_AUDIO_LEVEL: Final = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
URI_VIDEO_ORIENTATION: Final = "urn:3gpp:video-orientation"
URI_PLAYOUT_DELAY: Final = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
URI_DEPENDENCY_DESCRIPTOR: Final = (
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
)
URI_ABS_CAPTURE_TIME: Final = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
URI_TOFFSET: Final = "urn:ietf:params:rtp-hdrext:toffset"
URI_VIDEO_CONTENT_TYPE: Final = "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type"
URI_VIDEO_TIMING: Final = "http://www.webrtc.org/experiments/rtp-hdrext/video-timing"
URI_COLOR_SPACE: Final = "http://www.webrtc.org/experiments/rtp-hdrext/color-space"

OUT_EXTENSION_IDS: Final[dict[str, int]] = {
    URI_MID: 1,
    URI_TRANSPORT_CC: 2,
    URI_ABS_SEND_TIME: 3,
    URI_AUDIO_LEVEL: 4,
    URI_VIDEO_ORIENTATION: 5,
    URI_PLAYOUT_DELAY: 6,
    URI_DEPENDENCY_DESCRIPTOR: 7,
    URI_ABS_CAPTURE_TIME: 8,
    URI_TOFFSET: 9,
    URI_VIDEO_CONTENT_TYPE: 10,
    URI_VIDEO_TIMING: 11,
    URI_COLOR_SPACE: 12,
    URI_RID: 13,
}
"""Extension ids in all outgoing packets. They are the same for all subscribers, so each packet is rewritten only once."""

_AUDIO_ONLY = frozenset({URI_AUDIO_LEVEL})
_EITHER = frozenset({URI_MID, URI_TRANSPORT_CC, URI_ABS_SEND_TIME, URI_ABS_CAPTURE_TIME})

ACCEPTED_EXTENSIONS: Final = frozenset({*OUT_EXTENSION_IDS, URI_REPAIRED_RID})
"""Extensions that an answer accepts."""

OFFERED_EXTENSIONS: Final[dict[str, tuple[tuple[str, int], ...]]] = {
    "audio": tuple((uri, number) for uri, number in OUT_EXTENSION_IDS.items() if uri in _EITHER | _AUDIO_ONLY),
    "video": tuple(
        (uri, number) for uri, number in OUT_EXTENSION_IDS.items() if uri not in _AUDIO_ONLY and uri != URI_RID
    ),
}
"""Extensions of an offer, by kind. rid is not offered: a subscriber receives one stream per m-line."""

CODECS: Final[dict[str, tuple[str, str]]] = {
    "opus": ("audio", "opus"),
    "red": ("audio", "red"),
    "vp8": ("video", "VP8"),
    "vp9": ("video", "VP9"),
    "h264": ("video", "H264"),
    "av1": ("video", "AV1"),
}
"""Lower-case name (RFC 4855: names are case-insensitive) → kind and canonical name."""

CLOCK_RATES: Final = {"audio": 48_000, "video": 90_000}

FEEDBACK: Final[dict[str, tuple[str, ...]]] = {
    "audio": ("transport-cc", "nack", "rrtr"),
    "video": ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli", "rrtr"),
}
"""RTCP feedback types to offer, and to accept when offered."""

_PROFILE_LEVEL = re.compile("[0-9A-Fa-f]{6}").fullmatch
_PROFILES = frozenset("0123")
PARAMETERS_LIMIT: Final = 512
"""Maximum length of an fmtp value in characters. Subscribers receive the publisher's value."""
SCTP_PORT: Final = 5000
MAX_MESSAGE_BYTES: Final = 64_000
"""Maximum size of a data channel message, announced in the SDP (RFC 8841 6). A longer message is rejected with an error
to its sender. With the fields that relaying adds, it fits into 65,536 bytes, which every client accepts (RFC 8841 6.1).
"""


def canonical_codec(kind: str, name: str) -> str | None:
    """Returns `VP8`, `VP9`, `H264`, `AV1`, `opus` or `red`. None: not supported, such as video/red and FEC."""
    known = CODECS.get(name.lower())
    return known[1] if known is not None and known[0] == kind else None


def parse_parameters(parameters: str) -> dict[str, str]:
    """Parses `a=1;b=2` into a dict with lower-case keys. A part without `=` has an empty value."""
    found: dict[str, str] = {}
    for part in parameters.split(";"):
        key, _, value = part.strip().partition("=")
        if key:
            found[key.lower()] = value
    return found


def h264_profile(profile_level_id: str) -> int:
    """Ranks a profile by decoder support: 0 Constrained Baseline, 1 Baseline, 2 Main, 3 others.

    RFC 6184 8.1 table 5: the first two bytes hold the profile and its constraint flags. The default is Baseline.
    """
    if not _PROFILE_LEVEL(profile_level_id):
        return 1
    profile, flags = int(profile_level_id[:2], 16), int(profile_level_id[2:4], 16)
    if profile == 0x42:
        return 0 if flags & 0x40 else 1
    if profile == 0x4D:
        return 0 if flags & 0x80 else 2
    return 0 if profile == 0x58 and flags & 0xC0 == 0xC0 else 3


def is_stereo(parameters: str) -> bool:
    """Whether the fmtp value of Opus allows the sender to use two channels (RFC 7587 6.1)."""
    found = parse_parameters(parameters)
    return found.get("sprop-stereo") == "1" or found.get("stereo") == "1"


def opus_answer_parameters(offered: str, *, stereo: bool) -> str:
    """Opus parameters for an answer: the publisher's own preferences, plus stereo for stereo tracks (RFC 7587 7).

    `sprop-` parameters describe a sender and are removed: the server sends nothing to a publisher.
    """
    kept = [part.strip() for part in offered.split(";") if part.strip()]
    kept = [part for part in kept if not part.lower().startswith(("sprop-", "stereo="))]
    return ";".join([*kept, "stereo=1"] if stereo else kept)


def identifying_parameters(name: str, parameters: str) -> str:
    """Reduces an fmtp value to the parameters that decide whether a decoder can decode the stream, in a fixed form.

    All other parameters describe receiver limits, which a publisher must not set for subscribers. The fixed form
    matters for two reasons: browsers reject a bundle in which one payload type has two fmtp values, and no unexpected
    text from a publisher may reach subscribers. RFC 6184 8.2.2 (profile-level-id, packetization-mode), RFC 9628 6.1 and
    the AV1 RTP specification (profile), RFC 7587 6.1, RFC 2198.
    """
    if name == "opus":
        return "minptime=10;useinbandfec=1" + (";sprop-stereo=1" if is_stereo(parameters) else "")
    if name == "red":
        inside = (
            PayloadTypeTable.STEREO
            if parameters == f"{PayloadTypeTable.STEREO}/{PayloadTypeTable.STEREO}"
            else PayloadTypeTable.OPUS
        )
        return f"{inside}/{inside}"
    if name == "H264":
        found = parse_parameters(parameters)
        profile = found.get("profile-level-id", "")
        if not _PROFILE_LEVEL(profile):
            profile = "42e01f"
        mode = "1" if found.get("packetization-mode") == "1" else "0"
        return f"level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={profile.lower()}"
    if name == "VP9":
        profile = parse_parameters(parameters).get("profile-id", "")
        return f"profile-id={profile if profile in _PROFILES else '0'}"
    if name == "AV1":
        profile = parse_parameters(parameters).get("profile", "")
        return f"level-idx=5;profile={profile if profile in _PROFILES else '0'};tier=0"
    return ""


class PayloadTypeTable:
    """Payload types of all codecs offered to one subscriber.

    The table lives as long as the connection: a payload type never changes its meaning (RFC 8843 7.1.3), so an m-line
    can carry another track of the same codec without renegotiation.
    """

    __slots__ = ("_assigned", "_free")

    OPUS: Final = 111
    STEREO: Final = 110
    "Opus with two channels. Separate, because a payload type has one fmtp value per bundle (RFC 8843 7.1.3)."
    RED: Final = 63
    STEREO_RED: Final = 62

    def __init__(self) -> None:
        self._assigned: dict[tuple[str, str], tuple[int, int | None]] = {}
        self._free: list[int] = [
            *range(61, 34, -1),
            *(number for number in range(127, 95, -1) if number not in (self.OPUS, self.STEREO)),
        ]

    def assign(self, name: str, parameters: str, with_rtx: bool) -> tuple[int, int | None]:
        """Returns (payload type, RTX payload type or None), stable for the same codec and parameters.

        Raises AtCapacity when all 57 are in use; only an endless series of new codec profiles reaches that limit.
        """
        if name == "opus":
            return self.STEREO if is_stereo(parameters) else self.OPUS, None
        if name == "red":
            return self.STEREO_RED if parameters == f"{self.STEREO}/{self.STEREO}" else self.RED, None
        key = name, identifying_parameters(name, parameters)
        payload_type, rtx = self._assigned.get(key, (0, None))
        if not payload_type:
            payload_type = self._take()
            self._assigned[key] = payload_type, None
        if with_rtx and rtx is None:
            rtx = self._take()
            self._assigned[key] = payload_type, rtx
        return payload_type, rtx if with_rtx else None

    def _take(self) -> int:
        if not self._free:
            raise AtCapacity("Too many different codecs for one subscriber.")
        return self._free.pop()
