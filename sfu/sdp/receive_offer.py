"""Offers of clients that receive (WHEP, a single peer connection) and the answers to them.

Here the client chooses mids, payload types and header extension ids; the server sends in them. A codec of the client is
chosen by the codec of the track, since the server does not transcode. Pure functions of the offer.

RFC 9429 5.3 (answers), RFC 8843 (BUNDLE), RFC 8285 (header extensions), RFC 5576 (SSRCs), RFC 4588 (retransmission),
RFC 6184 8.2.2 (H264), draft-ietf-wish-whep (WHEP).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

from sfu.sdp.answer import DataSection, data_lines, dtls_role, is_data_section, rejected_lines
from sfu.sdp.capabilities import (
    CLOCK_RATES,
    FEEDBACK,
    PARAMETERS_LIMIT,
    SCTP_PORT,
    URI_DEPENDENCY_DESCRIPTOR,
    URI_RID,
    URI_TRANSPORT_CC,
    PayloadTypeTable,
    canonical_codec,
    h264_profile,
    identifying_parameters,
    parse_parameters,
)
from sfu.sdp.capabilities import OUT_EXTENSION_IDS as SENT_EXTENSIONS
from sfu.sdp.description import MediaSection, SessionDescription, parse
from sfu.sdp.local import LocalTransport, candidate_lines, session_lines, transport_lines
from sfu.sdp.offer import Transceiver, make_offer


@dataclass(frozen=True, slots=True)
class ReceiveCodec:
    """A codec that the client receives, with its payload types."""

    name: str
    "`VP8`, `VP9`, `H264`, `AV1`, `opus` or `red`."
    payload_type: int
    rtx: int | None
    clock_rate: int
    channels: int
    parameters: str
    "The client's fmtp value."
    feedback: tuple[str, ...]
    "Accepted feedback types."

    @property
    def nack(self) -> bool:
        """Whether the client requests lost packets."""
        return "nack" in self.feedback


@dataclass(frozen=True, slots=True)
class ReceiveSection:
    """An m-line on which the client can receive one track."""

    mid: str
    kind: Literal["audio", "video"]
    codecs: tuple[ReceiveCodec, ...]
    "In the client's order."
    extensions: dict[str, int]
    "Accepted header extensions, URI → the client's id."
    allow_mixed: bool
    "Whether the client takes one-byte and two-byte headers in one stream (RFC 8285 6)."

    def choose(self, name: str, parameters: str) -> ReceiveCodec | None:
        """The client's codec for a track with this codec and fmtp value; None: the client cannot receive it."""
        ranked = [
            (rank, index)
            for index, codec in enumerate(self.codecs)
            if codec.name == name and (rank := _mismatch(name, parameters, codec.parameters)) is not None
        ]
        return self.codecs[min(ranked)[1]] if ranked else None

    def red_for(self, codec: ReceiveCodec) -> ReceiveCodec | None:
        """RED around this audio codec (RFC 2198 5: its fmtp lists the payload types inside)."""
        inside = {str(codec.payload_type), ""}
        red = (each for each in self.codecs if each.name == "red" and set(each.parameters.split("/")) <= inside)
        return next(red, None)


@dataclass(frozen=True, slots=True)
class ReceiveOffer:
    """The part of an offer that the server can fill."""

    offer: SessionDescription
    sections: dict[str, ReceiveSection]
    "By mid, in the order of the offer."
    data: DataSection | None
    ufrag: str
    pwd: str
    fingerprints: tuple[tuple[str, str], ...]
    setup: Literal["active", "passive"]
    "DTLS role of the server."


class SentTrack(NamedTuple):
    """A track that the server sends on an m-line of the client."""

    codecs: tuple[ReceiveCodec, ...]
    "Codecs of its section to accept, the one in use first."
    parameters: str
    "fmtp value of the track's publisher."
    ssrc: int
    rtx_ssrc: int | None
    stream_id: str
    track_id: str


class OfferedTrack(NamedTuple):
    """A track of a counter-offer."""

    kind: Literal["audio", "video"]
    codec: str
    parameters: str
    ssrc: int
    rtx_ssrc: int | None
    stream_id: str
    track_id: str


# -- decisions --------------------------------------------------------------------------------------------------------


