"""Fuzz targets for what comes as text: descriptions, tokens, JSON, playlists' requests, RTMP. Only refusals may come out."""

import base64
import hmac
import ipaddress
import math
from contextlib import suppress
from urllib.parse import parse_qsl

import msgspec

from sfu.api.hls import _NAME
from sfu.api.playback_tokens import PlaybackTokens, derive_secrets
from sfu.auth.addresses import UNKNOWN, ClientAddresses, parse_address
from sfu.auth.revocation import Revocations
from sfu.auth.tokens import Verifier
from sfu.errors import BadRequest, MalformedPacket, NotAuthorized
from sfu.mixer.scene import parse_template
from sfu.outputs.hls.delivery_directives import DeliveryDirectives
from sfu.rtmp import amf
from sfu.rtmp.client import PublishingSession, State
from sfu.rtmp.flv import parse_audio, parse_video
from sfu.rtmp.server import UNAUTHENTICATED_LIMIT, Media, PublishRequested, ServerSession
from sfu.sdp.answer import answer_offer
from sfu.sdp.description import CANDIDATE_LIMIT, SDP_LIMIT, parse
from sfu.sdp.ice_fragment import fragment_of, parse_fragment
from sfu.sdp.ingest_offer import accept_ingest
from sfu.sdp.local import LocalTransport
from sfu.sdp.offer import Transceiver, make_offer, parse_answer
from sfu.sdp.receive_offer import SentTrack, accept_receive_offer, write_receive_answer
from sfu.signaling import json_dialect, messages
from sfu.signaling.frames import CLOSE_NO_CODE, FrameReader, FrameViolation, Opcode
from tests.fuzz.records import records

LOCAL = LocalTransport(
    "ourUfrag", "ourPassword0123456789abc", ":".join(["AB"] * 32), (("192.0.2.1", 5000, 2130706431, "1", "udp"),)
)
SLOTS = (
    Transceiver("0", "audio", (("opus", 48_000, 2, "", 111, None),), 7, None, "s", "t", True),
    Transceiver("1", "video", (("VP8", 90_000, 1, "", 96, 97),), 8, 9, "s", "u", True),
)
PROXIES = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fc00::/7"))
SECRET = "a-secret-of-thirty-two-bytes-or-more"
NOW = 1_800_000_000.0


def fuzz_offer(data: bytes) -> None:
    text = data.decode(errors="replace")
    with suppress(BadRequest):
        answer = answer_offer(text, LOCAL, session_id=1, session_version=1)
        if len(answer.sdp) <= SDP_LIMIT:
            read_back = parse(answer.sdp)
            assert [each.mid for each in read_back.media] == [each.mid for each in parse(text).media]
        for track in answer.tracks:
            assert track.codec.payload_type in track.payload_types


def fuzz_answer(data: bytes) -> None:
    with suppress(BadRequest):
        accepted = parse_answer(data.decode(errors="replace"), SLOTS)
        assert accepted.sections.keys() == {slot.mid for slot in SLOTS}
        make_offer(SLOTS, LOCAL, session_id=1, session_version=2, data=True)


def fuzz_fragment(data: bytes) -> None:
    """The body of a PATCH of WHIP and WHEP."""
    with suppress(BadRequest):
        fragment = parse_fragment(data.decode(errors="replace"))
        assert bool(fragment.ufrag) == bool(fragment.pwd)
        assert fragment.candidates <= CANDIDATE_LIMIT


def fuzz_http_offer(data: bytes) -> None:
    """An offer of an encoder (WHIP) or a player (WHEP), and the ICE part of the answer."""
    text = data.decode(errors="replace")
    with suppress(BadRequest):
        offer = accept_ingest(parse(text))
        answer = offer.adapt(answer_offer(text, LOCAL, session_id=1, session_version=1).sdp)
        assert parse_fragment(fragment_of(answer)).ufrag == LOCAL.ufrag
    with suppress(BadRequest):
        received = accept_receive_offer(parse(text))
        tracks = {
            mid: SentTrack(tuple(section.codecs), section.codecs[0].parameters, 7, 8, "s", "t")
            for mid, section in received.sections.items()
            if section.codecs
        }
        answer = write_receive_answer(received, LOCAL, tracks, session_id=1, session_version=1)
        if len(answer) <= SDP_LIMIT:
            assert [each.mid for each in parse(answer).media] == [each.mid for each in received.offer.media]


def fuzz_message(data: bytes) -> None:
    with suppress(msgspec.MsgspecError, UnicodeError, RecursionError):
        message = json_dialect.decode(data.decode())
        assert json_dialect.decode(json_dialect.encode(message)) == message


def fuzz_token(data: bytes) -> None:
    """As a whole, as a signed token's payload, and as the header of one."""
    verifier = Verifier({"app": SECRET})
    for token in (data.decode(errors="surrogateescape"), _signed(HEADER, data), _signed(data, PAYLOAD)):
        with suppress(NotAuthorized):
            claims = verifier.verify(token, NOW)
            assert math.isfinite(claims.expires_at)
            verifier.revoke(claims, NOW)
            with suppress(NotAuthorized):
                verifier.verify(token, NOW)
                raise AssertionError("a revoked token opens")


