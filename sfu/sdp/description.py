"""SDP parser: session descriptions as records.

The parser of aiortc drops rid and simulcast lines and takes seconds for hostile input, so this package has its own. The
format lines are the same for all m-lines of a kind, so each distinct set is parsed only once. Every list is limited by
the constants below. RFC 8866 (SDP), RFC 9429 (WebRTC's use of it), RFC 8843 (BUNDLE), RFC 8841 (SCTP), RFC 8839 (ICE),
RFC 8122 (fingerprints).
"""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Literal, cast

from sfu.errors import BadRequest
from sfu.sdp.formats import SECTION_LIMIT, TOKEN, Codec, FormatReader, check_limit, decimal
from sfu.sdp.simulcast import (
    RID_LIMIT,
    Rid,
    SendStream,
    check_payload_types,
    declared_streams,
    read_rid,
    read_simulcast,
)

__all__ = ["RID_LIMIT", "MediaSection", "SessionDescription", "parse"]

SDP_LIMIT: Final = 196_608
"""Maximum number of characters. Chromium needs 3,800 for a camera in simulcast, or 8,000 with hardware codecs."""
LINE_LIMIT: Final = 8_192
"""Maximum number of lines. Chromium needs 130 for a camera in simulcast, or 280 with hardware codecs."""
ATTRIBUTE_LIMIT: Final = 2_048
"""Maximum number of attributes, not counting formats and candidates. Browsers need 18 to 40 per m-line."""
ANSWER_ATTRIBUTE_LIMIT: Final = 3_600
"""The same limit for an answer. Browsers need 12 per m-line."""
MEDIA_LIMIT: Final = 64
ANSWER_MEDIA_LIMIT: Final = 150
"""Maximum number of m-lines in an answer: the microphones and cameras of 75 people."""
MID_LIMIT: Final = 256
CANDIDATE_LIMIT: Final = 64
"""Maximum number of candidates per m-line. The server is an ICE-lite agent and does not need them."""
GROUP_LIMIT: Final = 12
"""Maximum number of SSRC groups per m-line. Three layers need four."""
TOTALS: Final = {"rid": 192, "ssrc-group": 256}
"""Maximum number of lines per description. 16 cameras in three layers have 48 rids and 112 SSRC groups."""
PROTOCOLS: Final = frozenset(
    {
        "UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "TCP/DTLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVP",
        "RTP/SAVPF", "RTP/SAVP", "RTP/AVPF", "RTP/AVP",
    }
)  # fmt: skip
"""RTP profiles that an offer may use (RFC 9429 5.1.2). All of them mean DTLS-SRTP, which the fingerprint secures."""

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
Setup = Literal["actpass", "active", "passive", "holdconn"]
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")

_PLAIN = bytes([9, 10, *range(32, 127)])
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]").search
_ICE_CHARACTERS = re.compile(r"[A-Za-z0-9+/_=-]{4,256}").fullmatch  # "_", "=", "-": not in the RFC, but in use
_FINGERPRINT = re.compile(r"([0-9A-Fa-f]{2}:){15,63}[0-9A-Fa-f]{2}").fullmatch
_MID = re.compile(r"[!#-'*+\-.0-9A-Z^-~]{1,256}").fullmatch


