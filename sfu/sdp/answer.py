"""Answers to the offers of those who publish: what we take of each m-line, as a description and as records.

A pure function of the offer. RFC 9429 5.3 (answers), RFC 8853 (simulcast), RFC 8843 (BUNDLE), RFC 5761 (one port for
RTP and RTCP).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, cast

from sfu.errors import BadRequest
from sfu.sdp.capabilities import (
    ACCEPTED_EXTENSIONS,
    CLOCK_RATES,
    FEEDBACK,
    MAX_MESSAGE_BYTES,
    PARAMETERS_LIMIT,
    SCTP_PORT,
    URI_RID,
    canonical_codec,
)
from sfu.sdp.description import MediaSection, SessionDescription, parse
from sfu.sdp.formats import Codec
from sfu.sdp.local import LocalTransport, application_lines, candidate_lines, session_lines, transport_lines

START_BITRATE: Final = "x-google-start-bitrate=1000"
"""libwebrtc begins at 300 kbit/s, and its first probes end at four times that: too little for the top simulcast layer,
which then waits for an additive rise. From 1000 kbit/s it is there at once; others ignore the word."""


@dataclass(frozen=True, slots=True)
class ReceivedTrack:
    """One m-line that will send to us."""

    mid: str
    kind: Literal["audio", "video"]
    codec: Codec
    "The main one, under its canonical name."
    payload_types: dict[int, str]
    "Payload type: canonical codec name; audio may have `opus` and `red`."
    rtx: dict[int, int]
    extensions: dict[str, int]
    rids: tuple[str, ...]
    ssrcs: tuple[tuple[int, int | None], ...]
    "(SSRC, that of its retransmissions), as far as the offer declares them."
    msid: str = ""


@dataclass(frozen=True, slots=True)
class DataSection:
    mid: str
    sctp_port: int
    "The peer's."
    max_message_size: int
    "The longest message that the peer takes, bytes."


@dataclass(frozen=True, slots=True)
class Answer:
    sdp: str
    tracks: tuple[ReceivedTrack, ...]
    data: DataSection | None
    ufrag: str
    "The peer's, as are the password and the fingerprints."
    pwd: str
    fingerprints: tuple[tuple[str, str], ...]
    setup: Literal["active", "passive"]
    "Our role in the DTLS handshake."


@dataclass(frozen=True, slots=True)
class _Choice:
    """What of one m-line's codecs we take."""

    codecs: tuple[Codec, ...]
    rtx: tuple[tuple[int, int], ...]


def answer_offer(
    offer: SessionDescription | str,
    local: LocalTransport,
    *,
    session_id: int | str,
    session_version: int,
    setup: Literal["active", "passive"] | None = None,
) -> Answer:
    """Takes what it can of every m-line and rejects the rest.

    `setup` is our role when the offer leaves the choice (None: passive). Raises BadRequest if the offer cannot be
    answered at all: no credentials, no fingerprint, no multiplexed RTCP.
    """
    if isinstance(offer, str):
        offer = parse(offer)
    bundled = _bundled(offer)
    choices = {section.mid: choice for section in bundled if (choice := _choose(section)) is not None}
    accepted = [section for section in bundled if section.mid in choices]
    role = _role(offer, accepted, setup)
    transport = transport_lines(local, role)
    lines = session_lines(session_id, session_version, [section.mid for section in accepted])
    tracks: list[ReceivedTrack] = []
    data: DataSection | None = None
    tagged = accepted[0].mid if accepted else None
    for section in offer.media:
        choice = choices.get(section.mid)
        if choice is None:
            lines += _rejected_lines(section)
            continue
        if section.kind == "application":
            data = DataSection(section.mid, section.sctp_port or SCTP_PORT, section.max_message_size)
            lines += application_lines(section.mid, SCTP_PORT, MAX_MESSAGE_BYTES)
        else:
            sends = section.direction in ("sendrecv", "sendonly")
            rids = section.send_rids if sends and URI_RID in section.extensions else ()
            # rid too where there is no simulcast: libwebrtc leaves out of later offers what was refused once, and the
            # next simulcast m-line would then lack it
            extensions = {uri: number for uri, number in section.extensions.items() if uri in ACCEPTED_EXTENSIONS}
            lines += _media_lines(section, choice, extensions, rids, "recvonly" if sends else "inactive")
            if sends:
                tracks.append(_track(section, choice, extensions, rids))
        lines.append(transport)
        if section.mid == tagged:
            lines += candidate_lines(local)
    first = accepted[0] if accepted else None
    return Answer(
        "\r\n".join(lines) + "\r\n",
        tuple(tracks),
        data,
        first.ufrag if first else "",
        first.pwd if first else "",
        tuple(first.fingerprints) if first else (),
        role,
    )


def _bundled(offer: SessionDescription) -> list[MediaSection]:
    """The m-lines that share one transport: the BUNDLE group, or the first m-line where there is none."""
    wanted = [section for section in offer.media if not section.rejected]
    if offer.bundle:
        group = set(offer.bundle)
        wanted = [section for section in wanted if section.mid in group]
    else:
        wanted = wanted[:1]
    applications = [section for section in wanted if section.kind == "application"]
    return [section for section in wanted if section.kind != "application" or section is applications[0]]


