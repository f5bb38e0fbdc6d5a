"""A client that makes the offer (aiortc) sees a track through a path that loses packets, with RTX and without."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator

import av
import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription

from sfu.bots.codecs import VideoEncoder
from sfu.forwarding.track import Track
from sfu.ids import PeerId
from sfu.sdp.receive_offer import SentTrack, accept_receive_offer, write_receive_answer
from sfu.transport.connection import Connection
from sfu.transport.settings import Settings
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.lossy import Listener, Lossy

FPS = 15
FRAMES = 2 * FPS


@pytest.fixture
async def webrtc_server() -> AsyncIterator[WebRtcServer]:
    server = WebRtcServer(Settings(udp_port=0, bind=("127.0.0.1",), include_loopback=True))
    server.open()
    yield server
    server.close()


def published(server: WebRtcServer) -> Track:
    peer = server.engine.open_peer(PeerId(1_000_000), 1)
    return server.engine.add_track(
        peer, mid="v", kind="video", codec="VP8", parameters="", clock_rate=90_000, payload_types={96: "VP8"}, rtx={},
        extensions={}, rids=(), ssrcs=((11, None),),
    )  # fmt: skip


async def publish(server: WebRtcServer, track: Track) -> None:
    """A moving picture in VP8, with a keyframe every second."""
    encoder, sequence = VideoEncoder(160, 90, 300_000, FPS), 0
    noise = np.random.default_rng(1).integers(0, 255, (135, 160), np.uint8)
    engine = server.engine
    peer = engine.peers[track.peer.id]
    for number in range(1_000):
        frame = av.VideoFrame.from_ndarray(np.roll(noise, number, 1), format="yuv420p")
        data, _ = encoder.encode(frame, number * 6000, number % FPS == 0)
        parts = [data[at : at + 1000] for at in range(0, len(data), 1000)]
        now = time.monotonic()
        for index, part in enumerate(parts):
            sequence += 1
            marker = 0x80 if index == len(parts) - 1 else 0
            head = struct.pack("!BBHIIB", 0x80, 96 | marker, sequence, number * 6000, 11, 0 if index else 0x10)
            engine.receive(peer, memoryview(head + part), len(head + part), now)
        engine.flush(now)
        await asyncio.sleep(1 / FPS)


@pytest.mark.parametrize("rtx", [True, False])
async def test_a_client_that_makes_the_offer_sees_the_track(webrtc_server: WebRtcServer, rtx: bool) -> None:
    engine, listener, tracks = webrtc_server.engine, Listener(), asyncio.Queue[MediaStreamTrack]()
    track = published(webrtc_server)
    client = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    client.on("track", tracks.put_nowait)
    transceiver = client.addTransceiver("video", direction="recvonly")
    capabilities = RTCRtpReceiver.getCapabilities("video")
    assert capabilities is not None
    transceiver.setCodecPreferences([each for each in capabilities.codecs if rtx or each.name != "rtx"])
    await client.setLocalDescription(await client.createOffer())
    accepted = accept_receive_offer(client.localDescription.sdp)
    (receive,) = accepted.sections.values()
    codec = receive.choose("VP8", "")
    assert codec is not None
    assert codec.nack
    assert (codec.rtx is not None) == rtx
    connection = Connection(webrtc_server, "viewer", listener)
    sent = SentTrack((codec,), "", 77, 78 if rtx else None, "alice", "camera")
    sdp = write_receive_answer(accepted, connection.local(), {receive.mid: sent}, session_id=1, session_version=1)
    connection.start_dtls("server", accepted.fingerprints)
    await client.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
    await asyncio.wait_for(listener.is_connected.wait(), 30)
    peer = connection.peer
    assert peer.datagram_sink is not None
    peer.datagram_sink = Lossy(peer.datagram_sink)
    down_track = engine.add_down_track(
        track, peer, mid=receive.mid, ssrc=77, rtx_ssrc=78 if rtx else 0, payload_type=codec.payload_type,
        red_payload_type=None, rtx_payload_type=codec.rtx, first_sequence=5000, cname="alice",
        extensions=receive.extensions, allow_mixed=receive.allow_mixed, nack_without_rtx=not rtx,
    )  # fmt: skip
    engine.set_target(down_track, track.encodings[""], time.monotonic())
    publisher = asyncio.create_task(publish(webrtc_server, track))
    try:
        received = await asyncio.wait_for(tracks.get(), 30)
        for _ in range(FRAMES):
            assert isinstance(await asyncio.wait_for(received.recv(), 30), av.VideoFrame)
    finally:
        publisher.cancel()
        connection.close()
        await client.close()
    assert down_track.layout is not None
    assert peer.counters.retransmitted > 0
