"""Cost of each parser: `python -m tests.bench.parsers` prints microseconds per call, the best of several rounds."""

import hmac
from collections.abc import Callable
from functools import partial
from struct import pack
from timeit import Timer
from zlib import crc32

from sfu.bandwidth.twcc import Recorder, parse_feedback
from sfu.errors import BadRequest
from sfu.rtp import packet, red, rtcp
from sfu.rtp.codecs import av1, dependency_descriptor, h264, vp8, vp9
from sfu.sdp import formats
from sfu.sdp.answer import answer_offer
from sfu.sdp.description import SDP_LIMIT, parse
from sfu.sdp.offer import Transceiver, make_offer, parse_answer
from sfu.transport.sctp_guard import SctpGuard
from sfu.transport.stun import binding_response, parse_binding_request, verify
from tests.rtp.codecs.test_av1 import FRAME, HEADER, element
from tests.rtp.codecs.test_dependency_descriptor import KEY
from tests.rtp.codecs.test_h264 import sps, stap
from tests.rtp.codecs.test_vp8 import DELTA
from tests.rtp.test_packet import WITH_ALL
from tests.rtp.test_rtcp import VALID
from tests.sdp.samples import LOCAL, offer_case, sample
from tests.sdp.test_description import HOSTILE, LARGE
from tests.transport.test_sctp_guard import data, sack, sealed

PASSWORD = b"0123456789abcdefghijklmn"


def report(name: str, call: Callable[[], object]) -> None:
    timer = Timer(call)
    count, taken = timer.autorange(lambda number, taken: None)
    number = max(1, int(count * 0.1 / taken))
    best = min(timer.repeat(repeat=7, number=number)) / number
    print(f"{name:<52} {best * 1e6:10.2f}")


def stun_request() -> bytes:
    attributes = pack("!HH9s3x", 6, 9, b"ours:them") + pack("!HHI", 0x24, 4, 1) + pack("!HHQ", 0x802A, 8, 7)
    head = pack("!HHI12s", 1, len(attributes) + 24, 0x2112A442, b"transaction!")
    data = head + attributes + pack("!HH", 8, 20) + hmac.digest(PASSWORD, head + attributes, "sha1")
    data = data[:2] + (len(data) - 12).to_bytes(2, "big") + data[4:]
    return data + pack("!HHI", 0x8028, 4, crc32(data) ^ 0x5354554E)


def check_and_answer(data: bytes) -> bytes:
    request = parse_binding_request(data)
    assert verify(request, data, PASSWORD)
    return binding_response(request.transaction_id, ("192.0.2.1", 5000), PASSWORD)


def feedback_round(count: int, lost: int) -> Callable[[], list[bytes]]:
    """Records `count` packets, every `lost`-th missing, and makes their feedback."""
    recorder = Recorder(1)
    state = [0]

    def call() -> list[bytes]:
        first = state[0]
        state[0] += count
        for number in range(first, first + count):
            if not lost or number % lost:
                recorder.record(number & 0xFFFF, number * 0.0005)
        return recorder.feedback(2)

    return call


