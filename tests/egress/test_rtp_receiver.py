"""RTP input of the worker's media socket."""

import struct
from collections.abc import Iterator

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


class Setup:
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
def setup() -> Iterator[Setup]:
    setup = Setup()
    yield setup
    setup.server.close()
    setup.rtp_receiver.sock.close()


def picture(number: int, *, key: bool = False, ssrc: int = 7) -> bytes:
    return rtp(vp8(key=key, size=100 - 7 * key), ssrc=ssrc, sequence=number, timestamp=3000 * number, marker=True)


def test_batches_become_frames_and_reports_set_the_clock(setup: Setup) -> None:
    report = rtcp.encode_sender_report(rtcp.SenderReport(7, 1 << 40, 3000, 1, 1, ()))
    setup.send(picture(1, key=True), picture(2), picture(3))
    setup.send(report)
    assert setup.rtp_receiver.readable(1.0)
    assert [frame.keyframe for frame in setup.frames] == [True, False, False]
    assert setup.clock.frames == [3000, 6000, 9000]
    assert setup.clock.reports == [(1 << 40, 3000)]
    assert setup.asked() == 0


def test_keyframe_requests_are_limited_in_rate(setup: Setup) -> None:
    setup.send(picture(1))
    setup.rtp_receiver.readable(1.0)
    assert setup.asked() == 1
    setup.rtp_receiver.handle_timer(1.0 + KEYFRAME_REQUEST_INTERVAL / 2)
    assert setup.asked() == 0
    setup.rtp_receiver.handle_timer(1.1 + KEYFRAME_REQUEST_INTERVAL)
    assert setup.asked() == 1
    setup.stream.wanted = False
    setup.rtp_receiver.handle_timer(9.0)
    assert setup.asked() == 0


@pytest.mark.parametrize(
    "message", [b"\0", b"\0\0\0", b"\0\x05hello", b"\0\x0d" + bytes(13), b"\0\x10\x80\xc8\xff\xff" + bytes(12)]
)
def test_malformed_and_unknown_packets_are_counted(setup: Setup, message: bytes) -> None:
    setup.server.send(message)
    setup.send(picture(1, ssrc=8))
    assert setup.rtp_receiver.readable(1.0)
    assert setup.frames == []
    assert setup.rtp_receiver.malformed + setup.rtp_receiver.unknown >= 2


def test_a_closed_socket(setup: Setup) -> None:
    setup.server.close()
    assert not setup.rtp_receiver.readable(1.0)
    setup.rtp_receiver.send([b"x" * 20])
    assert setup.rtp_receiver.unsent == 1


def test_packets_of_equal_size_share_a_message(setup: Setup) -> None:
    setup.rtp_receiver.send([b"a" * 30, b"b" * 30, b"c" * 20, b"d" * 30])
    assert [len(setup.server.recv(2000)) for _ in range(2)] == [2 + 80, 2 + 30]
