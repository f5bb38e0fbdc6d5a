"""SDP of a bot: offers for publishing, answers for subscribing. Pure.

RFC 9429 (JSEP), RFC 8853 (simulcast), RFC 5576 (SSRCs, used without RIDs).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sfu.bots.outbound import (
    EXT_AUDIO_LEVEL,
    EXT_MID,
    EXT_REPAIRED_RID,
    EXT_RID,
    EXT_TRANSPORT_CC,
    OutboundStream,
)
from sfu.errors import BadRequest
from sfu.sdp import capabilities as caps
from sfu.sdp.description import MediaSection, SessionDescription, parse

OPUS, VP8, VP8_RTX = 111, 96, 97
AUDIO_MID, VIDEO_MID = "0", "1"
WANTED_EXTENSIONS = frozenset({caps.URI_MID, caps.URI_TRANSPORT_CC, caps.URI_AUDIO_LEVEL, caps.URI_ABS_SEND_TIME})


@dataclass(frozen=True, slots=True)
class Credentials:
    """ICE and DTLS credentials of the bot for one connection."""

    ufrag: str
    pwd: str
    fingerprint: str

    def lines(self, setup: str) -> list[str]:
        return [
            f"a=ice-ufrag:{self.ufrag}",
            f"a=ice-pwd:{self.pwd}",
            f"a=fingerprint:sha-256 {self.fingerprint}",
            f"a=setup:{setup}",
        ]


@dataclass(frozen=True, slots=True)
class RemoteTransport:
    """ICE and DTLS parameters of the server for one connection."""

    ufrag: str
    pwd: str
    fingerprints: tuple[tuple[str, str], ...]
    setup: str
    addresses: tuple[tuple[str, int], ...]
    "UDP candidates, highest priority first."


def remote_of(description: SessionDescription) -> RemoteTransport:
    """Raises BadRequest if the description lacks ICE credentials or a fingerprint."""
    used = next((section for section in description.media if not section.rejected), None)
    if used is None or not used.ufrag or not used.fingerprints:
        raise BadRequest("The server's description has no transport parameters.")
    found: list[tuple[int, str, int]] = []
    for section in description.media:
        for candidate in section.candidates:
            words = candidate.split()
            if len(words) > 7 and words[1] == "1" and words[2].lower() == "udp":
                found.append((-int(words[3]), words[4], int(words[5])))
    addresses = tuple(dict.fromkeys((host, port) for _, host, port in sorted(found)))
    return RemoteTransport(used.ufrag, used.pwd, tuple(used.fingerprints), used.setup or "actpass", addresses)


def publishing_offer(
    credentials: Credentials,
    version: int,
    stream_id: str,
    audio: OutboundStream | None,
    video: Sequence[OutboundStream],
) -> str:
    """`video`: one stream per simulcast layer, lowest first; without simulcast, a single stream without RID."""
    sections: list[list[str]] = []
    if audio is not None:
        sections.append(
            [
                f"m=audio 9 UDP/TLS/RTP/SAVPF {OPUS}",
                "c=IN IP4 0.0.0.0",
                f"a=mid:{AUDIO_MID}",
                f"a=rtpmap:{OPUS} opus/48000/2",
                f"a=fmtp:{OPUS} minptime=10;useinbandfec=1",
                f"a=rtcp-fb:{OPUS} transport-cc",
                f"a=extmap:{EXT_AUDIO_LEVEL} {caps.URI_AUDIO_LEVEL}",
                f"a=ssrc:{audio.ssrc} cname:{stream_id}",
            ]
        )
    if video:
        sections.append(_video_lines(stream_id, video))
    bundle = " ".join(section[2].removeprefix("a=mid:") for section in sections)
    lines = ["v=0", f"o=- {credentials.ufrag.encode().hex()[:8]} {version} IN IP4 127.0.0.1", "s=-", "t=0 0"]
    lines += [f"a=group:BUNDLE {bundle}", "a=extmap-allow-mixed", "a=msid-semantic: WMS *"]
    for section in sections:
        lines += section[:3] + credentials.lines("actpass") + ["a=sendonly", "a=rtcp-mux", "a=rtcp-rsize"] + section[3:]
        lines += [
            f"a=extmap:{EXT_MID} {caps.URI_MID}",
            f"a=extmap:{EXT_TRANSPORT_CC} {caps.URI_TRANSPORT_CC}",
            f"a=msid:{stream_id} {stream_id}-{section[2].removeprefix('a=mid:')}",
        ]
    return "\r\n".join(lines) + "\r\n"


def _video_lines(stream_id: str, video: Sequence[OutboundStream]) -> list[str]:
    lines = [
        f"m=video 9 UDP/TLS/RTP/SAVPF {VP8} {VP8_RTX}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{VIDEO_MID}",
        f"a=rtpmap:{VP8} VP8/90000",
        *(f"a=rtcp-fb:{VP8} {feedback}" for feedback in ("transport-cc", "ccm fir", "nack", "nack pli")),
        f"a=rtpmap:{VP8_RTX} rtx/90000",
        f"a=fmtp:{VP8_RTX} apt={VP8}",
    ]
    if video[0].rid:
        lines += [f"a=extmap:{EXT_RID} {caps.URI_RID}", f"a=extmap:{EXT_REPAIRED_RID} {caps.URI_REPAIRED_RID}"]
        lines += [f"a=rid:{stream.rid} send" for stream in video]
        lines.append(f"a=simulcast:send {';'.join(stream.rid for stream in video)}")
    else:
        stream = video[0]
        lines += [
            f"a=ssrc-group:FID {stream.ssrc} {stream.rtx_ssrc}",
            f"a=ssrc:{stream.ssrc} cname:{stream_id}",
            f"a=ssrc:{stream.rtx_ssrc} cname:{stream_id}",
        ]
    return lines


def subscribing_answer(offer: SessionDescription | str, credentials: Credentials, version: int) -> str:
    """Accepts every audio and video m-line as offered, and rejects data channels."""
    if isinstance(offer, str):
        offer = parse(offer)
    taken = [section for section in offer.media if section.kind in ("audio", "video") and not section.rejected]
    lines = ["v=0", f"o=- {credentials.ufrag.encode().hex()[:8]} {version} IN IP4 127.0.0.1", "s=-", "t=0 0"]
    lines += [f"a=group:BUNDLE {' '.join(section.mid for section in taken)}", "a=extmap-allow-mixed"]
    for section in offer.media:
        if section in taken:
            lines += _accepted_lines(section, credentials)
        else:
            formats = section.formats[0] if section.formats else "0"
            lines += [f"m={section.kind} 0 {section.protocol} {formats}", "c=IN IP4 0.0.0.0", f"a=mid:{section.mid}"]
    return "\r\n".join(lines) + "\r\n"


def _accepted_lines(section: MediaSection, credentials: Credentials) -> list[str]:
    receives = section.direction in ("sendonly", "sendrecv")
    lines = [
        f"m={section.kind} 9 {section.protocol} {' '.join(section.formats)}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{section.mid}",
        *credentials.lines("active"),
        "a=recvonly" if receives else "a=inactive",
        "a=rtcp-mux",
        "a=rtcp-rsize",
    ]
    for codec in section.codecs:
        channels = f"/{codec.channels}" if codec.channels > 1 else ""
        lines.append(f"a=rtpmap:{codec.payload_type} {codec.name}/{codec.clock_rate}{channels}")
        if codec.parameters:
            lines.append(f"a=fmtp:{codec.payload_type} {codec.parameters}")
        lines += [f"a=rtcp-fb:{codec.payload_type} {feedback}" for feedback in codec.feedback if "remb" not in feedback]
    for number, apt in section.rtx.items():
        lines += [f"a=rtpmap:{number} rtx/90000", f"a=fmtp:{number} apt={apt}"]
    lines += [f"a=extmap:{number} {uri}" for uri, number in section.extensions.items() if uri in WANTED_EXTENSIONS]
    return lines
