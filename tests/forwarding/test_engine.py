"""Tests of the engine from packet to packet: what subscribers receive for what a publisher sends."""

import itertools
import struct

import pytest

from sfu.bandwidth.estimator import Estimator
from sfu.bandwidth.settings import Settings
from sfu.bandwidth.twcc import parse_feedback
from sfu.forwarding.downlink import Downlink
from sfu.forwarding.encoding_events import EncodingChanged
from sfu.forwarding.rtcp_handler import TICK
from sfu.forwarding.selector import choose
from sfu.forwarding.stream_table import SSRC_LIMIT
from sfu.rtp import rtcp, xr
from sfu.rtp.xr import DlrrBlock, ExtendedReport
from sfu.sdp.capabilities import OUT_EXTENSION_IDS, URI_AUDIO_LEVEL, URI_MID, URI_TRANSPORT_CC
from tests.support.wire import Bench, Wire, engine_track, rtp, vp8

TWCC, MID, LEVEL = (OUT_EXTENSION_IDS[uri] for uri in (URI_TRANSPORT_CC, URI_MID, URI_AUDIO_LEVEL))


def layer(
    rid: str,
    sequence: int,
    timestamp: int,
    *,
    key: bool = False,
    picture: int = 1,
    tl0: int = 1,
    begin: bool = True,
    size: int = 100,
) -> bytes:
    """One packet of a simulcast layer; each layer has its own SSRC, sequence and timestamp base."""
    ssrc = {"q": 11, "h": 12, "f": 13}[rid]
    twcc = struct.pack("!H", sequence & 0xFFFF)
    return rtp(
        vp8(key=key, picture=picture, tl0=tl0, begin=begin, size=size),
        ssrc=ssrc,
        sequence=sequence,
        timestamp=timestamp,
        extensions={4: b"1", 10: rid.encode(), 3: twcc},
    )


def opus(sequence: int, *, level: int = 30, payload_type: int = 111, payload: bytes = b"sound") -> bytes:
    return rtp(
        payload,
        ssrc=21,
        sequence=sequence,
        timestamp=sequence * 960,
        payload_type=payload_type,
        extensions={4: b"0", 1: bytes((level,)), 3: b"\0\1"},
    )


def test_audio_flows_at_once_with_renumbered_extensions() -> None:
    bench, wire = Bench(), Wire()
    track = bench.audio()
    down_track = bench.down_track(track, bench.peer(wire))
    bench.send(opus(1))
    bench.engine.set_target(down_track, track.encodings[""], bench.now)
    bench.send(opus(2), opus(3, level=20))
    first, second = wire.media()
    assert (first.payload_type, first.ssrc, first.payload) == (111, 7_000_000, b"sound")
    assert (second.sequence - first.sequence, second.timestamp - first.timestamp) == (1, 960)
    assert first.extensions[MID] == b"00"
    assert second.extensions[LEVEL] == b"\x14"
    assert int.from_bytes(second.extensions[TWCC], "big") == int.from_bytes(first.extensions[TWCC], "big") + 1
    assert track.take_level() == 20
    assert track.take_level() is None


def test_red_reaches_its_subscribers_and_others_get_its_primary_block() -> None:
    bench, takes, not_ = Bench(), Wire(), Wire()
    track = bench.audio(red=True)
    red = bytes((0x80 | 111, 0, 0x3C << 2 & 0xFF, 3)) + b"\x6f" + b"old" + b"new sound"
    bench.send(opus(1))
    for number, wire in enumerate((takes, not_)):
        down_track = bench.down_track(track, bench.peer(wire), red=wire is takes, number=number)
        bench.engine.set_target(down_track, track.encodings[""], bench.now)
    bench.send(opus(2, payload_type=63, payload=red))
    (whole,), (primary,) = takes.media(), not_.media()
    assert (whole.payload_type, whole.payload) == (63, red)
    assert (primary.payload_type, primary.payload) == (111, b"new sound")


