"""Tests of plain peers: processes on this machine without SRTP (Engine.open_plain_peer)."""

import struct

from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.peer_transport import PLAIN, Address
from sfu.ids import PeerId
from sfu.rtp import rtcp
from tests.support.wire import AUDIO_EXTENSIONS, Bench, Rtp, Wire, rtp, vp8


def picture(sequence: int, *, key: bool = False, size: int = 100) -> bytes:
    return rtp(vp8(key=key, size=size), ssrc=11, sequence=sequence, timestamp=3000 * sequence, extensions={4: b"1"})


def consumer(bench: Bench, wire: Wire) -> EnginePeer:
    bench.count += 1
    return bench.engine.open_plain_peer(PeerId(bench.count), 1000 + bench.count, wire)


def test_it_gets_the_packets_of_other_subscribers_unsealed() -> None:
    bench, sealed, plain = Bench(), Wire(), Wire(tag=0)
    track = bench.video(())
    sink = consumer(bench, plain)
    for number, peer in enumerate((bench.peer(sealed), sink)):
        bench.engine.set_target(bench.down_track(track, peer, number=number), track.encodings[""], bench.now)
    bench.send(picture(1, key=True), picture(2), picture(3, size=99))
    assert sink.packets_out == 3
    ours, theirs = plain.media(), sealed.media()
    assert [packet.sequence for packet in ours] == [500, 501, 502]
    assert [(p.sequence, p.timestamp, p.payload) for p in ours] == [
        (p.sequence, p.timestamp, p.payload) for p in theirs
    ]
    assert {packet.ssrc for packet in ours} == {7_000_001}


def test_a_run_of_equal_packets_is_cut_at_their_own_size() -> None:
    bench = Bench()
    cut: list[tuple[int, int]] = []

    class DatagramSink(Wire):
        def send_segments(self, data: memoryview, size: int, address: Address) -> bool:
            cut.append((len(data), size))
            return super().send_segments(data, size, address)

    plain = DatagramSink(tag=0)
    track = bench.video(())
    bench.engine.set_target(bench.down_track(track, consumer(bench, plain)), track.encodings[""], bench.now)
    bench.send(picture(1, key=True))
    bench.send(picture(2), picture(3))
    (_, two, three) = plain.take()
    assert cut == [(len(two) + len(three), len(two))]
    assert Rtp.parse(two).payload == Rtp.parse(three).payload == vp8()


def test_reports_and_repairs_are_plain_too() -> None:
    bench, plain = Bench(), Wire(tag=0)
    track = bench.video(())
    sink = consumer(bench, plain)
    down_track = bench.down_track(track, sink)
    bench.engine.set_target(down_track, track.encodings[""], bench.now)
    bench.send(picture(1, key=True))
    report = rtcp.SenderReport(11, int(bench.now) << 32, 3000, 0, 0, ())
    bench.engine.receive_rtcp(bench.publisher, rtcp.encode_sender_report(report), bench.now, bench.now)
    bench.send(picture(2), picture(3))
    first = plain.media()[0]
    bench.tick(1.1)
    reports = [each for data in plain.rtcp() for each in rtcp.parse(data) if isinstance(each, rtcp.SenderReport)]
    assert reports[0].ssrc == down_track.ssrc
    assert reports[0].packets == 3
    bench.engine.receive_rtcp(sink, rtcp.encode_nack(1, down_track.ssrc, [first.sequence]), bench.now, 0.0)
    (repair,) = plain.media()
    assert repair.payload == struct.pack("!H", first.sequence) + first.payload


def test_its_packets_are_forwarded_like_any_publication() -> None:
    bench, wire, back = Bench(), Wire(), Wire(tag=0)
    source = consumer(bench, back)
    track = bench.engine.add_track(
        source, mid="0", kind="audio", codec="opus", parameters="", clock_rate=48_000, payload_types={111: "opus"},
        rtx={}, extensions=AUDIO_EXTENSIONS, rids=(), ssrcs=((21, None),),
    )  # fmt: skip
    bench.engine.set_target(bench.down_track(track, bench.peer(wire)), track.encodings[""], bench.now)
    for sequence in (1, 2):
        packet = rtp(b"sound", ssrc=21, sequence=sequence, timestamp=960 * sequence, payload_type=111)
        bench.engine.receive(source, memoryview(packet), len(packet), bench.now)
    bench.engine.flush(bench.now)
    assert [(packet.sequence, packet.payload) for packet in wire.media()] == [(500, b"sound"), (501, b"sound")]
    bench.tick(1.1)
    reported = rtcp.parse(back.rtcp()[-1])[0]
    assert isinstance(reported, rtcp.ReceiverReport)
    assert reported.reports[0].ssrc == 21


def test_it_has_no_keys_to_open_anything_with_and_is_closed_like_others() -> None:
    bench, plain = Bench(), Wire(tag=0)
    sink = consumer(bench, plain)
    assert (sink.rx, sink.tx) == (None, PLAIN)
    track = bench.video(())
    bench.engine.set_target(bench.down_track(track, sink), track.encodings[""], bench.now)
    bench.engine.close_peer(sink)
    bench.send(picture(1, key=True))
    assert plain.sent == []