HEADER, PAYLOAD = b'{"alg":"HS256","typ":"JWT"}', b'{"iss":"app","sub":"a","exp":1800000060}'


def _signed(header: bytes, payload: bytes) -> str:
    signed = b".".join([base64.urlsafe_b64encode(each).rstrip(b"=") for each in (header, payload)])
    return (signed + b"." + base64.urlsafe_b64encode(hmac.digest(SECRET.encode(), signed, "sha256"))).decode()


def fuzz_hls(data: bytes) -> None:
    """The path behind a room, `?`, and the query."""
    path, _, query = data.decode(errors="replace").partition("?")
    found = _NAME.fullmatch(path)
    if found is not None:
        assert ".." not in path
        assert all(int(found[name] or 0) >= 0 for name in ("msn", "index", "run", "init", "block"))
    with suppress(BadRequest):
        asked = DeliveryDirectives.parse(dict(parse_qsl(query, max_num_fields=None)))
        asked.check(7)
    playback_tokens = PlaybackTokens(derive_secrets([SECRET]), Revocations())
    with suppress(NotAuthorized):
        playback_tokens.check(path.removeprefix("~").partition("/")[0], "room", NOW)
        raise AssertionError("an invented pass opens")


def fuzz_scene(data: bytes) -> None:
    for text in (data, data.decode(errors="replace")):
        with suppress(BadRequest):
            template = parse_template(text)
            assert parse_template(template.as_json()) == template


def fuzz_amf(data: bytes) -> None:
    with suppress(MalformedPacket):
        amf.encode(*amf.decode(data))


def fuzz_rtmp(data: bytes) -> None:
    """Data of a server after the handshake, in pieces and at once: both must end in the same state."""
    ends: list[State | str] = []
    for pieces in (tuple(records(data)), (b"".join(records(data)),)):
        session = PublishingSession("live", "key", "rtmp://x/live", bytes(1528))
        session.receive_data(b"\3" + bytes(3072))
        assert session.state is State.CONNECTING
        try:
            for piece in pieces:
                session.receive_data(piece)
        except MalformedPacket:
            ends.append("malformed")
        else:
            ends.append(session.state)
        assert session.buffered <= 3 * 65_536 + 2 * len(data)
    assert ends[0] == ends[1]


def fuzz_ingest(data: bytes) -> None:
    """Data of an encoder after the handshake, in pieces and at once: both must have the same effects."""
    ends: list[list[str]] = []
    for pieces in (tuple(records(data)), (b"".join(records(data)),)):
        session = ServerSession(bytes(1528), 1 << 20)
        session.receive_data(b"\3" + bytes(3072))
        done: list[str] = []
        try:
            for piece in pieces:
                session.receive_data(piece)
                while session.pending:
                    for event in session.next_events(1):  # an error drops the other events of its call
                        done.append(repr(event))
                        if isinstance(event, PublishRequested):
                            session.accept()
                        elif isinstance(event, Media):
                            _parse_media(event)
        except MalformedPacket:
            pass
        assert session.buffered <= UNAUTHENTICATED_LIMIT + (1 << 20) + len(data)
        ends.append(done)
    if len(data) < UNAUTHENTICATED_LIMIT:
        assert ends[0] == ends[1]


def _parse_media(event: Media) -> None:
    with suppress(MalformedPacket, BadRequest):
        (parse_audio if event.kind == 8 else parse_video)(event.body)


def fuzz_flv(data: bytes) -> None:
    for parse_tag in (parse_audio, parse_video):
        with suppress(MalformedPacket, BadRequest):
            assert len(parse_tag(data).data) <= len(data)


def fuzz_websocket(data: bytes) -> None:
    """Reads of a client's frames. Every frame is complete, and unparsed data is bounded by the input."""
    reader = FrameReader(messages.MESSAGE_LIMIT_BYTES, 0.0)
    with suppress(FrameViolation):
        for number, chunk in enumerate(records(data)):
            reader.receive_data(chunk)
            while (frame := reader.next_frame(float(number))) is not None:
                assert len(frame.payload) <= messages.MESSAGE_LIMIT_BYTES
                if frame.opcode is Opcode.TEXT:
                    _ = frame.text
                elif frame.opcode is Opcode.CLOSE:
                    assert frame.close_code == CLOSE_NO_CODE or 1000 <= frame.close_code < 5000


def fuzz_forwarded(data: bytes) -> None:
    """Header lines of a proxy. The client is an address, or unknown."""
    lines = [record.decode("latin-1") for record in records(data)]
    for name in ("X-Forwarded-For", "Forwarded"):
        client = ClientAddresses(PROXIES).client("10.0.0.1", [(name, line) for line in lines])
        assert client == UNKNOWN or parse_address(client) is not None
