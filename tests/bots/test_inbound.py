import pytest

from sfu.bots.inbound import GAP_TIMEOUT, Frame, InboundStream
from sfu.rtp.packet import Header
from tests.support.wire import vp8 as payload


def header(sequence: int, timestamp: int = 0, *, marker: bool = True) -> Header:
    return Header(96, marker, sequence & 0xFFFF, timestamp, 5, 0, 0, 0, 12, 0)


def video() -> InboundStream:
    return InboundStream(5, "video", "VP8", 90_000)


KEY, DELTA, REST = payload(key=True), payload(), payload(begin=False)


def test_frames_in_order() -> None:
    stream = video()
    assert stream.receive(header(65_534, marker=False), KEY, 0.0) == []
    [frame] = stream.receive(header(65_535), REST, 0.0)
    assert frame == Frame(KEY[6:] + REST[6:], 0, True)
    assert len(stream.receive(header(65_536, 3000), DELTA, 0.1)) == 1
    assert (stream.counts.frames, stream.counts.keyframes, stream.lost) == (2, 1, 0)
    assert not stream.wants_keyframe


def test_frames_before_the_first_keyframe_are_dropped() -> None:
    stream = video()
    assert stream.receive(header(1), DELTA, 0.0) == []
    assert stream.wants_keyframe
    assert len(stream.receive(header(2), KEY, 0.0)) == 1


@pytest.mark.parametrize("repaired", [False, True])
def test_a_gap_delays_frames_until_it_is_filled(repaired: bool) -> None:
    stream = video()
    stream.receive(header(1), KEY, 0.0)
    assert stream.receive(header(3), DELTA, 0.0) == []
    assert stream.lost == 1
    assert stream.nack.due(0.0, 0.05) == [2]
    assert len(stream.receive(header(2), DELTA, 0.1, repaired=repaired)) == 2
    assert (stream.lost, stream.counts.repaired) == (0, repaired)
    assert stream.receive(header(2), DELTA, 0.1) == []
    assert stream.handle_timer(0.1 + GAP_TIMEOUT) == []
    assert stream.counts.skips == 0


def test_an_old_gap_is_abandoned_until_the_next_keyframe() -> None:
    stream = video()
    stream.receive(header(1), KEY, 0.0)
    stream.receive(header(3), DELTA, 0.0)
    assert stream.handle_timer(GAP_TIMEOUT / 2) == []
    assert stream.handle_timer(GAP_TIMEOUT + 0.01) == []
    assert stream.wants_keyframe
    assert stream.receive(header(4), DELTA, 1.0) == []
    assert len(stream.receive(header(5), KEY, 1.0)) == 1
    assert (stream.counts.skips, stream.lost) == (1, 1)


def test_padding_is_skipped() -> None:
    stream = video()
    stream.receive(header(1), KEY, 0.0)
    assert stream.receive(header(2, marker=False), b"", 0.0) == []
    assert len(stream.receive(header(3), DELTA, 0.0)) == 1


def test_audio_is_returned_immediately() -> None:
    stream = InboundStream(5, "audio", "opus", 48_000)
    assert stream.receive(header(10, 960), b"a", 0.0) == [Frame(b"a", 960, True)]
    assert stream.receive(header(12, 2880), b"c", 0.0) == [Frame(b"c", 2880, True)]
    assert stream.lost == 1
    assert stream.receive(header(11, 1920), b"b", 0.0) == [Frame(b"b", 1920, True)]
    assert stream.receive(header(11, 1920), b"b", 0.0) == []
    assert (stream.lost, stream.counts.packets) == (0, 3)
    assert not stream.nack.missing


def test_reports() -> None:
    stream = InboundStream(5, "audio", "opus", 48_000)
    assert stream.report(0.0) is None
    for number in (65_535, 65_536, 65_538, 65_539):
        stream.receive(header(number, number * 960), b"x", number * 0.02)
    stream.sender_reported(0x0123_4567_89AB_CDEF, 100.0)
    block = stream.report(100.5)
    assert block is not None
    assert (block.packets_lost, block.highest_sequence, block.fraction_lost) == (1, 65_539, 51)
    assert (block.lsr, block.dlsr, block.jitter) == (0x4567_89AB, 32_768, 0)
    again = stream.report(101.0)
    assert again is not None
    assert again.fraction_lost == 0


def test_the_buffer_is_bounded_without_complete_frames() -> None:
    stream = video()
    stream.receive(header(0), KEY, 0.0)
    for number in range(2, 4000):
        stream.receive(header(number, marker=False), REST, 0.0)
        stream.handle_timer(0.0)
    assert len(stream._held) < 1100