def _role(
    offer: SessionDescription, accepted: list[MediaSection], setup: Literal["active", "passive"] | None
) -> Literal["active", "passive"]:
    if not accepted:
        return setup or "passive"
    first = accepted[0]
    if offer.ice_lite:
        raise BadRequest("Both sides are ICE-lite, so nobody would check the connection.")
    if not first.ufrag or not first.pwd:
        raise BadRequest("The offer has no ICE credentials.")
    if not first.fingerprints:
        raise BadRequest("The offer has no certificate fingerprint.")
    if any(not section.rtcp_mux for section in accepted if section.kind != "application"):
        raise BadRequest("An m-line does not offer rtcp-mux.")
    if first.setup in (None, "actpass"):
        return setup or "passive"
    if first.setup == "holdconn":
        raise BadRequest("The offer holds the connection (setup:holdconn).")
    return "passive" if first.setup == "active" else "active"


def _choose(section: MediaSection) -> _Choice | None:
    """None: the m-line is rejected."""
    if section.kind == "application":
        known = "DTLS/SCTP" in section.protocol and "webrtc-datachannel" in section.formats
        return _Choice((), ()) if known else None
    main: Codec | None = None
    red: Codec | None = None
    for codec in section.codecs:
        name = canonical_codec(section.kind, codec.name)
        if name is None or codec.clock_rate != CLOCK_RATES[section.kind] or len(codec.parameters) > PARAMETERS_LIMIT:
            continue
        if name == "red":
            red = red or codec
        elif main is None:
            main = codec
    if main is None:
        return None
    # RFC 2198 5: the fmtp of red names what is inside; only our own main codec is of use.
    chosen = [main]
    if red is not None and set(red.parameters.split("/")) <= {str(main.payload_type), ""}:
        chosen = [codec for codec in section.codecs if codec is main or codec is red]
    rtx = tuple([(number, apt) for number, apt in section.rtx.items() if apt == main.payload_type][:1])
    return _Choice(tuple(chosen), rtx)


def _media_lines(
    section: MediaSection, choice: _Choice, extensions: dict[str, int], rids: tuple[str, ...], direction: str
) -> Iterator[str]:
    formats = [codec.payload_type for codec in choice.codecs] + [number for number, _ in choice.rtx]
    yield f"m={section.kind} 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, formats))}"
    yield f"c=IN IP4 0.0.0.0\r\na=mid:{section.mid}\r\na={direction}\r\na=rtcp-mux\r\na=rtcp-rsize"
    for codec in choice.codecs:
        number = codec.payload_type
        channels = f"/{codec.channels}" if codec.channels > 1 else ""
        yield f"a=rtpmap:{number} {canonical_codec(section.kind, codec.name)}/{codec.clock_rate}{channels}"
        parameters = codec.parameters
        if section.kind == "video":
            parameters = f"{parameters};{START_BITRATE}" if parameters else START_BITRATE
        if parameters:
            yield f"a=fmtp:{number} {parameters}"
        for feedback in FEEDBACK[section.kind]:
            if feedback in codec.feedback:
                yield f"a=rtcp-fb:{number} {feedback}"
    for number, apt in choice.rtx:
        yield f"a=rtpmap:{number} rtx/{choice.codecs[0].clock_rate}\r\na=fmtp:{number} apt={apt}"
    for uri, number in extensions.items():
        yield f"a=extmap:{number} {uri}"
    if rids:
        for rid in rids:
            yield f"a=rid:{rid} recv"
        yield f"a=simulcast:recv {';'.join(rids)}"


def _rejected_lines(section: MediaSection) -> list[str]:
    return [
        f"m={section.kind} 0 {section.protocol} {section.formats[0] if section.formats else '0'}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{section.mid}",
        "a=inactive",
    ]


def _track(section: MediaSection, choice: _Choice, extensions: dict[str, int], rids: tuple[str, ...]) -> ReceivedTrack:
    names = {codec.payload_type: canonical_codec(section.kind, codec.name) or "" for codec in choice.codecs}
    main = next(codec for codec in choice.codecs if names[codec.payload_type] != "red")
    name = names[main.payload_type]
    if name != main.name:
        main = Codec(name, main.payload_type, main.clock_rate, main.channels, main.parameters, main.feedback)
    return ReceivedTrack(
        section.mid,
        cast(Literal["audio", "video"], section.kind),
        main,
        names,
        dict(choice.rtx),
        extensions,
        rids,
        _declared_streams(section),
        section.msid,
    )


def _declared_streams(section: MediaSection) -> tuple[tuple[int, int | None], ...]:
    """Main SSRCs with their retransmissions. RFC 5576 4.2: FID pairs them; FEC's own SSRCs are left out."""
    retransmissions: dict[int, int] = {}
    secondary: set[int] = set()
    for semantics, ssrcs in section.ssrc_groups:
        if semantics == "FID" and len(ssrcs) == 2:
            retransmissions[ssrcs[0]] = ssrcs[1]
            secondary.add(ssrcs[1])
        elif semantics == "FEC-FR":
            secondary.update(ssrcs[1:])
    return tuple([(ssrc, retransmissions.get(ssrc)) for ssrc in section.ssrcs if ssrc not in secondary])
