from typing import Any

from sfu.bots.outbound import HISTORY, NTP_EPOCH, PAYLOAD_LIMIT, OutboundStream, vp8_payloads
from sfu.rtp.codecs import vp8
from tests.support.wire import Rtp

KEYFRAME = b"\x10\x00\x00\x9d\x01\x2a" + bytes((64, 1, 180, 0))


def stream(**fields: Any) -> OutboundStream:
    return OutboundStream(ssrc=7, payload_type=96, clock_rate=90_000, mid="1", **fields)


def test_frames_are_split_into_payloads() -> None:
    frame = KEYFRAME + bytes(2 * PAYLOAD_LIMIT)
    payloads = vp8_payloads(frame, 0x1234)
    described = [vp8.describe(payload, 0, len(payload)) for payload in payloads]
    assert [each.begin for each in described] == [True, False, False]
    assert [each.picture_id for each in described] == [0x1234] * 3
    assert (described[0].keyframe, described[0].width, described[0].height) == (True, 320, 180)
    assert b"".join(payload[4:] for payload in payloads) == frame
    assert max(len(payload) for payload in payloads) <= PAYLOAD_LIMIT + 4


def test_packets_are_numbered_and_carry_mid_and_rid_until_known() -> None:
    sent = stream(rid="q", sequence=0xFFFF, timestamp_offset=0xFFFFFFFF, rtx_ssrc=8, rtx_payload_type=97)
    first = Rtp.parse(sent.packet(b"one", 5, False, 0x10001))
    assert (first.sequence, first.timestamp, first.ssrc, first.payload_type) == (0xFFFF, 4, 7, 96)
    assert first.extensions == {3: b"\x00\x01", 4: b"1", 10: b"q"}
    sent.known = True
    second = Rtp.parse(sent.packet(b"two", 5, True, 2))
    assert (second.sequence, second.marker, second.payload) == (0, True, b"two")
    assert second.extensions == {3: b"\x00\x02"}
    assert (sent.packets, sent.octets) == (2, 6)


def test_the_audio_level_carries_voice_activity() -> None:
    sent = stream()
    assert Rtp.parse(sent.packet(b"", 0, False, 1, level=20)).extensions[1] == bytes((0x80 | 20,))
    assert Rtp.parse(sent.packet(b"", 0, False, 1, level=127)).extensions[1] == bytes((127,))


def test_retransmissions() -> None:
    sent = stream(rid="h", sequence=100, rtx_ssrc=8, rtx_payload_type=97, rtx_sequence=9)
    sent.packet(b"lost", 50, True, 1)
    again = sent.retransmission(100, 77)
    assert again is not None
    packet = Rtp.parse(again)
    assert (packet.ssrc, packet.payload_type, packet.sequence, packet.timestamp) == (8, 97, 9, 50)
    assert (packet.marker, packet.payload) == (True, b"\x00\x64lost")
    assert packet.extensions == {3: b"\x00\x4d", 4: b"1", 11: b"h"}
    assert sent.retransmission(101, 78) is None
    for _ in range(HISTORY):
        sent.packet(b"", 0, False, 0)
    assert sent.retransmission(100, 79) is None


def test_sender_reports_map_timestamps_to_wall_clock() -> None:
    sent = stream(timestamp_offset=10)
    sent.packet(b"abc", 0, False, 0)
    report = sent.sender_report(2.5)
    assert report.ntp == int((NTP_EPOCH + 2.5) * 2**32)
    assert (report.rtp_timestamp, report.packets, report.octets) == (225_010, 1, 3)