@dataclass(frozen=True, slots=True)
class MediaSection:
    """One m-line with its attributes; missing ones are inherited from the session.

    An m-line with an unknown kind or protocol or with port 0 has no codecs and no extensions.
    """

    kind: str
    mid: str
    "Empty: missing or not a token. Accepted m-lines always have one."
    port: int
    protocol: str
    direction: Direction
    formats: tuple[str, ...]
    codecs: tuple[Codec, ...]
    "In the order of the m-line, without RTX."
    rtx: dict[int, int]
    "RTX payload type → payload type that it retransmits."
    extensions: dict[str, int]
    streams: tuple[SendStream, ...]
    "Streams of the simulcast line, or of the rid lines without a simulcast line."
    ssrcs: tuple[int, ...]
    ssrc_groups: tuple[tuple[str, tuple[int, ...]], ...]
    "(semantics, SSRCs), such as FID."
    msid: str
    bundle_only: bool
    rejected: bool
    rtcp_mux: bool
    ufrag: str
    pwd: str
    fingerprints: list[tuple[str, str]]
    "(lower-case algorithm, upper-case value)."
    setup: Setup | None
    sctp_port: int | None
    max_message_size: int
    candidates: tuple[str, ...]
    "Unparsed values. Candidates above the limit are ignored."
    extmap_allow_mixed: bool
    "Whether one stream may have one-byte and two-byte header extensions (RFC 8285 6)."

    @property
    def send_rids(self) -> tuple[str, ...]:
        """The first alternative of each stream."""
        return tuple([stream.alternatives[0].name for stream in self.streams])

    @property
    def has_transport(self) -> bool:
        """Whether the m-line has ICE credentials and a certificate fingerprint."""
        return bool(self.ufrag and self.pwd and self.fingerprints)


@dataclass(frozen=True, slots=True)
class SessionDescription:
    media: tuple[MediaSection, ...]
    bundle: tuple[str, ...]
    "Mids of the first BUNDLE group. The first mid is the tagged m-line (RFC 8843 7.2)."
    ice_lite: bool
    extmap_allow_mixed: bool

    @property
    def transport_section(self) -> MediaSection | None:
        """The m-line that provides the transport attributes of the bundle, even if the server rejects it.

        RFC 8843 7.2: the first m-line of the group; if it has port 0 or no credentials, the next one with credentials.
        None: every m-line has port 0.
        """
        used = [section for section in self.media if not section.rejected]
        by_mid = {section.mid: section for section in used}
        order = [*(by_mid[mid] for mid in self.bundle if mid in by_mid), *used]
        return next((section for section in order if section.has_transport), order[0] if order else None)


@dataclass(slots=True)
class _Draft:
    """Attributes of the session or of an m-line during parsing."""

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


def parse(text: str, *, answer: bool = False) -> SessionDescription:
    """Raises BadRequest with a description of the problem."""
    limit, attributes = (ANSWER_MEDIA_LIMIT, ANSWER_ATTRIBUTE_LIMIT) if answer else (MEDIA_LIMIT, ATTRIBUTE_LIMIT)
    session_text, *media_texts = _sections(text, limit)
    reader = FormatReader()
    session = _Draft()
    found = _ATTRIBUTES(session_text)
    attributes -= len(found)
    if attributes >= 0:
        _read(session, found)
    everywhere = reader.read("", (), session_text)[2]
    media: list[MediaSection] = []
    for section in media_texts:
        line, _, lines = section.partition("\n")
        draft = _media_line(line)
        lines = f"\n{lines}"
        found = _ATTRIBUTES(lines)
        attributes -= len(found)
        if attributes < 0:
            raise BadRequest("The SDP has too many attributes; remove unused m-lines.")
        if draft.known:
            _read(draft, found)
        else:
            with suppress(BadRequest):  # the m-line is rejected anyway
                _read(draft, found)
        media.append(_finish(draft, session, everywhere, reader, lines))
    mids = [section.mid for section in media if not section.rejected and section.mid]
    if len(set(mids)) != len(mids):
        raise BadRequest("Two m-lines have the same mid.")
    return SessionDescription(
        tuple(media), session.bundle, "ice-lite" in session.flags, "extmap-allow-mixed" in session.flags
    )


