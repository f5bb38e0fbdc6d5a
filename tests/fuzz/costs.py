"""The parsers that `make fuzz-cost` measures, called as the event loop calls them, without the checks of the fuzz targets."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from struct import pack

import msgspec

from sfu.auth.tokens import Verifier
from sfu.bandwidth import twcc
from sfu.errors import MalformedPacket, SfuError
from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.layer_parser import layer_shares
from sfu.forwarding.track import Track
from sfu.rtmp import amf
from sfu.rtmp.client import PublishingSession
from sfu.rtmp.server import ServerSession
from sfu.rtp import red, rtcp
from sfu.rtp.codecs import av1, dependency_descriptor, h264, vp8, vp9
from sfu.sdp.answer import answer_offer
from sfu.sdp.capabilities import URI_DEPENDENCY_DESCRIPTOR
from sfu.sdp.description import SDP_LIMIT
from sfu.sdp.offer import parse_answer
from sfu.signaling import json_dialect, messages
from sfu.transport import stun
from sfu.transport.dtls import DtlsAssociation, Identity
from sfu.transport.sctp_guard import SctpGuard
from tests.fuzz.records import records, sealed_sctp
from tests.fuzz.texts import LOCAL, NOW, SECRET, SLOTS
from tests.support.watched import Viewer
from tests.support.wire import EXTENSIONS, Bench, Wire

Call = Callable[[bytes], object]
DATAGRAM = 1_440
"""Bytes of the longest that the media port takes."""
GOAL = 2_000.0
"""Microseconds that any input may cost,"""
FLIGHT = 3_000.0
"""and a flight of DTLS."""
WORKER = 10_000.0
"""Targets in a worker's process, beside its encoders."""
EXPECTED = (MalformedPacket, SfuError, msgspec.MsgspecError, UnicodeError, RecursionError)
PUBLISH = b"".join(
    b"\3" + bytes(3) + len(body).to_bytes(3, "big") + b"\x14" + bytes(4) + body
    for body in (amf.encode("connect", 1, {"app": "live"}), amf.encode("publish", 5, None, "key", "live"))
)
_PASSWORD = b"a-password-of-24-letters"


@dataclass(frozen=True, slots=True)
class Cost:
    """One parser. `make` prepares what an input needs; `longest` in bytes, `goal` in microseconds."""

    make: Callable[[], Call]
    longest: int = DATAGRAM
    goal: float = GOAL
    seeds: tuple[str, ...] = ()
    "Names of corpora beside its own."


def _plain(call: Call) -> Callable[[], Call]:
    def make() -> Call:
        h264.sps_size.cache_clear()
        av1.sequence_size.cache_clear()
        structured = getattr(dependency_descriptor, "_read_structured", None)
        if structured is not None:
            structured.cache_clear()
        return call

    return make


def _dependency(data: bytes) -> None:
    dependency_descriptor.DependencyDescriptorReader().read(data, 0, len(data))


def _stun(data: bytes) -> None:
    request = stun.parse_binding_request(data)
    if stun.verify(request, data, _PASSWORD):
        stun.binding_response(request.transaction_id, ("192.0.2.1", 5000), _PASSWORD)


def _red(data: bytes) -> None:
    red.primary(data, 0, len(data))
    list(red.redundant(data, 0, len(data)))


def _rtmp(data: bytes) -> None:
    session = PublishingSession("live", "key", "rtmp://x/live", bytes(1528))
    session.receive_data(b"\3" + bytes(3072))
    session.receive_data(data)


def _ingest(data: bytes) -> None:
    """One read of a connection that publishes, as its driver handles it: up to 64 messages."""
    session = ServerSession(bytes(1528), 1 << 20)
    session.receive_data(b"\3" + bytes(3072) + PUBLISH)
    while session.pending:
        session.next_events()
    session.accept()
    session.receive_data(data)
    session.next_events()


def _token(data: bytes) -> None:
    Verifier({"app": SECRET}).verify(data.decode(errors="surrogateescape"), NOW)


def _recorder() -> Call:
    """Transport-wide numbers of 100 ms: 600 packets at most, by the limit of ingress."""

    def call(data: bytes) -> None:
        recorder = twcc.Recorder(1)
        for at in range(0, min(len(data), 1_200) - 1, 2):
            recorder.record(data[at] << 8 | data[at + 1], 1.0 + at / 12_000)
        recorder.feedback(2)

    return call


def _publisher(codec: str) -> Callable[[], Call]:
    """A packet of a camera on its way to one viewer, with every header extension."""

    def make() -> Call:
        bench, *_ = _scene(codec)
        _plain(len)()
        view = memoryview(bytearray(2048))

        def call(data: bytes) -> None:
            if len(data) < 12:
                return
            packet = bytes((0x80 | data[0] & 0x3F, data[1] & 0x80 | 96)) + data[2:8] + pack("!I", 11) + data[12:]
            view[: len(packet)] = packet
            bench.engine.receive(bench.publisher, view, len(packet), bench.now)
            bench.engine.flush(bench.now)

        return call

    return make