def accept_receive_offer(
    offer: SessionDescription | str, *, setup: Literal["active", "passive"] | None = None
) -> ReceiveOffer:
    """The m-lines of one transport on which the client receives.

    `setup` is the server's role if the offer leaves the choice (None: passive). Raises BadRequest if the offer is malformed or
    no answer is possible: no credentials, no fingerprint, or no multiplexed RTCP.
    """
    if isinstance(offer, str):
        offer = parse(offer)
    sections: dict[str, ReceiveSection] = {}
    data: DataSection | None = None
    used: list[MediaSection] = []
    for section in offer.media:
        bundled = section.mid in offer.bundle if offer.bundle else not used
        second = section.kind == "application" and data is not None
        if not section.mid or section.rejected or not bundled or second or not _is_usable(section):
            continue
        used.append(section)
        if section.kind == "application":
            data = DataSection(section.mid, section.sctp_port or SCTP_PORT, section.max_message_size)
        else:
            sections[section.mid] = _receive_section(section)
    transport = offer.transport_section
    role = dtls_role(offer, used, transport, setup)
    return ReceiveOffer(
        offer,
        sections,
        data,
        transport.ufrag if transport else "",
        transport.pwd if transport else "",
        tuple(transport.fingerprints) if transport else (),
        role,
    )


def _is_usable(section: MediaSection) -> bool:
    if section.kind == "application":
        return is_data_section(section)
    return section.direction in ("recvonly", "sendrecv") and bool(_codecs(section))


def _receive_section(section: MediaSection) -> ReceiveSection:
    codecs = tuple(_codecs(section))
    # rid: the client gets one stream per m-line. RFC 8285 4.1.2: without mixed headers, a dependency descriptor with a
    # template structure would force the two-byte form on all packets; SVC streams can be decoded without it.
    left_out = {URI_RID} if section.extmap_allow_mixed else {URI_RID, URI_DEPENDENCY_DESCRIPTOR}
    if not any("transport-cc" in codec.feedback for codec in codecs):
        left_out.add(URI_TRANSPORT_CC)  # the client would send no feedback for the numbers
    extensions = {
        uri: number for uri, number in section.extensions.items() if uri in SENT_EXTENSIONS and uri not in left_out
    }
    kind = cast(Literal["audio", "video"], section.kind)
    return ReceiveSection(section.mid, kind, codecs, extensions, section.extmap_allow_mixed)


def _codecs(section: MediaSection) -> list[ReceiveCodec]:
    if section.kind not in CLOCK_RATES:
        return []
    known = [
        each for each in FEEDBACK[section.kind] if each != "transport-cc" or URI_TRANSPORT_CC in section.extensions
    ]
    rtx = {apt: number for number, apt in reversed(section.rtx.items())}
    found = []
    for codec in section.codecs:
        name = canonical_codec(section.kind, codec.name)
        if name and codec.clock_rate == CLOCK_RATES[section.kind] and len(codec.parameters) <= PARAMETERS_LIMIT:
            feedback = tuple(each for each in known if each in codec.feedback)
            repair = rtx.get(codec.payload_type) if section.kind == "video" else None
            found.append(
                ReceiveCodec(
                    name, codec.payload_type, repair, codec.clock_rate, codec.channels, codec.parameters, feedback
                )
            )
    return found if any(codec.name != "red" for codec in found) else []


def _mismatch(name: str, sent: str, received: str) -> int | None:
    """How far a client's fmtp value is from a track's: 0 equal, more: it also decodes the track; None: it does not."""
    ours, theirs = parse_parameters(sent), parse_parameters(received)
    if name == "H264":
        return _h264_mismatch(ours, theirs)
    key = {"VP9": "profile-id", "AV1": "profile"}.get(name)
    if key is None:
        return 0
    return 0 if ours.get(key, "0") == theirs.get(key, "0") else None


def _h264_mismatch(ours: Mapping[str, str], theirs: Mapping[str, str]) -> int | None:
    """RFC 6184 8.2.2, and profiles that contain the track's profile. Levels may differ: layers adapt to the client."""
    if not theirs:
        return 50  # states no limits, such as GStreamer
    mode, their_mode = ours.get("packetization-mode", "0"), theirs.get("packetization-mode", "0")
    if mode != their_mode and (mode, their_mode) != ("0", "1"):
        return None
    profile, their_profile = ours.get("profile-level-id", "").lower(), theirs.get("profile-level-id", "").lower()
    rank, their_rank = h264_profile(profile), h264_profile(their_profile)
    other_mode = int(mode != their_mode)
    if rank == their_rank and (rank < 3 or profile[:2] == their_profile[:2]):
        return other_mode
    high = their_profile[:2] in ("64", "f4")  # High, and High 4:4:4 Predictive, which contains it
    if rank == 0 and (their_rank < 3 or high):
        return 2 * their_rank + other_mode
    if high and (rank == 2 or profile[:2] == "64"):
        return 6 + other_mode
    # Baseline beyond the constrained profile (FMO, ASO) is not in use; encoders omit the constraint flag.
    return 10 + other_mode if rank == 1 and their_rank == 0 else None


# -- SDP text ---------------------------------------------------------------------------------------------------------


