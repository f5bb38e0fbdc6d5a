"""Answers to publishers' offers: accepted m-lines and codecs as records, and the SDP text.

Pure functions of the offer. RFC 9429 5.3 (answers), RFC 8853 (simulcast), RFC 8843 (BUNDLE), RFC 5761 (RTP and RTCP on
one port). `accept_offer` makes all decisions before anything is written, so a rejected offer changes no state.
"""

from collections.abc import Collection, Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast

from sfu.errors import BadRequest
from sfu.sdp.capabilities import (
    ACCEPTED_EXTENSIONS,
    FEEDBACK,
    MAX_MESSAGE_BYTES,
    SCTP_PORT,
    URI_RID,
    canonical_codec,
    is_stereo,
    opus_answer_parameters,
)
from sfu.sdp.codec_choice import CodecChoice, choose_codecs
from sfu.sdp.description import MediaSection, SessionDescription, parse
from sfu.sdp.formats import Codec
from sfu.sdp.local import LocalTransport, application_lines, candidate_lines, session_lines, transport_lines
from sfu.sdp.simulcast import ssrc_streams

START_BITRATE: Final = "x-google-start-bitrate=1000"
"""libwebrtc starts at 300 kbit/s, and its first probes end at four times that rate: too low for the top simulcast
layer, which then has to wait for the additive increase. Starting at 1000 kbit/s reaches it at once. Other clients
ignore the parameter.
"""
NOT_PAUSED: Final[Mapping[str, Collection[str]]] = {}


@dataclass(frozen=True, slots=True)
class ReceivedTrack:
    """One m-line on which the publisher sends."""

    mid: str
    kind: Literal["audio", "video"]
    codec: Codec
    "The main codec, under its canonical name."
    payload_types: dict[int, str]
    "Payload type → canonical codec name. Audio may have `opus` and `red`."
    rtx: dict[int, int]
    extensions: dict[str, int]
    rids: tuple[str, ...]
    ssrcs: tuple[tuple[int, int | None], ...]
    "(SSRC, RTX SSRC) pairs that the offer declares."
    layers: tuple[str, ...]
    """Simulcast layer names, lowest first: the rids, or numbers if the layers are declared by SSRC. Empty: a single stream."""
    stereo: bool = False
    "The publisher may send two channels."
    msid: str = ""

    @property
    def stream_count(self) -> int:
        """Number of SSRCs in use, including retransmissions."""
        return max(1, len(self.layers)) * (2 if self.rtx else 1)


@dataclass(frozen=True, slots=True)
class DataSection:
    mid: str
    sctp_port: int
    "Port of the peer."
    max_message_size: int
    "Longest message that the peer accepts, in bytes."


@dataclass(frozen=True, slots=True)
class AcceptedOffer:
    """The m-lines and codecs of an offer that the server accepts."""

    offer: SessionDescription
    choices: tuple[CodecChoice | None, ...]
    "One per m-line. None: the m-line is rejected."
    tracks: tuple[ReceivedTrack, ...]
    data: DataSection | None
    ufrag: str
    "The peer's; likewise the password and the fingerprints. Empty if the offer has none and no m-line is accepted."
    pwd: str
    fingerprints: tuple[tuple[str, str], ...]
    setup: Literal["active", "passive"]
    "DTLS role of the server."


@dataclass(frozen=True, slots=True)
class Answer:
    sdp: str
    tracks: tuple[ReceivedTrack, ...]
    data: DataSection | None
    ufrag: str
    pwd: str
    fingerprints: tuple[tuple[str, str], ...]
    setup: Literal["active", "passive"]


def answer_offer(
    offer: SessionDescription | str,
    local: LocalTransport,
    *,
    session_id: int | str,
    session_version: int,
    setup: Literal["active", "passive"] | None = None,
) -> Answer:
    """Combines `accept_offer` and `write_answer`."""
    if isinstance(offer, str):
        offer = parse(offer)
    accepted = accept_offer(offer, setup=setup)
    sdp = write_answer(accepted, local, session_id=session_id, session_version=session_version)
    return Answer(
        sdp,
        accepted.tracks,
        accepted.data,
        accepted.ufrag,
        accepted.pwd,
        accepted.fingerprints,
        accepted.setup,
    )


# -- decisions
# ----------------------------------------------------------------------------------------------------------


