"""The worker's end of the media socket."""

import struct

import pytest

from sfu.egress.rtp_receiver import KEYFRAME_REQUEST_INTERVAL, InboundStream, RtpReceiver
from sfu.rtp import rtcp
from sfu.rtp.frames import CodedFrame
from sfu.transport.plain_transport import pair
from tests.support.wire import rtp, vp8


class Clock:
    def __init__(self) -> None:
        self.frames: list[int] = []
        self.reports: list[tuple[int, int]] = []

    def receive_frame(self, timestamp: int, arrival: float) -> None:
        self.frames.append(timestamp)

    def receive_report(self, ntp: int, rtp_timestamp: int, now: float) -> None:
        self.reports.append((ntp, rtp_timestamp))


class Stand:
    def __init__(self) -> None:
        self.server, theirs = pair()
        self.rtp_receiver = RtpReceiver(theirs)
        self.clock = Clock()
        self.frames: list[CodedFrame] = []
        stream = InboundStream(7, "VP8", audio=False, clock=self.clock, take=self.frames.append)
        self.stream = self.rtp_receiver.streams[7] = stream

    def send(self, *packets: bytes) -> None:
        self.server.send(struct.pack("!H", len(packets[0])) + b"".join(packets))

    def asked(self) -> int:
        count = 0
        while True:
            try:
                message = self.server.recv(2000)
            except BlockingIOError:
                return count
            count += rtcp.parse(message[2:]) == [rtcp.PictureLossIndication(1, 7)]


@pytest.fixture
def stand():
    stand = Stand()
    yield stand
    stand.server.close()
    stand.rtp_receiver.sock.close()


def picture(number: int, *, key: bool = False, ssrc: int = 7) -> bytes:
    return rtp(vp8(key=key, size=100 - 7 * key), ssrc=ssrc, sequence=number, timestamp=3000 * number, marker=True)


def test_runs_become_frames_and_reports_set_the_clock(stand: Stand) -> None:
    report = rtcp.encode_sender_report(rtcp.SenderReport(7, 1 << 40, 3000, 1, 1, ()))
    stand.send(picture(1, key=True), picture(2), picture(3))
    stand.send(report)
    assert stand.rtp_receiver.readable(1.0)
    assert [frame.keyframe for frame in stand.frames] == [True, False, False]
    assert stand.clock.frames == [3000, 6000, 9000]
    assert stand.clock.reports == [(1 << 40, 3000)]
    assert stand.asked() == 0


def test_a_keyframe_is_asked_for_while_it_is_wanted_and_not_too_often(stand: Stand) -> None:
    stand.send(picture(1))
    stand.rtp_receiver.readable(1.0)
    assert stand.asked() == 1
    stand.rtp_receiver.handle_timer(1.0 + KEYFRAME_REQUEST_INTERVAL / 2)
    assert stand.asked() == 0
    stand.rtp_receiver.handle_timer(1.1 + KEYFRAME_REQUEST_INTERVAL)
    assert stand.asked() == 1
    stand.stream.wanted = False
    stand.rtp_receiver.handle_timer(9.0)
    assert stand.asked() == 0


@pytest.mark.parametrize(
    "message", [b"\0", b"\0\0\0", b"\0\x05hello", b"\0\x0d" + bytes(13), b"\0\x10\x80\xc8\xff\xff" + bytes(12)]
)
def test_what_is_malformed_or_unknown_is_counted(stand: Stand, message: bytes) -> None:
    stand.server.send(message)
    stand.send(picture(1, ssrc=8))
    assert stand.rtp_receiver.readable(1.0)
    assert stand.frames == []
    assert stand.rtp_receiver.malformed + stand.rtp_receiver.unknown >= 2


def test_the_server_is_gone(stand: Stand) -> None:
    stand.server.close()
    assert not stand.rtp_receiver.readable(1.0)
    stand.rtp_receiver.send([b"x" * 20])
    assert stand.rtp_receiver.unsent == 1


def test_equal_packets_leave_in_one_message(stand: Stand) -> None:
    stand.rtp_receiver.send([b"a" * 30, b"b" * 30, b"c" * 20, b"d" * 30])
    assert [len(stand.server.recv(2000)) for _ in range(2)] == [2 + 80, 2 + 30]