def write_receive_answer(
    accepted: ReceiveOffer,
    local: LocalTransport,
    tracks: Mapping[str, SentTrack],
    *,
    session_id: int | str,
    session_version: int,
    inactive: Collection[str] = (),
    data: bool = False,
) -> str:
    """Writes the answer: `sendonly` with a track of `tracks` (by mid), port 0 without one.

    `inactive`: mids without a track that may get one later. `data`: accept the data channel.
    """
    kept = {*(mid for mid in accepted.sections if mid in tracks or mid in inactive)}
    if data and accepted.data is not None:
        kept.add(accepted.data.mid)
    # RFC 8843 7.3: the answer keeps the order of the offer's group, and so the tagged m-line if it is accepted.
    group = [mid for mid in dict.fromkeys(accepted.offer.bundle or kept) if mid in kept]
    transport = transport_lines(local, accepted.setup)
    lines = session_lines(session_id, session_version, group)
    if not accepted.offer.extmap_allow_mixed:
        lines.remove("a=extmap-allow-mixed")
    for section in accepted.offer.media:
        if section.mid not in kept or section.rejected:
            lines += rejected_lines(section)
            continue
        if section.kind == "application":
            lines += data_lines(section)
        else:
            lines += _section_lines(section, accepted.sections[section.mid], tracks.get(section.mid))
        lines.append(transport)
        if section.mid == group[0]:
            lines += candidate_lines(local)
    return "\r\n".join(lines) + "\r\n"


def _section_lines(section: MediaSection, receive: ReceiveSection, track: SentTrack | None) -> Iterator[str]:
    codecs = track.codecs if track is not None else receive.codecs
    formats = [codec.payload_type for codec in codecs] + [codec.rtx for codec in codecs if codec.rtx is not None]
    yield f"m={section.kind} 9 {section.protocol} {' '.join(map(str, formats))}"
    direction = "sendonly" if track is not None else "inactive"
    yield f"c=IN IP4 0.0.0.0\r\na=mid:{section.mid}\r\na={direction}\r\na=rtcp-mux\r\na=rtcp-rsize"
    if receive.allow_mixed:
        yield "a=extmap-allow-mixed"
    for index, codec in enumerate(codecs):
        yield from _codec_lines(codec, track.parameters if track is not None and not index else codec.parameters)
    for uri, number in receive.extensions.items():
        yield f"a=extmap:{number} {uri}"
    if track is None:
        return
    yield f"a=msid:{track.stream_id} {track.track_id}"
    has_rtx = track.rtx_ssrc is not None and any(codec.rtx is not None for codec in codecs)
    if has_rtx:
        yield f"a=ssrc-group:FID {track.ssrc} {track.rtx_ssrc}"
    for ssrc in (track.ssrc, track.rtx_ssrc) if has_rtx else (track.ssrc,):
        yield f"a=ssrc:{ssrc} cname:{track.stream_id}"


def _codec_lines(codec: ReceiveCodec, sent: str) -> Iterator[str]:
    """`sent`: fmtp value of the track."""
    number = codec.payload_type
    yield f"a=rtpmap:{number} {codec.name}/{codec.clock_rate}{f'/{codec.channels}' if codec.channels > 1 else ''}"
    # Opus: what is sent. Video: the client's own profile, which the answer must repeat (RFC 6184 8.2.2).
    parameters = (
        codec.parameters
        if codec.name == "red"
        else identifying_parameters(
            codec.name, sent if codec.name == "opus" or not codec.parameters else codec.parameters
        )
    )
    if parameters:
        yield f"a=fmtp:{number} {parameters}"
    for feedback in codec.feedback:
        yield f"a=rtcp-fb:{number} {feedback}"
    if codec.rtx is not None:
        yield f"a=rtpmap:{codec.rtx} rtx/{codec.clock_rate}\r\na=fmtp:{codec.rtx} apt={number}"


def counter_offer(
    tracks: Sequence[OfferedTrack], local: LocalTransport, *, session_id: int | str, session_version: int
) -> tuple[str, tuple[Transceiver, ...]]:
    """An offer of these tracks in place of an offer that the server cannot answer (WHEP: 406), with our ids.

    `parse_answer` reads the client's answer with the returned m-lines.
    """
    table = PayloadTypeTable()
    slots = []
    for index, track in enumerate(tracks):
        video = track.kind == "video"
        payload_type, rtx = table.assign(track.codec, track.parameters, video and track.rtx_ssrc is not None)
        clock_rate = CLOCK_RATES[track.kind]
        codecs = [(track.codec, clock_rate, 1 if video else 2, track.parameters, payload_type, rtx)]
        if track.codec == "opus":
            inside = f"{payload_type}/{payload_type}"
            codecs.append(("red", clock_rate, 2, inside, table.assign("red", inside, False)[0], None))
        slots.append(
            Transceiver(
                f"{index:02}",
                track.kind,
                tuple(codecs),
                track.ssrc,
                track.rtx_ssrc if rtx is not None else None,
                track.stream_id,
                track.track_id,
                True,
            )
        )
    return make_offer(slots, local, session_id=session_id, session_version=session_version), tuple(slots)
