"""Attributes of the session or of an m-line in SDP, except formats (`formats`) and simulcast (`simulcast`).

RFC 8866, RFC 8843 (BUNDLE), RFC 8841 (SCTP), RFC 8839 (ICE), RFC 8122 (fingerprints), RFC 5576 (SSRCs).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sfu.errors import BadRequest
from sfu.sdp.formats import SECTION_LIMIT, TOKEN, check_limit, decimal
from sfu.sdp.simulcast import RID_LIMIT, Rid, read_rid

MID_LIMIT: Final = 256
ANSWER_MEDIA_LIMIT: Final = 150
"""Maximum number of m-lines in an answer: the microphones and cameras of 75 people."""
GROUP_LIMIT: Final = 12
"""Maximum number of SSRC groups per m-line. Three layers need four."""
PROTOCOLS: Final = frozenset(
    {
        "UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "TCP/DTLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVP",
        "RTP/SAVPF", "RTP/SAVP", "RTP/AVPF", "RTP/AVP",
    }
)  # fmt: skip
"""RTP profiles that an offer may use (RFC 9429 5.1.2). All of them mean DTLS-SRTP, which the fingerprint secures."""

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")

_ICE_CHARACTERS = re.compile(r"[A-Za-z0-9+/_=-]{4,256}").fullmatch  # "_", "=", "-": not in the RFC, but in use
_FINGERPRINT = re.compile(r"([0-9A-Fa-f]{2}:){15,63}[0-9A-Fa-f]{2}").fullmatch
_MID = re.compile(r"[!#-'*+\-.0-9A-Z^-~]{1,256}").fullmatch


@dataclass(slots=True)
class Attributes:
    """The parsed attributes. Empty: missing."""

    kind: str = ""
    port: int = 0
    protocol: str = ""
    formats: tuple[str, ...] = ()
    mid: str = ""
    direction: str = ""
    rids: dict[str, Rid] = field(default_factory=dict)
    simulcast: str | None = None
    ssrcs: dict[int, None] = field(default_factory=dict)
    groups: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    msid: str = ""
    ufrag: str = ""
    pwd: str = ""
    fingerprints: list[tuple[str, str]] = field(default_factory=list)
    setup: str = ""
    sctp_port: int | None = None
    max_message_size: int = 65_536  # RFC 8841 6.1: default
    bundle: tuple[str, ...] = ()
    flags: set[str] = field(default_factory=set)

    @property
    def known(self) -> bool:
        """Whether the server supports the kind and protocol of the m-line."""
        if self.kind == "application":
            return "DTLS/SCTP" in self.protocol
        return self.kind in ("audio", "video") and self.protocol in PROTOCOLS


def read_media_line(value: str) -> Attributes:
    parts = value.split(None, 3 + 128)
    if len(parts) < 3:
        raise BadRequest("An m-line has fewer than three parts.")
    if len(parts) > 3 + 128:
        raise BadRequest("An m-line lists more than 128 formats.")
    port, _, _ = parts[1].partition("/")
    return Attributes(parts[0], decimal(port, 65_535, "The port of an m-line"), parts[2], tuple(parts[3:]))


def _rid(attributes: Attributes, value: str) -> None:
    read_rid(attributes.rids, value)


def _simulcast(attributes: Attributes, value: str) -> None:
    if attributes.simulcast is not None:
        raise BadRequest("An m-line has two simulcast lines.")
    attributes.simulcast = value  # parsed after all rids


def _ssrc(attributes: Attributes, value: str) -> None:
    ssrc = decimal(value.partition(" ")[0], 0xFFFFFFFF, "An SSRC")
    if ssrc not in attributes.ssrcs:
        check_limit(len(attributes.ssrcs), SECTION_LIMIT, "SSRCs")
        attributes.ssrcs[ssrc] = None


def _ssrc_group(attributes: Attributes, value: str) -> None:
    semantics, *ssrcs = value.split(None, RID_LIMIT + 1)[: RID_LIMIT + 1] or [""]
    known = _GROUPS.get(semantics, 0)
    if known and not (semantics == "SIM" and "SIM" in dict(attributes.groups)):  # only the first SIM group counts
        check_limit(len(attributes.groups), GROUP_LIMIT, "SSRC groups")
        members = tuple([decimal(ssrc, 0xFFFFFFFF, "An SSRC") for ssrc in ssrcs[:known]])
        attributes.groups.append((semantics, members))


_GROUPS: Final = {"FID": 3, "FEC-FR": 3, "SIM": RID_LIMIT}
"""Number of members to parse in an SSRC group. Groups with other semantics are not used."""


def _mid(attributes: Attributes, value: str) -> None:
    if not _MID(value):
        raise BadRequest(f"A mid must be a token of 1 to {MID_LIMIT} characters.")
    attributes.mid = value


def _msid(attributes: Attributes, value: str) -> None:
    attributes.msid = value


def is_ice_ufrag(value: str) -> bool:
    return _ICE_CHARACTERS(value) is not None


def is_ice_password(value: str) -> bool:
    return len(value) >= 22 and _ICE_CHARACTERS(value) is not None


def _ufrag(attributes: Attributes, value: str) -> None:
    if not is_ice_ufrag(value):
        raise BadRequest("An ice-ufrag must have 4 to 256 ICE characters.")
    attributes.ufrag = value


def _pwd(attributes: Attributes, value: str) -> None:
    if not is_ice_password(value):
        raise BadRequest("An ice-pwd must have 22 to 256 ICE characters.")
    attributes.pwd = value


def _fingerprint(attributes: Attributes, value: str) -> None:
    algorithm, _, digest = value.partition(" ")
    digest = digest.strip()
    if not TOKEN(algorithm) or not _FINGERPRINT(digest):
        raise BadRequest("A fingerprint must have an algorithm and a list of bytes.")
    check_limit(len(attributes.fingerprints), 8, "fingerprints")
    attributes.fingerprints.append((algorithm.lower(), digest.upper()))


def _setup(attributes: Attributes, value: str) -> None:
    if value not in ("actpass", "active", "passive", "holdconn"):
        raise BadRequest("A setup attribute must be actpass, active, passive or holdconn.")
    attributes.setup = value


def _sctpmap(attributes: Attributes, value: str) -> None:
    attributes.sctp_port = decimal(value.partition(" ")[0], 65_535, "The SCTP port")  # drafts before RFC 8841


def _sctp_port(attributes: Attributes, value: str) -> None:
    attributes.sctp_port = decimal(value, 65_535, "The SCTP port")


def _max_message_size(attributes: Attributes, value: str) -> None:
    attributes.max_message_size = decimal(value, 2**63, "The maximum message size")


def _group(attributes: Attributes, value: str) -> None:
    semantics, *mids = value.split(None, ANSWER_MEDIA_LIMIT + 2)[: ANSWER_MEDIA_LIMIT + 2] or [""]
    if semantics == "BUNDLE" and not attributes.bundle:
        attributes.bundle = tuple(mids)


_READERS: dict[str, Callable[[Attributes, str], None]] = {
    "rid": _rid,
    "simulcast": _simulcast,
    "ssrc": _ssrc,
    "ssrc-group": _ssrc_group,
    "mid": _mid,
    "msid": _msid,
    "ice-ufrag": _ufrag,
    "ice-pwd": _pwd,
    "fingerprint": _fingerprint,
    "setup": _setup,
    "sctp-port": _sctp_port,
    "sctpmap": _sctpmap,
    "max-message-size": _max_message_size,
    "group": _group,
}
_FLAGS = frozenset({"rtcp-mux", "rtcp-mux-only", "bundle-only", "ice-lite", "extmap-allow-mixed"})
find_attributes = re.compile(r"\na=(?!rtpmap:|rtcp-fb:|fmtp:|extmap:|candidate:)([a-z-]+):?(.*)").findall


def read_attributes(attributes: Attributes, found: list[tuple[str, str]]) -> None:
    """Parses the attributes other than formats. Raises BadRequest."""
    for key, value in found:
        if key in DIRECTIONS:
            attributes.direction = key
        elif (read := _READERS.get(key)) is not None:
            read(attributes, value)
        elif key in _FLAGS:
            attributes.flags.add(key)
