"""SDP parser: session descriptions as records.

The parser of aiortc drops rid and simulcast lines and takes seconds for hostile input, so this package has its own. The
format lines are the same for all m-lines of a kind, so each distinct set is parsed only once. Every list is limited by
the constants below. RFC 8866 (SDP), RFC 9429 (WebRTC's use of it), RFC 8843 (BUNDLE), RFC 8841 (SCTP), RFC 8839 (ICE),
RFC 8122 (fingerprints).
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal, cast

from sfu.errors import BadRequest
from sfu.sdp.attributes import (
    ANSWER_MEDIA_LIMIT,
    MID_LIMIT,
    Attributes,
    find_attributes,
    read_attributes,
    read_media_line,
)
from sfu.sdp.formats import Codec, FormatReader
from sfu.sdp.simulcast import RID_LIMIT, SendStream, check_payload_types, declared_streams, read_simulcast

__all__ = ["ANSWER_MEDIA_LIMIT", "MID_LIMIT", "RID_LIMIT", "MediaSection", "SessionDescription", "parse"]

SDP_LIMIT: Final = 196_608
"""Maximum number of characters. Chromium needs 3,800 for a camera in simulcast, or 8,000 with hardware codecs."""
LINE_LIMIT: Final = 8_192
"""Maximum number of lines. Chromium needs 130 for a camera in simulcast, or 280 with hardware codecs."""
ATTRIBUTE_LIMIT: Final = 2_048
"""Maximum number of attributes, not counting formats and candidates. Browsers need 18 to 40 per m-line."""
ANSWER_ATTRIBUTE_LIMIT: Final = 3_600
"""The same limit for an answer. Browsers need 12 per m-line."""
MEDIA_LIMIT: Final = 64
CANDIDATE_LIMIT: Final = 64
"""Maximum number of candidates per m-line. The server is an ICE-lite agent and does not need them."""
TOTALS: Final = {"rid": 192, "ssrc-group": 256}
"""Maximum number of lines per description. 16 cameras in three layers have 48 rids and 112 SSRC groups."""
_CANDIDATES = re.compile(r"\na=candidate:(.*)").finditer

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
Setup = Literal["actpass", "active", "passive", "holdconn"]
_PLAIN = bytes([9, 10, *range(32, 127)])
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]").search


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


def parse(text: str, *, answer: bool = False) -> SessionDescription:
    """Raises BadRequest with a description of the problem."""
    limit, attributes = (ANSWER_MEDIA_LIMIT, ANSWER_ATTRIBUTE_LIMIT) if answer else (MEDIA_LIMIT, ATTRIBUTE_LIMIT)
    session_text, *media_texts = _sections(text, limit)
    reader = FormatReader()
    session = Attributes()
    found = find_attributes(session_text)
    attributes -= len(found)
    if attributes >= 0:
        read_attributes(session, found)
    everywhere = reader.read("", (), session_text)[2]
    media: list[MediaSection] = []
    for section in media_texts:
        line, _, lines = section.partition("\n")
        draft = read_media_line(line)
        lines = f"\n{lines}"
        found = find_attributes(lines)
        attributes -= len(found)
        if attributes < 0:
            raise BadRequest("The SDP has too many attributes; remove unused m-lines.")
        if draft.known:
            read_attributes(draft, found)
        else:
            with suppress(BadRequest):  # the m-line is rejected anyway
                read_attributes(draft, found)
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


# -- sections ---------------------------------------------------------------------------------------------------------


def _finish(
    draft: Attributes, session: Attributes, everywhere: dict[str, int], reader: FormatReader, lines: str
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


def _streams(draft: Attributes) -> tuple[SendStream, ...]:
    check_payload_types(draft.rids, draft.formats)
    if draft.simulcast is None:
        return declared_streams(draft.rids)
    return read_simulcast(draft.simulcast, draft.rids)