def _scene(codec: str) -> tuple[Bench, Track, DownTrack]:
    bench, wire = Bench(), Wire(full=True)
    track = bench.engine.add_track(
        bench.publisher, mid="1", kind="video", codec=codec, parameters="", clock_rate=90_000,
        payload_types={96: codec}, rtx={97: 96}, extensions=EXTENSIONS | {URI_DEPENDENCY_DESCRIPTOR: 8}, rids=(),
        ssrcs=((11, 12),),
    )  # fmt: skip
    down_track = bench.down_track(track, bench.peer(wire))
    bench.engine.set_target(down_track, track.encodings[""], bench.now)
    return bench, track, down_track


def _layers() -> Call:
    """Cost of the layers of a stream, of 128 packets whose dependency descriptors are the input."""

    def call(data: bytes) -> None:
        bench, track, _ = _scene("AV1")
        made = list(records(data))[:128]
        view = memoryview(bytearray(2048))
        for number in range(128 if made else 0):
            block = made[number % len(made)][:255]
            block = pack("!BB", 8, len(block)) + block
            block += bytes(-len(block) & 3)
            head = pack("!BBHII", 0x90, 96, number, 3000 * number, 11) + pack("!HH", 0x1000, len(block) // 4)
            packet = head + block + b"\x10\x30frame"
            view[: len(packet)] = packet
            bench.engine.receive(bench.publisher, view, len(packet), bench.now)
        _clock.begin()
        layer_shares(track.encodings[""])
        _clock.end()

    return call


_WATCHED: list[Viewer] = []


def _subscriber() -> Call:
    if not _WATCHED:
        _WATCHED.append(Viewer())
    viewer = _WATCHED[0]
    viewer.bench.now += 5  # whatever the peer may have spent is forgiven
    viewer.wire.take()

    def call(data: bytes) -> None:
        viewer.bench.engine.receive_rtcp(viewer.peer, data, viewer.bench.now, 4e9)

    return call


_IDENTITIES: list[Identity] = []


def _dtls() -> Call:
    """A datagram of a client whose first flight was answered."""
    if not _IDENTITIES:
        _IDENTITIES.extend((Identity(), Identity()))
    ours, theirs = _IDENTITIES
    server = DtlsAssociation(ours, "server", [("sha-256", theirs.fingerprint)])
    client = DtlsAssociation(theirs, "client", [("sha-256", ours.fingerprint)])
    server.start()
    client.start()
    for datagram in client.packets_to_send():
        server.receive(datagram)
    server.packets_to_send()
    return server.receive


class Clock:
    """Lets a call exclude its preparations from the measurement."""

    def __init__(self) -> None:
        self.begin: Callable[[], None] = lambda: None
        self.end: Callable[[], None] = lambda: None


_clock = Clock()


def clock() -> Clock:
    return _clock


COSTS: dict[str, Cost] = {
    "h264": Cost(_plain(lambda data: h264.describe(data, 0, len(data)))),
    "av1": Cost(_plain(lambda data: av1.describe(data, 0, len(data)))),
    "vp8": Cost(_plain(lambda data: vp8.describe(data, 0, len(data)))),
    "vp9": Cost(_plain(lambda data: vp9.describe(data, 0, len(data)))),
    "dependency": Cost(_plain(_dependency), longest=255),
    "red": Cost(_plain(_red)),
    "rtcp": Cost(_plain(rtcp.parse)),
    "feedback": Cost(_plain(twcc.parse_feedback)),
    "twcc": Cost(_recorder, longest=1_200),
    "packet-vp8": Cost(_publisher("VP8"), seeds=("rtp", "vp8")),
    "packet-vp9": Cost(_publisher("VP9"), seeds=("rtp", "vp9")),
    "packet-h264": Cost(_publisher("H264"), seeds=("rtp", "h264")),
    "packet-av1": Cost(_publisher("AV1"), seeds=("rtp", "av1")),
    "layers": Cost(_layers, longest=4_096, seeds=("dependency",)),
    "rtcp-viewer": Cost(_subscriber, seeds=("rtcp",)),
    "stun": Cost(_plain(_stun)),
    "sctp": Cost(_plain(lambda data: SctpGuard().check(sealed_sctp(data)))),
    "dtls": Cost(_dtls, goal=FLIGHT),
    "offer": Cost(
        _plain(lambda data: answer_offer(data.decode(errors="replace"), LOCAL, session_id=1, session_version=1)),
        longest=SDP_LIMIT,
    ),
    "answer": Cost(_plain(lambda data: parse_answer(data.decode(errors="replace"), SLOTS)), longest=SDP_LIMIT),
    "message": Cost(_plain(lambda data: json_dialect.decode(data.decode())), longest=messages.MESSAGE_LIMIT_BYTES),
    "token": Cost(_plain(_token), longest=8_192),
    "amf": Cost(_plain(amf.decode), longest=4_096, goal=WORKER),
    "ingest": Cost(_plain(_ingest), longest=16_384),
    "rtmp": Cost(_plain(_rtmp), longest=4_096, goal=WORKER),
}


def expected() -> suppress:
    return suppress(*EXPECTED)