def accept_offer(
    offer: SessionDescription, *, setup: Literal["active", "passive"] | None = None, data: bool = True
) -> AcceptedOffer:
    """Accepts every supported m-line and rejects the rest.

    `setup` is the server's role if the offer leaves the choice (None: passive). `data`: accept a data channel. Raises
    BadRequest if no answer is possible: no credentials, no fingerprint, or no multiplexed RTCP.
    """
    choices = _choices(offer, data=data)
    taken = [section for section, choice in zip(offer.media, choices, strict=True) if choice is not None]
    transport_section = offer.transport_section
    role = dtls_role(offer, taken, transport_section, setup)
    tracks: list[ReceivedTrack] = []
    data_section: DataSection | None = None
    for section, choice in zip(offer.media, choices, strict=True):
        if choice is None:
            continue
        if section.kind == "application":
            data_section = DataSection(section.mid, section.sctp_port or SCTP_PORT, section.max_message_size)
        elif _sends(section):
            tracks.append(_track(section, choice))
    return AcceptedOffer(
        offer,
        tuple(choices),
        tuple(tracks),
        data_section,
        transport_section.ufrag if transport_section else "",
        transport_section.pwd if transport_section else "",
        tuple(transport_section.fingerprints) if transport_section else (),
        role,
    )


def _choices(offer: SessionDescription, *, data: bool) -> list[CodecChoice | None]:
    """Choices for the m-lines of one transport: the BUNDLE group, or the first usable m-line without a group."""
    group = set(offer.bundle)
    choices: list[CodecChoice | None] = []
    for section in offer.media:
        choice: CodecChoice | None = None
        bundled = section.mid in group if group else not any(choices)
        if section.mid and not section.rejected and bundled and (data or section.kind != "application"):
            choice = _choose(section)
            data = data and (choice is None or section.kind != "application")
        choices.append(choice)
    return choices


def dtls_role(
    offer: SessionDescription,
    taken: list[MediaSection],
    transport_section: MediaSection | None,
    setup: Literal["active", "passive"] | None,
) -> Literal["active", "passive"]:
    if not taken or transport_section is None:
        return setup or "passive"
    if offer.ice_lite:
        raise BadRequest("The offer is ICE-lite like this server; one side needs full ICE.")
    if not transport_section.ufrag or not transport_section.pwd:
        raise BadRequest("The offer has no ICE credentials.")
    if not transport_section.fingerprints:
        raise BadRequest("The offer has no certificate fingerprint.")
    media = [section for section in taken if section.kind != "application"]
    # RFC 8843 9.3: one m-line of the bundle is enough.
    if media and not (transport_section.rtcp_mux or any(section.rtcp_mux for section in media)):
        raise BadRequest("The offer does not multiplex RTCP; offer a=rtcp-mux.")
    if transport_section.setup in (None, "actpass"):
        return setup or "passive"
    if transport_section.setup == "holdconn":
        raise BadRequest("The offer uses setup:holdconn, which is not supported.")
    return "passive" if transport_section.setup == "active" else "active"


def _choose(section: MediaSection) -> CodecChoice | None:
    """None: the m-line is rejected."""
    if section.kind == "application":
        return CodecChoice((), ()) if is_data_section(section) else None
    return choose_codecs(section)


def is_data_section(section: MediaSection) -> bool:
    """Whether it is the m-line of data channels."""
    return "DTLS/SCTP" in section.protocol and ("webrtc-datachannel" in section.formats or _is_sctpmap(section))


def _is_sctpmap(section: MediaSection) -> bool:
    """Whether it is a data channel in the syntax of drafts before RFC 8841, where the format is the SCTP port."""
    return (
        section.protocol == "DTLS/SCTP"
        and section.sctp_port is not None
        and section.formats[:1] == (str(section.sctp_port),)
    )


def _sends(section: MediaSection) -> bool:
    return section.direction in ("sendrecv", "sendonly")


def _extensions(section: MediaSection) -> dict[str, int]:
    # Accept rid even without simulcast: libwebrtc omits an extension that was rejected once from later offers, so the
    # next simulcast m-line would lack it.
    return {uri: number for uri, number in section.extensions.items() if uri in ACCEPTED_EXTENSIONS}


def _rids(section: MediaSection, choice: CodecChoice) -> tuple[str, ...]:
    """The rids to receive with the chosen codec."""
    if not _sends(section) or URI_RID not in section.extensions:
        return ()
    chosen = [stream.choose(choice.main.payload_type) for stream in section.streams]
    return tuple(dict.fromkeys(rid for rid in chosen if rid is not None))