def _sections(text: str, limit: int) -> list[str]:
    """Splits the text into the session part and the m-lines. Every line starts with a line feed, except the m-lines."""
    if len(text) > SDP_LIMIT:
        raise BadRequest(f"The SDP is longer than {SDP_LIMIT} characters.")
    text = text.replace("\r\n", "\n")
    if text.encode().translate(None, _PLAIN) if text.isascii() else _CONTROL(text):
        raise BadRequest("The SDP contains control characters.")
    if not text.startswith("v=0\n"):
        raise BadRequest("The SDP does not begin with v=0.")
    if text.count("\n") > LINE_LIMIT:
        raise BadRequest(f"The SDP has more than {LINE_LIMIT} lines.")
    for name, most in TOTALS.items():
        if text.count(f"\na={name}:") > most:
            raise BadRequest(f"The SDP has more than {most} {name} lines.")
    if " \n" in text or "\t" in text:
        text = "\n".join([line.rstrip(" \t") for line in text.split("\n")])
    if _MALFORMED(text):
        raise BadRequest("The SDP has a line that is not of the form x=value.")
    sections = text.split("\nm=", limit + 1)
    if len(sections) > limit + 1:
        raise BadRequest(
            f"The SDP has more than {limit} m-lines; reuse stopped ones, or use a new RTCPeerConnection.",
            code="connection_exhausted",
        )
    return sections


_MALFORMED = re.compile(r"\n(?!.=|\n|\Z)").search
"""Blank lines are tolerated, because some clients end their SDP with one."""


def _read(draft: _Draft, found: list[tuple[str, str]]) -> None:
    """Parses the attributes other than formats. Raises BadRequest."""
    for key, value in found:
        if key in DIRECTIONS:
            draft.direction = key
        elif (read := _READERS.get(key)) is not None:
            read(draft, value)
        elif key in _FLAGS:
            draft.flags.add(key)


# -- lines ------------------------------------------------------------------------------------------------------------


def _media_line(value: str) -> _Draft:
    parts = value.split(None, 3 + 128)
    if len(parts) < 3:
        raise BadRequest("An m-line has fewer than three parts.")
    if len(parts) > 3 + 128:
        raise BadRequest("An m-line lists more than 128 formats.")
    port, _, _ = parts[1].partition("/")
    return _Draft(parts[0], decimal(port, 65_535, "The port of an m-line"), parts[2], tuple(parts[3:]))


def _rid(draft: _Draft, value: str) -> None:
    read_rid(draft.rids, value)


def _simulcast(draft: _Draft, value: str) -> None:
    if draft.simulcast is not None:
        raise BadRequest("An m-line has two simulcast lines.")
    draft.simulcast = value  # parsed after all rids


def _ssrc(draft: _Draft, value: str) -> None:
    ssrc = decimal(value.partition(" ")[0], 0xFFFFFFFF, "An SSRC")
    if ssrc not in draft.ssrcs:
        check_limit(len(draft.ssrcs), SECTION_LIMIT, "SSRCs")
        draft.ssrcs[ssrc] = None


def _ssrc_group(draft: _Draft, value: str) -> None:
    semantics, *ssrcs = value.split(None, RID_LIMIT + 1)[: RID_LIMIT + 1] or [""]
    known = _GROUPS.get(semantics, 0)
    if known and not (semantics == "SIM" and "SIM" in dict(draft.groups)):  # only the first SIM group counts
        check_limit(len(draft.groups), GROUP_LIMIT, "SSRC groups")
        members = tuple([decimal(ssrc, 0xFFFFFFFF, "An SSRC") for ssrc in ssrcs[:known]])
        draft.groups.append((semantics, members))


_GROUPS: Final = {"FID": 3, "FEC-FR": 3, "SIM": RID_LIMIT}
"""Number of members to parse in an SSRC group. Groups with other semantics are not used."""


def _mid(draft: _Draft, value: str) -> None:
    if not _MID(value):
        raise BadRequest(f"A mid must be a token of 1 to {MID_LIMIT} characters.")
    draft.mid = value


def _msid(draft: _Draft, value: str) -> None:
    draft.msid = value


def is_ice_ufrag(value: str) -> bool:
    return _ICE_CHARACTERS(value) is not None


def is_ice_password(value: str) -> bool:
    return len(value) >= 22 and _ICE_CHARACTERS(value) is not None


def _ufrag(draft: _Draft, value: str) -> None:
    if not is_ice_ufrag(value):
        raise BadRequest("An ice-ufrag must have 4 to 256 ICE characters.")
    draft.ufrag = value


