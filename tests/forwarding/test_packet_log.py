"""Tests of the packet log: it contains headers and feedback, but no media."""

import json

from sfu.forwarding.packet_log import HEAD, PacketLog
from sfu.rtp import rtcp
from tests.forwarding.test_engine import layer, opus
from tests.support.replay import read
from tests.support.wire import Bench, Wire


def test_headers_of_all_layers_and_no_content() -> None:
    lines = list[str]()
    bench = Bench(packet_log=PacketLog(lines.append))
    bench.video()
    sound = bench.audio()
    viewer = bench.peer(Wire())
    bench.send(layer("q", 7, 3000, key=True, size=300), layer("f", 8, 3000, key=True, size=900), opus(1))
    bench.tick(0.1)
    heard = bench.down_track(sound, viewer)
    bench.engine.set_target(heard, sound.encodings[""], bench.now)
    bench.send(layer("q", 8, 6000, size=400), layer("f", 9, 6000, size=1000), opus(2, payload=b"SECRET" * 10))
    bench.engine.receive_rtcp(viewer, rtcp.encode_pli(5, heard.ssrc), bench.now, 0.0)

    recording = read(lines)
    found = {(track.kind, rid): packet for track in recording.tracks.values() for _, rid, packet in track.packets}
    assert set(found) == {("video", "q"), ("video", "f"), ("audio", "")}
    sequence, timestamp, marker, size, extra, head = found["video", "f"]
    assert (sequence, timestamp, marker) == (9, 6000, False)
    assert size > 1000
    assert len(bytes.fromhex(head)) <= extra + HEAD
    assert found["audio", ""][4:] == [0, ""]
    assert b"SECRET".hex() not in "".join(lines)
    assert [kind for _, kind, _ in recording.paths[viewer.id]] == ["rtcp"]


def test_packets_sent_on_a_path() -> None:
    bench, lines, noted = Bench(), list[str](), list[object]()
    log = PacketLog(lines.append)
    log.logging_sent(bench.peer(Wire()), noted.append)((65_535, (100, 200), 1.5))
    assert noted == [(65_535, (100, 200), 1.5)]
    assert json.loads(lines[0])[0::3] == ["sent", 65_535]


def test_a_track_that_is_gone_is_introduced_again() -> None:
    lines = list[str]()
    bench = Bench(packet_log=PacketLog(lines.append))
    for rid in ("q", "h"):
        track = bench.video((rid,))
        bench.send(layer(rid, 7, 3000, key=True))
        bench.tick(0.5)
        bench.send(layer(rid, 8, 3000))
        bench.engine.remove_track(track)
    numbers = [json.loads(line)[1] for line in lines if line.startswith('["track"')]
    assert numbers == [1, 2]
