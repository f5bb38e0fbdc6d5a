"""Offers to subscribers, and parsing of their answers.

The server chooses every id and payload type, so that outgoing packets have the same form for all subscribers
(sfu.forwarding.packet). An m-line is a slot: it keeps its mid and position for the lifetime of the connection and
carries one track after another. RFC 9429 5.2 (offers), RFC 8843 (BUNDLE), RFC 5576 (SSRCs), RFC 4588 (retransmission).
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Final, Literal, NamedTuple

from sfu.errors import BadRequest
from sfu.sdp.answer import DataSection
from sfu.sdp.capabilities import (
    FEEDBACK,
    MAX_MESSAGE_BYTES,
    OFFERED_EXTENSIONS,
    SCTP_PORT,
    canonical_codec,
    identifying_parameters,
)
from sfu.sdp.description import MediaSection, parse
from sfu.sdp.local import LocalTransport, application_lines, candidate_lines, session_lines, transport_lines

DATA_MID = "data"
"""Mid of the data channel m-line. It comes first, so that new slots can follow without moving it."""

ANSWER_LINE_LIMIT: Final = 8_192
"""Maximum length of an answer in characters per m-line of its offer. Browsers need about 1,200. A longer answer is not
parsed.
"""


class Transceiver(NamedTuple):
    """One m-line of a subscriber and the track that it carries."""

    mid: str
    kind: Literal["audio", "video"]
    codecs: tuple[tuple[str, int, int, str, int, int | None], ...]
    "(name, clock rate, channels, fmtp value, payload type, RTX payload type)."
    ssrc: int
    rtx_ssrc: int | None
    stream_id: str
    track_id: str
    active: bool


class AnsweredSection(NamedTuple):
    """The part of a slot that the subscriber accepts."""

    payload_types: dict[int, str]
    rtx: dict[int, int]
    extensions: dict[str, int]
    accepted: bool


class ParsedAnswer(NamedTuple):
    ufrag: str
    fingerprints: tuple[tuple[str, str], ...]
    setup: Literal["active", "passive"]
    "DTLS role of the subscriber."
    sections: dict[str, AnsweredSection]
    pwd: str
    data: DataSection | None


def make_offer(
    slots: Sequence[Transceiver],
    local: LocalTransport,
    *,
    session_id: int | str,
    session_version: int,
    data: bool = False,
    without: Collection[str] = frozenset(),
) -> str:
    """`without`: URIs of header extensions to leave out."""
    mids = [slot.mid for slot in slots]
    if data:
        mids.insert(0, DATA_MID)
    lines = session_lines(session_id, session_version, mids)
    transport = transport_lines(local, "actpass")
    candidates = candidate_lines(local)
    if data:
        lines += application_lines(DATA_MID, SCTP_PORT, MAX_MESSAGE_BYTES)
        lines.append(transport)
        lines += candidates
        candidates = []
    extensions = {
        kind: "\r\n".join([f"a=extmap:{number} {uri}" for uri, number in offered if uri not in without])
        for kind, offered in OFFERED_EXTENSIONS.items()
    }
    for slot in slots:
        lines += _slot_lines(slot)
        lines.append(extensions[slot.kind])
        lines.append(transport)
        lines += candidates
        candidates = []
    return "\r\n".join(lines) + "\r\n"


def _slot_lines(slot: Transceiver) -> Iterator[str]:
    formats = [codec[4] for codec in slot.codecs] + [codec[5] for codec in slot.codecs if codec[5] is not None]
    yield f"m={slot.kind} 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, formats))}"
    direction = "sendonly" if slot.active else "inactive"
    yield f"c=IN IP4 0.0.0.0\r\na=mid:{slot.mid}\r\na={direction}\r\na=rtcp-mux\r\na=rtcp-rsize"
    for name, clock_rate, channels, parameters, payload_type, rtx in slot.codecs:
        yield f"a=rtpmap:{payload_type} {name}/{clock_rate}{f'/{channels}' if channels > 1 else ''}"
        parameters = identifying_parameters(name, parameters)
        if parameters:
            yield f"a=fmtp:{payload_type} {parameters}"
        if name != "red":
            for feedback in FEEDBACK[slot.kind]:
                yield f"a=rtcp-fb:{payload_type} {feedback}"
        if rtx is not None:
            yield f"a=rtpmap:{rtx} rtx/{clock_rate}\r\na=fmtp:{rtx} apt={payload_type}"
    if slot.active:
        yield f"a=msid:{slot.stream_id} {slot.track_id}"
        if slot.rtx_ssrc is not None:
            yield f"a=ssrc-group:FID {slot.ssrc} {slot.rtx_ssrc}"
        yield f"a=ssrc:{slot.ssrc} cname:{slot.stream_id}"
        if slot.rtx_ssrc is not None:
            yield f"a=ssrc:{slot.rtx_ssrc} cname:{slot.stream_id}"


def parse_answer(text: str, slots: Sequence[Transceiver]) -> ParsedAnswer:
    """Raises BadRequest unless the answer has the m-lines of the offer in the same order, and a transport."""
    lines = text.count("\nm=")
    if lines > len(slots) + 1:
        raise BadRequest(f"The answer has {lines} m-lines, the offer has {len(slots)}.")
    if len(text) > ANSWER_LINE_LIMIT * (len(slots) + 2):
        raise BadRequest(f"The answer is longer than {ANSWER_LINE_LIMIT:,} characters per m-line of the offer.")
    answer = parse(text, answer=True)
    media = list(answer.media)
    data: DataSection | None = None
    if media and media[0].kind == "application" and media[0].mid == DATA_MID:
        section = media.pop(0)
        if not section.rejected:
            data = DataSection(DATA_MID, section.sctp_port or SCTP_PORT, section.max_message_size)
    if len(media) != len(slots):
        raise BadRequest(f"The answer has {len(media)} media m-lines, the offer has {len(slots)}.")
    sections: dict[str, AnsweredSection] = {}
    for slot, section in zip(slots, media, strict=True):
        if section.mid != slot.mid or section.kind != slot.kind:
            raise BadRequest(f"The answer does not match m-line {slot.mid} of the offer.")
        sections[slot.mid] = _accepted(slot, section)
    used = answer.transport_section
    if used is None:
        return ParsedAnswer("", (), "active", sections, "", None)
    if not used.has_transport:
        raise BadRequest("The answer lacks ICE credentials or a certificate fingerprint.")
    if used.setup not in ("active", "passive"):
        raise BadRequest("The answer's setup must be active or passive.")
    return ParsedAnswer(used.ufrag, tuple(used.fingerprints), used.setup, sections, used.pwd, data)


def _accepted(slot: Transceiver, section: MediaSection) -> AnsweredSection:
    offered = {codec[4]: codec[0] for codec in slot.codecs}
    offered_rtx = {codec[5]: codec[4] for codec in slot.codecs if codec[5] is not None}
    names = {
        codec.payload_type: offered[codec.payload_type]
        for codec in section.codecs
        if codec.payload_type in offered and canonical_codec(slot.kind, codec.name) == offered[codec.payload_type]
    }
    rtx = {number: apt for number, apt in section.rtx.items() if offered_rtx.get(number) == apt and apt in names}
    own = dict(OFFERED_EXTENSIONS[slot.kind])
    extensions = {uri: number for uri, number in section.extensions.items() if own.get(uri) == number}
    receives = section.direction in ("recvonly", "sendrecv")
    return AnsweredSection(names, rtx, extensions, not section.rejected and receives and bool(names))