def main() -> None:
    print(f"{'':<52} {'µs':>10}")
    report("RTP header", lambda: packet.parse_header(WITH_ALL))
    block = bytes.fromhex("10 ff 32 01 02 03 51 00 07 40 30 00".replace(" ", ""))
    report("RTP header extensions (5)", lambda: packet.extensions(block, 0, len(block), packet.ONE_BYTE_PROFILE))
    for name, data_ in VALID.items():
        report(f"RTCP {name}", lambda data_=data_: rtcp.parse(data_))  # type: ignore[misc]  # binds the loop variable
    report("RTCP receiver report of 31 blocks", lambda: rtcp.parse(many))
    report("VP8", lambda: vp8.describe(vp8_payload, 0, len(vp8_payload)))
    report("VP9", lambda: vp9.describe(vp9_payload, 0, len(vp9_payload)))
    report("H.264 fragment", lambda: h264.describe(b"\x7c\x05\x88\x00", 0, 4))
    report("H.264 keyframe (SPS known)", lambda: h264.describe(h264_payload, 0, len(h264_payload)))
    report("AV1", lambda: av1.describe(b"\x10" + FRAME, 0, 7))
    report("AV1 keyframe (header known)", lambda: av1.describe(av1_payload, 0, len(av1_payload)))
    report("dependency descriptor, mandatory fields", lambda: dependency_descriptor.describe(KEY, 0, len(KEY)))
    state = dependency_descriptor.DependencyDescriptorReader()
    report("dependency descriptor with structure", lambda: state.read(KEY, 0, len(KEY)))
    report("dependency descriptor of three bytes", lambda: state.read(b"\x86\0\1", 0, 3))
    report("RED primary block", lambda: red.primary(red_payload, 0, len(red_payload)))
    for count, lost in ((10, 0), (100, 0), (100, 50), (100, 10)):
        call = feedback_round(count, lost)
        what = f"1 in {lost} lost" if lost else "none lost"
        report(f"TWCC: record {count} packets and tell, {what}", call)
    regular = feedback_round(100, 0)()[0][12:]
    lossy = feedback_round(100, 10)()[0][12:]
    report("TWCC: parse 100 packets, none lost", lambda: parse_feedback(regular))
    report("TWCC: parse 100 packets, 1 in 10 lost", lambda: parse_feedback(lossy))
    request = stun_request()
    report("STUN: parse", lambda: parse_binding_request(request))
    report("STUN: parse, verify and answer", lambda: check_and_answer(request))
    guard = SctpGuard()
    report("SCTP guard: one message of 1 KB", lambda: guard.check(one_message))
    report("SCTP guard: SACK with 3 gaps", lambda: guard.check(one_sack))
    offer = sample("pub-browser-offer.sdp")
    report("SDP: parse a Chromium offer", lambda: parse(offer))
    report("SDP: parse and answer it", lambda: answer_offer(offer, LOCAL, session_id=1, session_version=1))
    slots = [
        Transceiver(str(n), "video", (("VP8", 90000, 1, "", 96, 97),), n, n + 99, "stream", "track", True)
        for n in range(10)
    ]
    made = make_offer(slots, LOCAL, session_id=1, session_version=1)
    mirrored = made.replace("a=sendonly", "a=recvonly").replace("a=setup:actpass", "a=setup:active")
    report("SDP: offer of 10 slots", lambda: make_offer(slots, LOCAL, session_id=1, session_version=1))
    report("SDP: read its answer", lambda: parse_answer(mirrored, slots))
    for name in LARGE:
        large = offer_case(name)
        report(f"SDP: parse {name}, {len(large)} characters", partial(parse, large))
        report("SDP: parse and answer it", partial(answer_offer, large, LOCAL, session_id=1, session_version=1))
    for name, text in HOSTILE.items():
        report(f"SDP, hostile: {name}", partial(refused, text))


def refused(text: str) -> None:
    formats._remembered.cache_clear()
    try:
        parse(text[:SDP_LIMIT])
    except BadRequest:
        return


many = rtcp.encode_receiver_report(rtcp.ReceiverReport(1, (rtcp.ReportBlock(1, 2, 3, 4, 5, 6, 7),) * 31))
vp8_payload = b"\x90\xe0\x81\x23\x07\x60" + DELTA
vp9_payload = b"\xa8\x81\x02\x36\x09data"
h264_payload = stap(b"\x67" + sps(1280, 720, None), b"\x68\xce\x3c\x80")
av1_payload = b"\x28" + element(b"\x08" + HEADER) + FRAME
red_payload = b"\xef\x0f\x00\x50\x6f" + bytes(160)
one_message = sealed(data(1, bytes(1000)))
one_sack = sealed(sack(1, (2, 3), (5, 6), (9, 20)))

if __name__ == "__main__":
    main()