def _track(section: MediaSection, choice: CodecChoice) -> ReceivedTrack:
    names = {codec.payload_type: canonical_codec(section.kind, codec.name) or "" for codec in choice.codecs}
    main = choice.main
    name = names[main.payload_type]
    if name != main.name:
        main = Codec(name, main.payload_type, main.clock_rate, main.channels, main.parameters, main.feedback)
    rids = _rids(section, choice)
    declared = ssrc_streams(section.ssrcs, section.ssrc_groups)
    layers = rids or (tuple(str(number) for number in range(len(declared.streams))) if declared.simulcast else ())
    return ReceivedTrack(
        section.mid,
        cast(Literal["audio", "video"], section.kind),
        main,
        names,
        dict(choice.rtx),
        _extensions(section),
        rids,
        declared.streams,
        layers,
        name == "opus" and is_stereo(main.parameters),
        section.msid,
    )


# -- SDP text
# -----------------------------------------------------------------------------------------------------------


def write_answer(
    accepted: AcceptedOffer,
    local: LocalTransport,
    *,
    session_id: int | str,
    session_version: int,
    stereo: Container[str] = (),
    paused: Mapping[str, Collection[str]] = NOT_PAUSED,
) -> str:
    """Writes the answer. `stereo`: mids of audio that may have two channels. `paused`: rids, by mid, to mark as paused."""
    taken = {section.mid for section, choice in _pairs(accepted) if choice is not None}
    # RFC 8843 7.3: the answer keeps the order of the offer's group, and so the tagged m-line if it is accepted.
    group = [mid for mid in dict.fromkeys(accepted.offer.bundle or taken) if mid in taken]
    transport = transport_lines(local, accepted.setup)
    lines = session_lines(session_id, session_version, group)
    for section, choice in _pairs(accepted):
        if choice is None:
            lines += rejected_lines(section)
            continue
        if section.kind == "application":
            lines += data_lines(section)
        else:
            lines += _media_lines(section, choice, section.mid in stereo, paused.get(section.mid, ()))
        lines.append(transport)
        if section.mid == group[0]:
            lines += candidate_lines(local)
    return "\r\n".join(lines) + "\r\n"


def _pairs(accepted: AcceptedOffer) -> Iterator[tuple[MediaSection, CodecChoice | None]]:
    return zip(accepted.offer.media, accepted.choices, strict=True)


def data_lines(section: MediaSection) -> list[str]:
    if not _is_sctpmap(section):
        return application_lines(section.mid, SCTP_PORT, MAX_MESSAGE_BYTES, section.protocol)
    return [
        f"m=application 9 {section.protocol} {SCTP_PORT}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{section.mid}",
        f"a=sctpmap:{SCTP_PORT} webrtc-datachannel 1024",
    ]


def _media_lines(section: MediaSection, choice: CodecChoice, stereo: bool, paused: Collection[str]) -> Iterator[str]:
    formats = [codec.payload_type for codec in choice.codecs] + [number for number, _ in choice.rtx]
    yield f"m={section.kind} 9 {section.protocol} {' '.join(map(str, formats))}"
    direction = "recvonly" if _sends(section) else "inactive"
    yield f"c=IN IP4 0.0.0.0\r\na=mid:{section.mid}\r\na={direction}\r\na=rtcp-mux\r\na=rtcp-rsize"
    for codec in choice.codecs:
        number = codec.payload_type
        channels = f"/{codec.channels}" if codec.channels > 1 else ""
        name = canonical_codec(section.kind, codec.name)
        yield f"a=rtpmap:{number} {name}/{codec.clock_rate}{channels}"
        parameters = codec.parameters
        if section.kind == "video":
            parameters = f"{parameters};{START_BITRATE}" if parameters else START_BITRATE
        elif name == "opus":
            parameters = opus_answer_parameters(parameters, stereo=stereo)
        if parameters:
            yield f"a=fmtp:{number} {parameters}"
        for feedback in FEEDBACK[section.kind]:
            if feedback in codec.feedback:
                yield f"a=rtcp-fb:{number} {feedback}"
    for number, apt in choice.rtx:
        yield f"a=rtpmap:{number} rtx/{choice.codecs[0].clock_rate}\r\na=fmtp:{number} apt={apt}"
    for uri, number in _extensions(section).items():
        yield f"a=extmap:{number} {uri}"
    rids = _rids(section, choice)
    if rids:
        for rid in rids:
            yield f"a=rid:{rid} recv"
        # RFC 8853 5.1: "~" marks a paused stream.
        yield f"a=simulcast:recv {';'.join(f'~{rid}' if rid in paused else rid for rid in rids)}"


def rejected_lines(section: MediaSection) -> list[str]:
    lines = [
        f"m={section.kind} 0 {section.protocol} {section.formats[0] if section.formats else '0'}",
        "c=IN IP4 0.0.0.0",
        "a=inactive",
    ]
    if section.mid:
        lines.insert(2, f"a=mid:{section.mid}")
    return lines
