"""Tests of RTCP from subscribers: downlink reports, decision log entries, probes."""

import itertools
import struct
from collections import Counter

import pytest

from sfu.bandwidth.settings import Settings
from sfu.bandwidth.twcc import Recorder
from sfu.forwarding.decision_log import Cause, DecisionKind, DecisionLog
from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.downlink import Downlink
from sfu.rtp import rtcp
from sfu.sdp.capabilities import OUT_EXTENSION_IDS, URI_TRANSPORT_CC
from tests.support.wire import Bench, Rtp, Wire, rtp, vp8

TWCC = OUT_EXTENSION_IDS[URI_TRANSPORT_CC]
START = 2e6


def camera(sequence: int, *, key: bool = False, size: int = 100) -> bytes:
    return rtp(
        vp8(key=key, size=size),
        ssrc=11,
        sequence=sequence,
        timestamp=3000 * sequence,
        extensions={4: b"1", 10: b"q", 3: struct.pack("!H", sequence)},
    )


class Viewing:
    """One camera towards one viewer whose path is estimated."""

    def __init__(self) -> None:
        self.bench, self.wire = Bench(), Wire()
        self.track = self.bench.video(("q",))
        self.viewer = self.bench.peer(self.wire)
        self.down_track: DownTrack = self.bench.down_track(self.track, self.viewer)
        self.downlink = self.viewer.downlink = Downlink(Settings(start=START), lambda key: (), self.bench.now)
        self.down_track.on_sent = self.downlink.estimator.on_sent
        self._sequence = itertools.count(1)
        self.show(1)
        self.bench.engine.set_target(self.down_track, self.track.encodings["q"], self.bench.now)
        self.bench.uplink.take()

    def show(self, count: int, *, key: bool = False, size: int = 100) -> list[Rtp]:
        """So many packets of the camera; what the viewer got."""
        for _ in range(count):
            self.bench.now += 0.01
            self.bench.send(camera(next(self._sequence), key=key, size=size))
        return self.wire.media()

    def hear(self, *packets: bytes) -> None:
        self.bench.engine.receive_rtcp(self.viewer, b"".join(packets), self.bench.now, self.bench.now + 3e9)


def numbers(packets: list[Rtp]) -> list[int]:
    return [int.from_bytes(packet.extensions[TWCC], "big") for packet in packets]


def test_feedback_reaches_the_estimator() -> None:
    viewing = Viewing()
    got = viewing.show(20, key=True)
    recorder = Recorder(5)
    for step, number in enumerate(numbers(got)):
        recorder.record(number, 7.0 + 0.01 * step)
    viewing.bench.now += 0.05
    (feedback,) = recorder.feedback(viewing.down_track.ssrc)
    assert viewing.downlink.estimator.feedbacks == 0
    viewing.hear(feedback)
    assert viewing.downlink.estimator.feedbacks == 1
    assert viewing.downlink.estimator.rtt == pytest.approx(0.05, abs=0.002)


def test_remb_lowers_what_the_path_carries() -> None:
    viewing = Viewing()
    assert viewing.downlink.estimator.target == START
    viewing.hear(rtcp.encode_remb(5, 400_000, [viewing.down_track.ssrc]))
    assert viewing.downlink.estimator.target == pytest.approx(400_000, rel=0.01)
    assert viewing.viewer.remb == pytest.approx(400_000, rel=0.01)


@pytest.mark.parametrize("kind", ["receiver report", "sender report"])
def test_the_worst_block_of_a_report_counts(kind: str) -> None:
    viewing = Viewing()
    other = viewing.bench.down_track(viewing.bench.audio(), viewing.viewer, number=1)
    for _ in range(2):  # the first only begins the clock
        viewing.bench.now += 1.0
        blocks = (
            rtcp.ReportBlock(viewing.down_track.ssrc, 10, 0, 0, 0, 0, 0),
            rtcp.ReportBlock(other.ssrc, 128, 0, 0, 0, 0, 0),
            rtcp.ReportBlock(999, 255, 0, 0, 0, 0, 0),  # of nothing that we send
        )
        if kind == "receiver report":
            viewing.hear(rtcp.encode_receiver_report(rtcp.ReceiverReport(5, blocks)))
        else:
            viewing.hear(rtcp.encode_sender_report(rtcp.SenderReport(5, 1 << 40, 0, 0, 0, blocks)))
    assert viewing.downlink.estimator.target == pytest.approx(START * (1 - 0.5 / 2))


def test_feedback_that_makes_no_sense_is_counted() -> None:
    viewing = Viewing()
    nonsense = struct.pack("!BBHIIHHI", 0x8F, 205, 4, 5, viewing.down_track.ssrc, 1, 9, 0) + b"\xff\xff\xff\xff"
    viewing.hear(nonsense)
    assert viewing.bench.engine.dropped["rtcp_malformed"] == 1
    assert viewing.downlink.estimator.feedbacks == 0


def test_a_peer_needs_no_downlink() -> None:
    viewing = Viewing()
    viewing.viewer.downlink = None
    recorder = Recorder(5)
    recorder.record(numbers(viewing.show(1, key=True))[0], 7.0)
    viewing.hear(*recorder.feedback(viewing.down_track.ssrc), rtcp.encode_remb(5, 400_000, []))
    assert viewing.bench.engine.dropped["rtcp_malformed"] == 0


def test_keyframes_are_logged_for_both_sides_and_counted_once() -> None:
    viewing = Viewing()
    viewing.track.name = "TR_cam"
    totals: Counter[tuple[DecisionKind, Cause]] = Counter()
    sender = viewing.bench.publisher.decision_log = DecisionLog(totals)
    viewer = viewing.viewer.decision_log = DecisionLog(totals)
    viewing.hear(rtcp.encode_pli(5, viewing.down_track.ssrc))
    viewing.bench.now += 2.0
    for _ in range(3):  # the keyframe never comes: waiting down tracks ask again
        viewing.bench.tick(0.3)
        viewing.bench.send(camera(9))
    assert [(entry.cause, entry.track) for entry in viewer] == [(Cause.VIEWER, "TR_cam"), (Cause.RETRY, "TR_cam")]
    assert [(entry.cause, entry.track) for entry in sender] == [(Cause.VIEWER, "TR_cam"), (Cause.RETRY, "TR_cam")]
    assert totals == {(DecisionKind.KEYFRAME, Cause.VIEWER): 1, (DecisionKind.KEYFRAME, Cause.RETRY): 1}
    again = viewing.bench.down_track(viewing.track, viewing.bench.peer(Wire()), number=1)
    viewing.bench.engine.set_target(again, viewing.track.encodings["q"], viewing.bench.now)
    assert [entry.cause for entry in sender][-1] is Cause.SWITCH
    assert len(list(viewer)) == 2
