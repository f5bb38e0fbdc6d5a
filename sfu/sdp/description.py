"""Session descriptions: what a peer's SDP says, as records.

Own parser, because aiortc's loses rid and simulcast lines and takes seconds for hostile input. This one looks at each
line once, and every list in it is bounded. RFC 8866 (SDP), RFC 9429 (how WebRTC uses it), RFC 8843 (BUNDLE), RFC 8851
and 8853 (rid, simulcast), RFC 8841 (SCTP), RFC 8839 (ICE), RFC 8122 (fingerprints).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, cast

from sfu.errors import BadRequest
from sfu.sdp.formats import FORMATTING, PER_SECTION, TOKEN, Codec, bounded, decimal, read_formats

SDP_LIMIT = 32_768
"""Characters of a description that somebody else begins with; a hostile one of this size takes 2.4 ms,"""
ANSWER_LIMIT = 65_536
"""and of an answer to ours, whose m-lines we have asked for: 5 ms."""
MEDIA_LIMIT = 64
ANSWER_MEDIA_LIMIT = 150
"""Of an answer: tracks that one participant can be sent, a microphone and a camera each of 75 people. The page's answer
says what is needed in 400 characters an m-line; one that says it all has room for some fifty."""
RID_LIMIT = 8

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
Setup = Literal["actpass", "active", "passive", "holdconn"]
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029]").search
_RID = re.compile(r"[A-Za-z0-9_-]{1,16}").fullmatch
_ICE_CHARACTERS = re.compile(r"[A-Za-z0-9+/_=-]{4,256}").fullmatch  # "_", "=", "-": not in the RFC, met in the wild
_FINGERPRINT = re.compile(r"([0-9A-Fa-f]{2}:){15,63}[0-9A-Fa-f]{2}").fullmatch


@dataclass(frozen=True, slots=True)
class MediaSection:
    """One m-line with its attributes, those of the session filled in where it has none of its own."""

    kind: str
    mid: str
    port: int
    protocol: str
    direction: Direction
    formats: tuple[str, ...]
    codecs: tuple[Codec, ...]
    "In the order of the m-line; retransmission is not among them."
    rtx: dict[int, int]
    "Payload type of the retransmission: payload type it repeats."
    extensions: dict[str, int]
    send_rids: tuple[str, ...]
    "Of the simulcast line, first choices only; of the rid lines when there is no simulcast line."
    ssrcs: tuple[int, ...]
    ssrc_groups: tuple[tuple[str, tuple[int, ...]], ...]
    "(semantics, SSRCs), e.g. FID."
    msid: str
    bundle_only: bool
    rejected: bool
    rtcp_mux: bool
    ufrag: str
    pwd: str
    fingerprints: list[tuple[str, str]]
    "(algorithm in lower case, value in upper case)."
    setup: Setup | None
    sctp_port: int | None
    max_message_size: int
    candidates: tuple[str, ...]
    "Values as they came."


@dataclass(frozen=True, slots=True)
class SessionDescription:
    media: tuple[MediaSection, ...]
    bundle: tuple[str, ...]
    "The mids of the first BUNDLE group."
    ice_lite: bool
    extmap_allow_mixed: bool


@dataclass(slots=True)
class _Draft:
    """The attributes of the session or of an m-line while its lines are read."""

    kind: str = ""
    port: int = 0
    protocol: str = ""
    formats: tuple[str, ...] = ()
    mid: str = ""
    direction: str = ""
    formatting: list[str] = field(default_factory=list)
    "The lines that `read_formats` understands."
    rids: list[str] = field(default_factory=list)
    simulcast: str = ""
    ssrcs: dict[int, None] = field(default_factory=dict)
    groups: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    msid: str = ""
    ufrag: str = ""
    pwd: str = ""
    fingerprints: list[tuple[str, str]] = field(default_factory=list)
    setup: str = ""
    sctp_port: int | None = None
    max_message_size: int = 65_536  # RFC 8841 6.1: the default
    candidates: list[str] = field(default_factory=list)
    bundle: tuple[str, ...] = ()
    flags: set[str] = field(default_factory=set)


def parse(text: str, *, answer: bool = False) -> SessionDescription:
    """Raises BadRequest with a sentence that says what is wrong. The time it takes is linear in the length."""
    limit, lines = (ANSWER_LIMIT, ANSWER_MEDIA_LIMIT) if answer else (SDP_LIMIT, MEDIA_LIMIT)
    if len(text) > limit:
        raise BadRequest(f"The SDP is longer than {limit} characters.")
    text = text.replace("\r\n", "\n")
    if not text.replace("\n", "").isprintable() and _CONTROL(text):  # the first is far faster, and stricter
        raise BadRequest("The SDP contains control characters.")
    if not text.startswith("v=0\n"):
        raise BadRequest("The SDP does not begin with v=0.")
    session = draft = _Draft()
    drafts: list[_Draft] = []
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("a="):
            key, _, value = line[2:].partition(":")
            if key in FORMATTING:
                draft.formatting.append(line)
            elif (read := _READERS.get(key)) is not None:
                read(draft, value)
            elif key in _FLAGS:
                draft.flags.add(key)
            elif key in DIRECTIONS:
                draft.direction = key
        elif line.startswith("m="):
            if len(drafts) == lines:
                raise BadRequest(f"The SDP has more than {lines} m-lines.")
            draft = _media_line(line[2:])
            drafts.append(draft)
        elif line[1:2] != "=":
            raise BadRequest("The SDP has a line that is not of the form x=value.")
    everywhere = read_formats("", (), "\n".join(session.formatting))[2]
    media = tuple([_finish(draft, session, everywhere) for draft in drafts])
    mids = [section.mid for section in media]
    if len(set(mids)) != len(mids):
        raise BadRequest("Two m-lines have the same mid.")
    return SessionDescription(media, session.bundle, "ice-lite" in session.flags, "extmap-allow-mixed" in session.flags)


# -- lines ------------------------------------------------------------------------------------------------------------


def _media_line(value: str) -> _Draft:
    parts = value.split()
    if len(parts) < 3:
        raise BadRequest("An m-line has fewer than three parts.")
    if len(parts) > 3 + 128:
        raise BadRequest("An m-line lists more than 128 formats.")
    port, _, _ = parts[1].partition("/")
    return _Draft(parts[0], decimal(port, 65_535, "The port of an m-line"), parts[2], tuple(parts[3:]))


def _rid(draft: _Draft, value: str) -> None:
    parts = value.split(" ", 2)
    if not _RID(parts[0]):
        raise BadRequest("A rid is not of 1 to 16 letters, digits, - and _.")
    if len(parts) > 1 and parts[1] == "send" and parts[0] not in draft.rids:
        bounded(len(draft.rids), RID_LIMIT, "rids")
        draft.rids.append(parts[0])


def _simulcast(draft: _Draft, value: str) -> None:
    parts = value.split()
    if "send" in parts[:-1]:
        draft.simulcast = parts[parts.index("send") + 1]


def _ssrc(draft: _Draft, value: str) -> None:
    ssrc = decimal(value.partition(" ")[0], 0xFFFFFFFF, "An SSRC")
    if ssrc not in draft.ssrcs:
        bounded(len(draft.ssrcs), PER_SECTION, "SSRCs")
        draft.ssrcs[ssrc] = None


def _ssrc_group(draft: _Draft, value: str) -> None:
    semantics, *ssrcs = value.split()[:PER_SECTION] or [""]
    bounded(len(draft.groups), PER_SECTION, "SSRC groups")
    draft.groups.append((semantics, tuple([decimal(ssrc, 0xFFFFFFFF, "An SSRC") for ssrc in ssrcs])))


def _mid(draft: _Draft, value: str) -> None:
    if not TOKEN(value):
        raise BadRequest("A mid is not a token of 1 to 32 characters.")
    draft.mid = value


def _msid(draft: _Draft, value: str) -> None:
    draft.msid = value


def _ufrag(draft: _Draft, value: str) -> None:
    if not _ICE_CHARACTERS(value):
        raise BadRequest("An ice-ufrag is not of 4 to 256 ICE characters.")
    draft.ufrag = value


def _pwd(draft: _Draft, value: str) -> None:
    if len(value) < 22 or not _ICE_CHARACTERS(value):
        raise BadRequest("An ice-pwd is not of 22 to 256 ICE characters.")
    draft.pwd = value


def _fingerprint(draft: _Draft, value: str) -> None:
    algorithm, _, digest = value.partition(" ")
    digest = digest.strip()
    if not TOKEN(algorithm) or not _FINGERPRINT(digest):
        raise BadRequest("A fingerprint is not an algorithm and a list of bytes.")
    bounded(len(draft.fingerprints), 8, "fingerprints")
    draft.fingerprints.append((algorithm.lower(), digest.upper()))


def _setup(draft: _Draft, value: str) -> None:
    if value not in ("actpass", "active", "passive", "holdconn"):
        raise BadRequest("A setup attribute is none of actpass, active, passive and holdconn.")
    draft.setup = value


def _sctp_port(draft: _Draft, value: str) -> None:
    draft.sctp_port = decimal(value, 65_535, "The SCTP port")


def _max_message_size(draft: _Draft, value: str) -> None:
    draft.max_message_size = decimal(value, 2**63, "The maximum message size")


def _candidate(draft: _Draft, value: str) -> None:
    bounded(len(draft.candidates), PER_SECTION, "candidates")
    draft.candidates.append(value)


def _group(draft: _Draft, value: str) -> None:
    semantics, *mids = value.split() or [""]
    if semantics == "BUNDLE" and not draft.bundle:
        draft.bundle = tuple(mids[: 2 * ANSWER_MEDIA_LIMIT])


_FLAGS = frozenset({"rtcp-mux", "bundle-only", "ice-lite", "extmap-allow-mixed"})
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
    "max-message-size": _max_message_size,
    "candidate": _candidate,
    "group": _group,
}


# -- sections ---------------------------------------------------------------------------------------------------------


def _finish(draft: _Draft, session: _Draft, everywhere: dict[str, int]) -> MediaSection:
    if not draft.mid:
        raise BadRequest("An m-line has no mid.")
    codecs, rtx, extensions = read_formats(draft.kind, draft.formats, "\n".join(draft.formatting))
    bundle_only = "bundle-only" in draft.flags
    return MediaSection(
        kind=draft.kind,
        mid=draft.mid,
        port=draft.port,
        protocol=draft.protocol,
        direction=cast(Direction, draft.direction or session.direction or "sendrecv"),
        formats=draft.formats,
        codecs=codecs,
        rtx=dict(rtx),
        extensions={**everywhere, **extensions},
        send_rids=_send_rids(draft),
        ssrcs=tuple(draft.ssrcs),
        ssrc_groups=tuple(draft.groups),
        msid=draft.msid,
        bundle_only=bundle_only,
        rejected=draft.port == 0 and not bundle_only,
        rtcp_mux="rtcp-mux" in draft.flags,
        ufrag=draft.ufrag or session.ufrag,
        pwd=draft.pwd or session.pwd,
        fingerprints=draft.fingerprints or session.fingerprints,
        setup=cast("Setup | None", draft.setup or session.setup or None),
        sctp_port=draft.sctp_port,
        max_message_size=draft.max_message_size,
        candidates=tuple(draft.candidates),
    )


def _send_rids(draft: _Draft) -> tuple[str, ...]:
    if not draft.simulcast:
        return tuple(draft.rids)
    # RFC 8853 5.1: streams are separated by ";", alternatives of one by ",", "~" marks a paused one.
    first_choices = [stream.partition(",")[0].removeprefix("~") for stream in draft.simulcast.split(";", RID_LIMIT + 1)]
    return tuple(dict.fromkeys(rid for rid in first_choices if rid in draft.rids))