def _pwd(draft: _Draft, value: str) -> None:
    if not is_ice_password(value):
        raise BadRequest("An ice-pwd must have 22 to 256 ICE characters.")
    draft.pwd = value


def _fingerprint(draft: _Draft, value: str) -> None:
    algorithm, _, digest = value.partition(" ")
    digest = digest.strip()
    if not TOKEN(algorithm) or not _FINGERPRINT(digest):
        raise BadRequest("A fingerprint must have an algorithm and a list of bytes.")
    check_limit(len(draft.fingerprints), 8, "fingerprints")
    draft.fingerprints.append((algorithm.lower(), digest.upper()))


def _setup(draft: _Draft, value: str) -> None:
    if value not in ("actpass", "active", "passive", "holdconn"):
        raise BadRequest("A setup attribute must be actpass, active, passive or holdconn.")
    draft.setup = value


def _sctpmap(draft: _Draft, value: str) -> None:
    draft.sctp_port = decimal(value.partition(" ")[0], 65_535, "The SCTP port")  # drafts before RFC 8841


def _sctp_port(draft: _Draft, value: str) -> None:
    draft.sctp_port = decimal(value, 65_535, "The SCTP port")


def _max_message_size(draft: _Draft, value: str) -> None:
    draft.max_message_size = decimal(value, 2**63, "The maximum message size")


def _group(draft: _Draft, value: str) -> None:
    semantics, *mids = value.split(None, ANSWER_MEDIA_LIMIT + 2)[: ANSWER_MEDIA_LIMIT + 2] or [""]
    if semantics == "BUNDLE" and not draft.bundle:
        draft.bundle = tuple(mids)


_READERS: dict[str, Callable[[_Draft, str], None]] = {
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
_ATTRIBUTES = re.compile(r"\na=(?!rtpmap:|rtcp-fb:|fmtp:|extmap:|candidate:)([a-z-]+):?(.*)").findall
_CANDIDATES = re.compile(r"\na=candidate:(.*)").finditer


# -- sections ---------------------------------------------------------------------------------------------------------


def _finish(
    draft: _Draft, session: _Draft, everywhere: dict[str, int], reader: FormatReader, lines: str
) -> MediaSection:
    bundle_only = "bundle-only" in draft.flags
    rejected = draft.port == 0 and not bundle_only
    read = draft.known and not rejected
    formats = reader.read(draft.kind, draft.formats, lines) if read else ((), {}, {})
    return MediaSection(
        kind=draft.kind,
        mid=draft.mid,
        port=draft.port,
        protocol=draft.protocol,
        direction=cast(Direction, draft.direction or session.direction or "sendrecv"),
        formats=draft.formats,
        codecs=formats[0],
        rtx=formats[1],
        extensions={**everywhere, **formats[2]},
        streams=_streams(draft) if read else (),
        ssrcs=tuple(draft.ssrcs),
        ssrc_groups=tuple(draft.groups),
        msid=draft.msid,
        bundle_only=bundle_only,
        rejected=rejected,
        rtcp_mux=not {"rtcp-mux", "rtcp-mux-only"}.isdisjoint(draft.flags | session.flags),
        ufrag=draft.ufrag or session.ufrag,
        pwd=draft.pwd or session.pwd,
        fingerprints=draft.fingerprints or session.fingerprints,
        setup=cast("Setup | None", draft.setup or session.setup or None),
        sctp_port=draft.sctp_port,
        max_message_size=draft.max_message_size,
        candidates=tuple([found[1] for found in islice(_CANDIDATES(lines), CANDIDATE_LIMIT)]),
        extmap_allow_mixed="extmap-allow-mixed" in draft.flags | session.flags,
    )


def _streams(draft: _Draft) -> tuple[SendStream, ...]:
    check_payload_types(draft.rids, draft.formats)
    if draft.simulcast is None:
        return declared_streams(draft.rids)
    return read_simulcast(draft.simulcast, draft.rids)