def test_video_starts_with_a_keyframe_which_is_asked_for_once() -> None:
    bench, wire = Bench(), Wire()
    track = bench.video()
    bench.send(layer("h", 10, 0, key=True), layer("h", 11, 3000))
    down_track = bench.down_track(track, bench.peer(wire))
    bench.engine.set_target(down_track, track.encodings["h"], bench.now)
    bench.engine.set_target(down_track, track.encodings["h"], bench.now)
    (request,) = bench.uplink.rtcp()
    assert rtcp.parse(request) == [rtcp.PictureLossIndication(bench.publisher.rtcp_ssrc, 12)]
    bench.send(layer("h", 12, 6000))
    assert wire.media() == []
    bench.send(layer("h", 13, 9000, key=True), layer("h", 14, 12_000))
    assert [packet.sequence for packet in wire.media()] == [500, 501]


def test_switching_layers_keeps_every_number_continuous() -> None:
    bench, wire = Bench(), Wire()
    track = bench.video()
    down_track = bench.down_track(track, bench.peer(wire))
    low, high = track.encodings["q"], track.encodings["f"]
    bench.send(layer("q", 65_530, 1000, key=True, picture=32_766, tl0=255), layer("f", 9, 500_000, key=True))
    # both layers' sender reports: 1000 of q and 500,000 of f are the same moment
    for ssrc, timestamp in ((11, 1000), (13, 500_000)):
        report = rtcp.SenderReport(ssrc, 1 << 40, timestamp, 0, 0, ())
        bench.engine.receive_rtcp(bench.publisher, rtcp.encode_sender_report(report), bench.now, 0.0)
    bench.engine.set_target(down_track, low, bench.now)
    for step in range(10):
        bench.send(
            layer("q", 65_531 + step, 4000 + 3000 * step, key=step == 0, picture=(32_767 + step) & 0x7FFF, tl0=step)
        )
    bench.engine.set_target(down_track, high, bench.now)
    for step in range(10, 14):
        bench.send(
            layer("q", 65_531 + step, 4000 + 3000 * step, picture=(32_767 + step) & 0x7FFF, tl0=step),
            layer("f", 10 + step, 503_000 + 3000 * step, key=step == 12, picture=77 + step, tl0=step),
        )
    packets = wire.media()
    assert [packet.sequence for packet in packets] == list(range(500, 514 + 1))
    pictures = [(packet.payload[2] & 0x7F) << 8 | packet.payload[3] for packet in packets]
    assert [(b - a) & 0x7FFF for a, b in itertools.pairwise(pictures)] == [1] * 14
    tl0 = [packet.payload[4] for packet in packets]
    assert all((b - a) & 0xFF == 1 for a, b in itertools.pairwise(tl0))
    steps = [b.timestamp - a.timestamp for a, b in itertools.pairwise(packets)]
    # at the switch the new layer's picture of the same moment comes 1 ms later, not a frame's time
    assert steps[:12] == [3000] * 12
    assert 0 < steps[12] <= 3000
    assert down_track.switches == 2
    assert down_track not in low.down_tracks


class FixedEstimator(Estimator):
    """An estimator with a fixed answer to whether the link is lossy."""

    def __init__(self, lossy: bool) -> None:
        super().__init__(Settings())
        self._lossy = lossy

    @property
    def is_lossy_link(self) -> bool:
        return self._lossy


def lossy_downlink(lossy: bool = True) -> Downlink:
    downlink = Downlink(Settings(), lambda _: (), 0.0)
    downlink.estimator = FixedEstimator(lossy)
    return downlink


