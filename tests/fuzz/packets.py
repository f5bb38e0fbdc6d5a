"""Fuzz targets for what comes as packets: bytes in, and nothing but MalformedPacket may come out.

Beside that each checks what its parser promises: offsets lie in the packet, what was written can be read back.
"""

from binascii import crc32
from contextlib import suppress

from sfu.bandwidth import twcc
from sfu.errors import MalformedPacket
from sfu.rtp import packet, red, rtcp, xr
from sfu.rtp.codecs import av1, h264, vp8, vp9
from sfu.rtp.codecs.dependency_descriptor import DependencyDescriptorReader
from sfu.transport import framing, stun
from sfu.transport.sctp_guard import SctpGuard
from tests.fuzz.records import records, sealed_sctp

PASSWORD = b"a-password-of-24-letters"
ADDRESS = ("192.0.2.1", 5000)
FINGERPRINT = b"\x80\x28\0\4"


def fuzz_framing(data: bytes) -> None:
    """Frames lie in the buffer, in order, and cover what was taken; the rest is the beginning of a frame."""
    with suppress(MalformedPacket):
        frames, taken, skipped = framing.split(data, len(data))
        at = 0
        for begin, end in frames:
            assert at + 2 <= begin < end <= taken
            assert framing.header(end - begin) == data[begin - 2 : begin]
            at = end
        assert at <= taken <= len(data)
        assert skipped <= taken // 2
        assert len(data) - taken < framing.FRAME_LIMIT + framing.HEADER_SIZE


def fuzz_stun(data: bytes) -> None:
    """The input unchanged, and with valid cookie, length and fingerprint, which no mutation finds."""
    whole = bytearray(data)
    if len(whole) >= 20 and not len(whole) & 3:
        whole[:8] = b"\0\1" + (len(whole) - 20).to_bytes(2, "big") + b"\x21\x12\xa4\x42"
        if len(whole) >= 28 and whole[-8:-4] == FINGERPRINT:
            whole[-4:] = (crc32(whole[:-8]) ^ 0x5354554E).to_bytes(4, "big")
    for message in (data, bytes(whole)):
        with suppress(MalformedPacket):
            request = stun.parse_binding_request(message)
            assert len(request.transaction_id) == 12
            stun.error_response(request.transaction_id, 420, "Unknown Attribute", PASSWORD, request.unknown)
            if stun.verify(request, message, PASSWORD):
                answer = stun.binding_response(request.transaction_id, ADDRESS, PASSWORD)
                assert stun.RepeatedCheck(request, message, ADDRESS, PASSWORD).answer(message) in (answer, None)


def fuzz_rtp(data: bytes) -> None:
    with suppress(MalformedPacket):
        header = packet.parse_header(data)
        assert 12 <= header.payload_start <= header.payload_end <= len(data)
        if header.extension_profile:
            begin, end = header.extension_start, header.extension_end
            assert begin <= end <= header.payload_start
            for _, at, length in packet.extensions(data, begin, end, header.extension_profile):
                assert begin <= at <= at + length <= end


def fuzz_red(data: bytes) -> None:
    with suppress(MalformedPacket):
        _, begin, end = red.primary(data, 0, len(data))
        at = 0
        for block in red.redundant(data, 0, len(data)):
            assert at <= block.start <= block.end <= begin <= end
            at = block.end


def fuzz_rtcp(data: bytes) -> None:
    with suppress(MalformedPacket):
        for found in rtcp.parse(data):
            if isinstance(found, rtcp.SenderReport):
                assert rtcp.parse(rtcp.encode_sender_report(found)) == [found]
            elif isinstance(found, xr.ExtendedReport):
                assert rtcp.parse(xr.encode(found)) == [found]
            elif isinstance(found, rtcp.ReceiverReport):
                assert rtcp.parse(rtcp.encode_receiver_report(found)) == [found]
            elif isinstance(found, rtcp.TransportFeedback):
                fuzz_feedback(found.fci)
            elif isinstance(found, rtcp.Nack):
                numbers = found.lost
                assert len(numbers) <= rtcp.NACK_LIMIT
                assert all(0 <= number <= 0xFFFF for number in numbers)


def fuzz_feedback(data: bytes) -> None:
    with suppress(MalformedPacket):
        found = twcc.parse_feedback(data)
        assert len(found.ticks) == len(found.arrivals) == found.count


def fuzz_twcc(data: bytes) -> None:
    """A sender's transport-wide numbers and times: the feedback parses, and reports only packets that arrived."""
    recorder = twcc.Recorder(1)
    now, number = 1.0, 0
    sent: set[int] = set()
    for index in range(0, len(data) - 1, 2):
        step, wait = data[index], data[index + 1]
        if step == 255:
            for told in recorder.feedback(2):
                found = [each for each in rtcp.parse(told) if isinstance(each, rtcp.TransportFeedback)]
                for feedback in found:
                    arrived = twcc.parse_feedback(feedback.fci).arrivals
                    assert {at for at, when in arrived if when is not None} <= sent
        else:
            number = number + (1 if step < 128 else (step - 190) * 260) & 0xFFFF
            now += (wait - 1) / 1000 if wait < 250 else (wait - 249) * 10.0
            recorder.record(number, now)
            sent.add(number)


def fuzz_dependency(data: bytes) -> None:
    state = DependencyDescriptorReader()
    for descriptor in records(data):
        structure, active = state.structure, state.active_decode_targets
        try:
            state.read(descriptor, 0, len(descriptor))
        except MalformedPacket:
            assert (state.structure, state.active_decode_targets) == (structure, active)


def fuzz_vp8(data: bytes) -> None:
    with suppress(MalformedPacket):
        found = vp8.describe(data, 0, len(data))
        assert max(found.picture_id_offset + (found.picture_id_bits > 7), found.tl0picidx_offset) < len(data)
        assert vp8.payload_start(data) < len(data)


def fuzz_vp9(data: bytes) -> None:
    with suppress(MalformedPacket):
        found = vp9.describe(data, 0, len(data))
        assert max(found.picture_id_offset + (found.picture_id_bits > 7), found.tl0picidx_offset) < len(data)
        assert found.payload_start < len(data)


def fuzz_h264(data: bytes) -> None:
    with suppress(MalformedPacket):
        h264.describe(data, 0, len(data))
    with suppress(MalformedPacket):
        h264.nal_units(list(records(data)))
    with suppress(MalformedPacket):
        width, height = h264.sps_size(data[:128])
        assert 0 < width <= 16_384
        assert 0 < height <= 16_384


def fuzz_av1(data: bytes) -> None:
    with suppress(MalformedPacket):
        av1.describe(data, 0, len(data))
    with suppress(MalformedPacket):
        av1.obus(list(records(data)))
    with suppress(MalformedPacket):
        av1.sequence_size(data)


def fuzz_sctp(data: bytes) -> None:
    guard = SctpGuard()
    with suppress(MalformedPacket):
        passed = guard.check(sealed_sctp(data))
        assert guard.check(passed) == passed
