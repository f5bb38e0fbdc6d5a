"""Counters of a real engine that forwards a few packets, and of handshakes, losses and times."""

import pytest

from sfu.admin.collectors.media import MediaCollector
from sfu.transport.settings import Settings
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.metrics import samples
from tests.support.wire import Bench, Wire, rtp, vp8


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def webrtc_server(bench: Bench) -> WebRtcServer:
    server = WebRtcServer(Settings())
    server.engine = bench.engine
    return server


def test_packets_and_tracks(bench: Bench, webrtc_server: WebRtcServer) -> None:
    bench.video()
    track = bench.audio()
    for number in range(2):
        down_track = bench.down_track(track, bench.peer(Wire()), number=number)
        bench.engine.set_target(down_track, track.encodings[""], bench.now)
    bench.send(*(opus(sequence) for sequence in range(1, 4)))
    bench.send(rtp(vp8(), ssrc=999, sequence=1, timestamp=1))
    shown = samples(MediaCollector(webrtc_server))
    assert shown["sfu_tracks", ("audio",)] == shown["sfu_tracks", ("video",)] == 1
    assert shown["sfu_subscriptions", ("audio",)] == 2
    assert shown["sfu_subscriptions", ("video",)] == 0
    assert shown["sfu_packets_total", ("sent",)] == 6
    totals = bench.engine.totals()
    assert shown["sfu_packets_total", ("received",)] == totals["packets_in"] >= 3
    assert shown["sfu_media_bytes_total", ("received",)] == totals["bytes_in"] > 0
    assert shown["sfu_media_bytes_total", ("sent",)] == totals["bytes_out"] > 0
    assert shown["sfu_packets_dropped_total", ("unrouted",)] == totals["unrouted"] == 1


def opus(sequence: int) -> bytes:
    return rtp(b"sound", ssrc=21, sequence=sequence, timestamp=sequence * 960, payload_type=111, extensions={4: b"0"})


def test_counters(webrtc_server: WebRtcServer) -> None:
    webrtc_server.handshakes.update(connected=34, failed=35)
    webrtc_server.port.dropped["unknown_source"] += 20
    webrtc_server.engine.dropped["bad_tag"] += 19
    shown = samples(MediaCollector(webrtc_server))
    expected = {
        ("sfu_dtls_handshakes_total", ("ok",)): 34,
        ("sfu_dtls_handshakes_total", ("failed",)): 35,
        ("sfu_packets_dropped_total", ("unknown_source",)): 20,
        ("sfu_packets_dropped_total", ("bad_tag",)): 19,
        ("sfu_packets_dropped_total", ("unrouted",)): 0,
        ("sfu_nacks_total", ("received",)): 0,
        ("sfu_nacks_total", ("sent",)): 0,
        ("sfu_plis_total", ("received",)): 0,
        ("sfu_firs_total", ("received",)): 0,
        ("sfu_retransmissions_total", ("received",)): 0,
        ("sfu_retransmissions_total", ("sent",)): 0,
    }
    assert {key: shown[key] for key in expected} == expected


def test_times_are_sampled_once(bench: Bench, webrtc_server: WebRtcServer) -> None:
    webrtc_server.port.latencies.extend([0.001, 0.002])
    webrtc_server.connect_times.append(0.25)
    bench.publisher.clock.rtt = 0.04
    bench.audio()
    bench.send(opus(1))
    bench.tick(0.1)
    collector = MediaCollector(webrtc_server)
    for rounds in (1, 2):
        collector.sample()
        shown = samples(collector)
        assert shown["sfu_forward_latency_seconds_count", ()] == 2
        assert shown["sfu_forward_latency_seconds_sum", ()] == pytest.approx(0.003)
        assert shown["sfu_join_latency_seconds_sum", ()] == 0.25
        assert shown["sfu_rtt_seconds_sum", ()] == pytest.approx(0.04 * rounds)
        assert shown["sfu_loss_ratio_count", ()] == shown["sfu_jitter_seconds_count", ()] == rounds
