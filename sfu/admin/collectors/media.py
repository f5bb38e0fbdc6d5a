"""Metrics of media connections, tracks, packets and RTCP."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric

from sfu.telemetry.histogram import RATIOS, Histogram
from sfu.telemetry.metrics import Collector, counters, directions, gauges, histogram
from sfu.transport.webrtc_server import WebRtcServer


class MediaCollector(Collector):
    """Samples round-trip time, loss and jitter, so that the packet path does not have to update histograms."""

    def __init__(self, webrtc_server: WebRtcServer) -> None:
        self._webrtc_server = webrtc_server
        self._rtt, self._loss, self._jitter = Histogram(), Histogram(RATIOS), Histogram()
        self._forward, self._join = Histogram(), Histogram()

    def sample(self) -> None:
        for samples, seconds in (
            (self._webrtc_server.port.latencies, self._forward),
            (self._webrtc_server.connect_times, self._join),
        ):
            while samples:
                seconds.observe(samples.popleft())
        for peer in self._webrtc_server.engine.peers.values():
            if peer.clock.rtt is not None:
                self._rtt.observe(peer.clock.rtt)
            for track in peer.tracks.values():
                for encoding in track.encodings.values():
                    if encoding.alive:
                        self._loss.observe(encoding.fraction_lost)
                        self._jitter.observe(encoding.jitter / track.clock_rate)

    def collect(self) -> Iterator[Metric]:
        yield from self._connections()
        yield from self._packets()
        yield histogram("sfu_rtt_seconds", "Round-trip time to clients, per RTCP report.", self._rtt.distribution())
        yield histogram(
            "sfu_jitter_seconds",
            "Interarrival jitter of received streams, per RTCP report.",
            self._jitter.distribution(),
        )
        yield histogram("sfu_loss_ratio", "Fraction of packets lost, per RTCP report.", self._loss.distribution())
        yield histogram(
            "sfu_forward_latency_seconds",
            "Time from a packet's arrival to its last send.",
            self._forward.distribution(),
        )
        yield histogram(
            "sfu_join_latency_seconds",
            "Time from a media connection's first session description to its SRTP keys (ICE and DTLS).",
            self._join.distribution(),
        )

    def _connections(self) -> Iterator[Metric]:
        server = self._webrtc_server
        states = Counter(connection.state.name.lower() for connection in server.connections)
        tracks: Counter[str] = Counter()
        subscriptions: Counter[str] = Counter()
        for peer in server.engine.peers.values():
            for track in peer.tracks.values():
                tracks[track.kind] += 1
                subscriptions[track.kind] += len(track.down_tracks)
        yield gauges("sfu_peers", "Media connections.", "state", states)
        transports = Counter(connection.ice.protocol for connection in server.connections)
        yield gauges(
            "sfu_media_connections",
            "Media connections with a selected address.",
            "transport",
            {transport: transports[transport] for transport in ("udp", "tcp")},
        )
        yield gauges("sfu_tracks", "Published tracks.", "kind", tracks)
        yield gauges("sfu_subscriptions", "Subscriptions to tracks.", "kind", subscriptions)
        yield counters(
            "sfu_dtls_handshakes_total",
            "DTLS handshakes.",
            "result",
            {"ok": server.handshakes["connected"], "failed": server.handshakes["failed"]},
        )

    def _packets(self) -> Iterator[Metric]:
        engine = self._webrtc_server.engine
        totals = engine.totals()
        dropped = Counter(self._webrtc_server.port.dropped) + engine.dropped
        dropped["unrouted"] += totals["unrouted"]
        yield directions(
            "sfu_packets_total",
            "RTP packets received from and sent to clients.",
            totals["packets_in"],
            totals["packets_out"],
        )
        yield directions(
            "sfu_media_bytes_total",
            "Bytes of RTP received from and sent to clients.",
            totals["bytes_in"],
            totals["bytes_out"],
        )
        yield counters("sfu_packets_dropped_total", "Packets dropped.", "reason", dropped)
        yield directions(
            "sfu_nacks_total", "Packets requested again by NACK.", totals["nacks_received"], totals["nacks_sent"]
        )
        yield directions(
            "sfu_plis_total",
            "Keyframe requests by PLI.",
            totals["keyframe_requests_received"] - engine.firs_received,
            engine.plis_sent,
        )
        yield counters(  # the server sends no FIR
            "sfu_firs_total", "Keyframe requests by FIR.", "direction", {"received": engine.firs_received}
        )
        yield directions("sfu_retransmissions_total", "Retransmitted packets (RTX).", 0, totals["retransmitted"])