@pytest.mark.parametrize(
    ("rtt", "is_lossy_link", "answers"),
    [
        (None, False, [0, 2, 4]),
        (0.05, False, [0, 2, 4]),
        (0.25, False, [0, 4, 8]),
        (0.05, True, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
        (0.25, True, [0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20]),
    ],
)
def test_a_nack_is_answered_with_a_repair_packet_a_few_times_and_not_within_a_round_trip(
    rtt: float | None, is_lossy_link: bool, answers: list[int]
) -> None:
    bench, wire = Bench(), Wire()
    track = bench.video()
    subscriber = bench.peer(wire)
    down_track = bench.down_track(track, subscriber)
    bench.send(layer("q", 1, 0, key=True))
    bench.engine.set_target(down_track, track.encodings["q"], bench.now)
    bench.send(*(layer("q", 2 + step, 3000 * step, key=step == 0, picture=step) for step in range(5)))
    sent = wire.media()
    nack = rtcp.encode_nack(1, down_track.ssrc, [sent[2].sequence])
    subscriber.clock.rtt = rtt
    subscriber.downlink = lossy_downlink() if is_lossy_link else None
    resent = []
    answered = []
    for step in range(30):
        bench.engine.receive_rtcp(subscriber, nack, bench.now, 0.0)
        resent += (found := wire.media())
        answered += [step] * len(found)
        bench.now += 0.051
    assert answered == answers
    repair = resent[0]
    assert (repair.payload_type, repair.ssrc, repair.timestamp) == (101, down_track.rtx_ssrc, sent[2].timestamp)
    assert repair.payload == struct.pack("!H", sent[2].sequence) + sent[2].payload
    assert [packet.sequence for packet in resent] == list(range(500, 500 + len(answers)))
    numbers = [int.from_bytes(packet.extensions[TWCC], "big") for packet in sent + resent]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@pytest.mark.parametrize(("lossy", "resent"), [(None, True), (True, True), (False, False)])
def test_packets_from_before_a_switch_are_resent_only_where_bandwidth_is_left(lossy: bool | None, resent: bool) -> None:
    """On a congested link they would delay the keyframe that everything after the switch depends on."""
    bench, wire = Bench(), Wire()
    track = bench.video()
    subscriber = bench.peer(wire)
    down_track = bench.down_track(track, subscriber)
    bench.send(layer("f", 1, 0, key=True), layer("q", 1, 0, key=True))
    bench.engine.set_target(down_track, track.encodings["f"], bench.now)
    subscriber.downlink = None if lossy is None else lossy_downlink(lossy)
    bench.send(layer("f", 2, 3000, key=True), layer("f", 3, 6000))
    bench.engine.set_target(down_track, track.encodings["q"], bench.now)
    before = wire.media()[-1].sequence

    def asked(sequence: int) -> int:
        bench.engine.receive_rtcp(subscriber, rtcp.encode_nack(1, down_track.ssrc, [sequence]), bench.now, 0.0)
        return len(wire.media())

    assert asked(before), "the old layer is still shown"
    bench.now += 1.0
    down_track.pause()
    assert bool(asked(before)) is resent
    bench.now += 1.0
    bench.send(layer("q", 2, 9000, key=True))
    (keyframe,) = wire.media()
    assert bool(asked(before)) is resent
    assert asked(keyframe.sequence)


def test_one_nack_packet_cannot_make_a_flood() -> None:
    bench, wire = Bench(), Wire()
    track = bench.video()
    subscriber = bench.peer(wire)
    down_track = bench.down_track(track, subscriber)
    bench.send(layer("q", 1, 0, key=True))
    bench.engine.set_target(down_track, track.encodings["q"], bench.now)
    bench.send(layer("q", 2, 0, key=True), layer("q", 3, 3000))
    wire.take()
    bench.engine.receive_rtcp(subscriber, rtcp.encode_nack(1, down_track.ssrc, list(range(400, 1400))), bench.now, 0.0)
    assert len(wire.media()) == 2


def test_missing_packets_are_requested_and_a_repair_fills_the_gap() -> None:
    bench, wire = Bench(), Wire()
    track = bench.video()
    down_track = bench.down_track(track, bench.peer(wire))
    bench.send(layer("q", 1, 0, key=True))
    bench.engine.set_target(down_track, track.encodings["q"], bench.now)
    bench.send(layer("q", 2, 0, key=True), layer("q", 5, 9000))
    bench.uplink.take()
    bench.tick(0.03)
    nacks = [packet for data in bench.uplink.rtcp() for packet in rtcp.parse(data) if isinstance(packet, rtcp.Nack)]
    assert nacks == [rtcp.Nack(bench.publisher.rtcp_ssrc, 11, (3, 4))]
    lost = vp8(picture=9)
    repair = rtp(
        struct.pack("!H", 3) + lost,
        ssrc=99,
        sequence=1,
        timestamp=3000,
        payload_type=97,
        extensions={4: b"1", 11: b"q"},
    )
    bench.send(repair, repair)
    assert [packet.sequence for packet in wire.media()] == [500, 503, 501]
    assert track.encodings["q"].recovered == 1


def test_a_keyframe_whose_first_packet_came_late_is_replayed_from_the_history() -> None:
    bench, wire = Bench(), Wire()
    track = bench.video()
    down_track = bench.down_track(track, bench.peer(wire))
    bench.send(layer("q", 1, 0))
    bench.engine.set_target(down_track, track.encodings["q"], bench.now)
    bench.send(layer("q", 3, 3000, begin=False), layer("q", 4, 6000))
    bench.send(layer("q", 2, 3000, key=True))
    assert [packet.sequence for packet in wire.media()] == [500, 501, 502]


def test_transport_wide_feedback_acknowledges_every_packet_bound_or_not() -> None:
    bench = Bench()
    bench.video()
    bench.send(layer("q", 1, 0, key=True), layer("q", 2, 0))
    stranger = rtp(b"x", ssrc=555, sequence=3, timestamp=0, payload_type=97, extensions={3: struct.pack("!H", 3)})
    bench.send(stranger)
    bench.tick(0.06)
    feedback = [
        packet
        for data in bench.uplink.rtcp()
        for packet in rtcp.parse(data)
        if isinstance(packet, rtcp.TransportFeedback)
    ]
    told = [number for packet in feedback for number, at in parse_feedback(packet.fci).arrivals if at is not None]
    assert told == [1, 2, 3]
    assert feedback[0].media_ssrc == 11


def test_reports_in_both_directions_keep_lips_in_sync() -> None:
    bench, wire = Bench(), Wire()
    audio, video = bench.audio(), bench.video(())
    subscriber = bench.peer(wire)
    down_tracks = [bench.down_track(audio, subscriber), bench.down_track(video, subscriber, number=1)]
    key = rtp(vp8(key=True), ssrc=31, sequence=1, timestamp=90_000, extensions={4: b"1"})
    bench.send(opus(1), key)
    # the publisher's clock runs 5 s behind ours; its reports say that both streams' stamps belong to its second 1000
    for ssrc, timestamp in ((21, 960), (31, 90_000)):
        report = rtcp.SenderReport(ssrc, 1000 << 32, timestamp, 0, 0, ())
        bench.engine.receive_rtcp(bench.publisher, rtcp.encode_sender_report(report), bench.now, 1005.0)
    for down_track in down_tracks:
        bench.engine.set_target(down_track, engine_track(down_track).encodings[""], bench.now)
    bench.send(opus(2), rtp(vp8(key=True), ssrc=31, sequence=2, timestamp=93_000, extensions={4: b"1"}))
    wire.take()
    for step in range(45):
        bench.now += 0.025
        bench.engine.handle_timer(bench.now, 1005.0 + step * 0.025)
    reports = [packet for data in wire.rtcp() for packet in rtcp.parse(data) if isinstance(packet, rtcp.SenderReport)]
    at = {report.ssrc: report for report in reports}
    sound, picture = at[down_tracks[0].ssrc], at[down_tracks[1].ssrc]
    # stamps that the publisher made at one moment map to one moment of our clock
    moments = [
        report.ntp / 2**32 - (report.rtp_timestamp - stamp) / clock
        for report, stamp, clock in ((sound, 960, 48_000), (picture, 90_000, 90_000))
    ]
    assert moments[0] == pytest.approx(moments[1], abs=0.001)
    assert sound.packets == 1


def test_a_publisher_that_echoes_our_clock_has_a_round_trip() -> None:
    bench = Bench()
    bench.video()
    bench.send(layer("q", 1, 0, key=True))
    bench.tick(0.9)
    (clock,) = [
        found for data in bench.uplink.rtcp() for found in rtcp.parse(data) if isinstance(found, ExtendedReport)
    ]
    assert clock.reference is not None
    echo = DlrrBlock(clock.ssrc, clock.reference >> 16 & 0xFFFFFFFF, 65536 // 2)
    wall = clock.reference / 2**32 + 0.5 + 0.08
    for answer in (echo, echo._replace(ssrc=1), echo._replace(time=0)):
        bench.engine.receive_rtcp(bench.publisher, xr.encode(ExtendedReport(77, None, (answer,))), bench.now, wall)
    assert bench.publisher.clock.rtt == pytest.approx(0.08, abs=0.001)


def test_a_subscriber_that_tells_its_clocks_gets_them_back_with_each_of_its_streams() -> None:
    bench, wire = Bench(), Wire()
    track = bench.video()
    subscriber = bench.peer(wire)
    down_track = bench.down_track(track, subscriber)
    bench.send(layer("q", 1, 0, key=True))
    bench.engine.set_target(down_track, track.encodings["q"], bench.now)
    bench.send(layer("q", 2, 3000, key=True))
    report = rtcp.SenderReport(11, 1000 << 32, 0, 0, 0, ())
    bench.engine.receive_rtcp(bench.publisher, rtcp.encode_sender_report(report), bench.now, 1005.0)
    for ssrc in range(6):  # no more than four are kept
        bench.engine.receive_rtcp(subscriber, xr.encode(ExtendedReport(ssrc, (1000 + ssrc) << 32)), bench.now, 1005.0)
    wire.take()
    bench.tick(1.2)
    told = [found for data in wire.rtcp() for found in rtcp.parse(data) if isinstance(found, ExtendedReport)]
    assert [found.ssrc for found in told] == [down_track.ssrc]
    assert [(echo.ssrc, echo.time) for echo in told[0].dlrr_blocks] == [
        (n, ((1000 + n) << 16) & 0xFFFFFFFF) for n in (4, 5)
    ]
    assert all(0 <= echo.delay <= 1.2 * 65536 for echo in told[0].dlrr_blocks)


def test_sound_comes_twice_on_a_lossy_path_and_once_on_others() -> None:
    bench = Bench()
    track = bench.audio()
    wires = [Wire(), Wire()]
    down_tracks = [
        bench.down_track(track, bench.peer(wire), red=True, number=number) for number, wire in enumerate(wires)
    ]
    bench.send(opus(1))
    for down_track in down_tracks:
        bench.engine.set_target(down_track, track.encodings[""], bench.now)
    bench.send(opus(2))
    down_tracks[1].update_loss(0.2, bench.now)
    for wire in wires:
        wire.take()
    bench.send(opus(3, payload=b"two"), opus(4, payload=b"three"))
    clean, lossy = (wire.media() for wire in wires)
    assert [packet.payload for packet in clean] == [b"two", b"three"]
    assert {packet.payload_type for packet in clean} == {down_tracks[0].payload_types[0]}
    assert {packet.payload_type for packet in lossy} == {down_tracks[1].payload_types[1]}
    assert lossy[-1].payload.endswith(b"soundtwothree")
    bench.engine.remove_down_track(down_tracks[1])
    assert track.lossy_down_tracks == set()


def test_receiver_reports_tell_the_publisher_its_loss() -> None:
    bench = Bench()
    bench.video()
    bench.send(*(layer("q", sequence, sequence * 3000) for sequence in range(1, 101) if sequence % 10))
    bench.tick(0.9)
    (block,) = [
        block
        for data in bench.uplink.rtcp()
        for packet in rtcp.parse(data)
        if isinstance(packet, rtcp.ReceiverReport)
        for block in packet.reports
    ]
    assert (block.ssrc, block.packets_lost) == (11, 9)
    assert block.fraction_lost == 9 * 256 // 99


def test_a_muted_track_is_stopped_at_the_server_and_goes_on_with_a_keyframe() -> None:
    bench, wire = Bench(), Wire()
    track = bench.video()
    down_track = bench.down_track(track, bench.peer(wire))
    bench.send(layer("q", 1, 0, key=True))
    bench.engine.set_target(down_track, track.encodings["q"], bench.now)
    bench.send(layer("q", 2, 3000, key=True))
    bench.engine.mute(track, True, bench.now)
    bench.send(layer("q", 3, 6000), layer("q", 4, 9000, key=True))
    bench.engine.mute(track, False, bench.now)
    bench.send(layer("q", 5, 12_000), layer("q", 6, 15_000, key=True))
    packets = wire.media()
    assert [packet.sequence for packet in packets] == [500, 501]
    assert packets[1].timestamp - packets[0].timestamp == 12_000


def test_a_full_socket_loses_packets_and_counts_them() -> None:
    bench, wire = Bench(), Wire(full=True)
    track = bench.audio()
    down_track = bench.down_track(track, bench.peer(wire))
    bench.send(opus(1))
    bench.engine.set_target(down_track, track.encodings[""], bench.now)
    bench.send(opus(2))
    assert bench.engine.dropped["send_buffer"] == 1


def test_a_batch_to_one_subscriber_is_cut_for_segmentation_and_padded_to_one_size() -> None:
    bench = Bench()
    wires = [Wire(), Wire()]
    track = bench.video()
    down_tracks = [
        bench.down_track(track, bench.peer(wire), red=True, number=number) for number, wire in enumerate(wires)
    ]
    bench.send(layer("q", 1, 0, key=True))
    for down_track in down_tracks:
        bench.engine.set_target(down_track, track.encodings["q"], bench.now)
    bench.send(layer("q", 2, 3000, key=True))
    for wire in wires:
        wire.take()
    bench.send(*(layer("q", 3 + step, 6000, size=1000 - step % 2, begin=step == 0) for step in range(6)))
    for wire in wires:
        sizes = {len(data) for data in wire.sent}
        assert len(sizes) == 1
        assert [len(packet.payload) for packet in wire.media()] == [len(vp8(size=1000 - step % 2)) for step in range(6)]


@pytest.mark.parametrize("junk", [b"", b"\x80", b"\xff" * 12, b"\x90" + bytes(11), b"\x90" + bytes(13) + b"\xff\xff"])
def test_packets_that_do_not_parse_are_dropped(junk: bytes) -> None:
    bench = Bench()
    bench.video()
    bench.send(junk.ljust(12, b"\0"))
    assert bench.publisher.counters.unrouted == 1


def test_streams_beyond_the_cap_are_refused() -> None:
    bench = Bench()
    bench.video()
    for ssrc in range(1000, 1300):
        bench.send(rtp(b"x", ssrc=ssrc, sequence=1, timestamp=0, payload_type=96))
    assert len(bench.publisher.streams) <= SSRC_LIMIT


def test_closing_a_peer_takes_its_tracks_and_routes_everywhere() -> None:
    bench, wire = Bench(), Wire()
    track = bench.video()
    subscriber = bench.peer(wire)
    down_track = bench.down_track(track, subscriber)
    bench.send(layer("q", 1, 0, key=True))
    bench.engine.set_target(down_track, track.encodings["q"], bench.now)
    bench.engine.close_peer(bench.publisher)
    bench.engine.close_peer(bench.publisher)
    assert subscriber.down_tracks == {}
    assert list(bench.engine.peers) == [subscriber.id]
    bench.engine.close_peer(subscriber)
    assert bench.engine.peers == {}


def test_a_layer_falls_silent_and_the_selector_takes_the_next() -> None:
    bench = Bench()
    track = bench.video()
    for step in range(100):
        packets = [layer("q", step, step * 3000, key=step == 0)]
        if step < 50:
            packets.append(layer("f", step, step * 3000, key=step == 0))
        bench.send(*packets)
        bench.tick(0.05)
    assert [encoding.rid for encoding in track.encodings.values() if encoding.alive] == ["q"]
    best = choose(track.encodings.values(), {}, 1280, 720, None, bench.now)
    assert best is track.encodings["q"]


def test_new_senders_are_reported_with_the_next_tick() -> None:
    bench = Bench()
    track = bench.video()
    bench.send(layer("q", 1, 0, key=True))
    bench.tick(TICK)  # the look that comes every quarter of a second
    bench.engine.take_events()
    bench.send(layer("f", 1, 0, key=True))
    bench.tick(TICK)
    assert [event.rid for event in bench.engine.take_events() if isinstance(event, EncodingChanged)] == ["f"]
    assert track.encodings["f"].alive


@pytest.mark.parametrize("declared", [True, False])
def test_repairs_of_an_undeclared_layer_are_not_taken_for_those_of_the_layer_that_is_taken(declared: bool) -> None:
    """A client of before rids may send two streams in one m-line; the repairs of the second say nothing of the first."""
    bench, wire = Bench(), Wire()
    track = bench.video((), ssrcs=((31, 41), (32, 42)) if declared else ())
    down_track = bench.down_track(track, bench.peer(wire))

    def packet(sequence: int, *, key: bool = False) -> bytes:
        return rtp(vp8(key=key), ssrc=31, sequence=sequence, timestamp=sequence * 3000, extensions={4: b"1"})

    def repair(ssrc: int, sequence: int, number: int) -> bytes:
        payload = struct.pack("!H", sequence) + vp8()
        return rtp(
            payload, ssrc=ssrc, sequence=number, timestamp=sequence * 3000, payload_type=97, extensions={4: b"1"}
        )

    bench.send(packet(1, key=True))
    bench.engine.set_target(down_track, track.encodings[""], bench.now)
    bench.send(packet(2, key=True), packet(5))
    bench.send(repair(41, 3, 1), repair(42, 4, 1))
    encoding = track.encodings[""]
    assert encoding.find(3) is not None
    assert encoding.find(4) is None
    assert (encoding.rtx_ssrc, encoding.recovered) == (41, 1)
    bench.tick(1)
    bench.send(rtp(vp8(key=True), ssrc=32, sequence=900, timestamp=0, extensions={4: b"1"}))
    bench.send(rtp(vp8(), ssrc=32, sequence=902, timestamp=0, extensions={4: b"1"}), repair(42, 901, 2))
    assert (track.encodings[""].ssrc, track.encodings[""].rtx_ssrc) == (32, 42), "it follows the stream that is taken"


def test_a_stream_that_goes_on_under_another_ssrc_is_continued() -> None:
    bench, wire = Bench(), Wire()
    track = bench.video(())
    down_track = bench.down_track(track, bench.peer(wire))

    def packet(ssrc: int, sequence: int, *, key: bool = False) -> bytes:
        return rtp(vp8(key=key), ssrc=ssrc, sequence=sequence, timestamp=sequence * 3000, extensions={4: b"1"})

    bench.send(packet(31, 1, key=True))
    bench.engine.set_target(down_track, track.encodings[""], bench.now)
    bench.send(packet(31, 2, key=True), packet(31, 3))
    bench.tick(1)
    bench.uplink.take()
    bench.send(packet(32, 40_000))
    bench.tick(0.3)
    asked = [
        each
        for data in bench.uplink.rtcp()
        for each in rtcp.parse(data)
        if isinstance(each, rtcp.PictureLossIndication)
    ]
    assert [each.media_ssrc for each in asked] == [32]
    bench.send(packet(32, 40_001, key=True), packet(32, 40_002))
    packets = wire.media()
    assert [each.sequence for each in packets] == [500, 501, 502, 503]
    assert all(0 < b.timestamp - a.timestamp <= 180_000 for a, b in itertools.pairwise(packets))
    assert 31 not in bench.publisher.streams
