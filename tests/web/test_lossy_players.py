"""Chromium makes the offer and gets its own ids, mids and payload types, through a path that loses packets."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import av
import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from sfu.bots.codecs import VideoEncoder
from sfu.forwarding.track import Track
from sfu.ids import PeerId
from sfu.sdp.receive_offer import ReceiveSection, SentTrack, accept_receive_offer, write_receive_answer
from sfu.transport.connection import Connection
from sfu.transport.settings import Settings
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.lossy import Listener, Lossy

FPS = 15
OFFER = """async (rtx) => {
    window.pc = new RTCPeerConnection();
    pc.addTransceiver('video', { direction: 'recvonly' });
    pc.addTransceiver('audio', { direction: 'recvonly' });
    const video = document.createElement('video');
    video.muted = true;
    document.body.append(video);
    pc.ontrack = ({ track }) => { video.srcObject = new MediaStream([track]); void video.play(); };
    const offer = await pc.createOffer();
    if (!rtx) {
        const dead = [...offer.sdp.matchAll(/a=rtpmap:(\\d+) rtx/g)].map((found) => found[1]);
        offer.sdp = offer.sdp.split('\\r\\n').filter((line) => !dead.some((number) =>
            line.startsWith(`a=rtpmap:${number} `) || line.startsWith(`a=fmtp:${number} `))).map((line) =>
            line.startsWith('m=video') ? line.split(' ').filter((word) => !dead.includes(word)).join(' ') : line,
        ).join('\\r\\n');
    }
    await pc.setLocalDescription(offer);
    return pc.localDescription.sdp;
}"""
ANSWER = "async (sdp) => { await pc.setRemoteDescription({ type: 'answer', sdp }); }"
WAIT = """async (frames) => {
    for (;;) {
        const stats = [...(await pc.getStats()).values()];
        const { framesDecoded = 0, nackCount = 0 } = stats.find((each) => each.type === 'inbound-rtp') ?? {};
        if (framesDecoded >= frames && nackCount >= 3) return;
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
}"""

Run = Callable[[str, object], Awaitable[Any]]


@pytest_asyncio.fixture(loop_scope="session")
async def webrtc_server() -> AsyncIterator[WebRtcServer]:
    server = WebRtcServer(Settings(udp_port=0, bind=("127.0.0.1",), include_loopback=True))
    server.open()
    yield server
    server.close()


async def publish(server: WebRtcServer, track: Track) -> None:
    """A moving picture in VP8, with a keyframe every second."""
    encoder, sequence = VideoEncoder(320, 180, 400_000, FPS), 0
    noise = np.random.default_rng(1).integers(0, 255, (270, 320), np.uint8)
    engine = server.engine
    for number in range(1_000):
        frame = av.VideoFrame.from_ndarray(np.roll(noise, number, 1), format="yuv420p")
        data, _ = encoder.encode(frame, number * 6000, number % FPS == 0)
        parts = [data[at : at + 1000] for at in range(0, len(data), 1000)]
        for index, part in enumerate(parts):
            sequence = sequence % 0xFFFF + 1
            marker = 0x80 if index == len(parts) - 1 else 0
            packet = struct.pack("!BBHIIB", 0x80, 96 | marker, sequence, number * 6000, 11, 0 if index else 0x10) + part
            engine.receive(server.engine.peers[track.peer.id], memoryview(packet), len(packet), time.monotonic())
        engine.flush(time.monotonic())
        await asyncio.sleep(1 / FPS)


def published(server: WebRtcServer) -> Track:
    peer = server.engine.open_peer(PeerId(1_000_000), 1)
    return server.engine.add_track(
        peer, mid="v", kind="video", codec="VP8", parameters="", clock_rate=90_000, payload_types={96: "VP8"}, rtx={},
        extensions={}, rids=(), ssrcs=((11, None),),
    )  # fmt: skip


async def watch(server: WebRtcServer, run: Run, *, rtx: bool) -> ReceiveSection:
    """Negotiates, sends and waits for pictures and for requests of lost packets."""
    track, listener = published(server), Listener()
    connection = Connection(server, "viewer", listener)
    accepted = accept_receive_offer(await run(OFFER, rtx))
    receive = next(iter(accepted.sections.values()))
    codec = receive.choose("VP8", "")
    assert codec is not None
    assert (codec.rtx is not None) == rtx
    sent = SentTrack((codec,), "", 77, 78 if rtx else None, "alice", "camera")
    sdp = write_receive_answer(accepted, connection.local(), {receive.mid: sent}, session_id=1, session_version=1)
    connection.start_dtls("server", accepted.fingerprints)
    await run(ANSWER, sdp)
    await asyncio.wait_for(listener.is_connected.wait(), 30)
    peer = connection.peer
    assert peer.datagram_sink is not None
    peer.datagram_sink = Lossy(peer.datagram_sink)
    down_track = server.engine.add_down_track(
        track, peer, mid=receive.mid, ssrc=77, rtx_ssrc=78 if rtx else 0, payload_type=codec.payload_type,
        red_payload_type=None, rtx_payload_type=codec.rtx, first_sequence=5000, cname="alice",
        extensions=receive.extensions, allow_mixed=receive.allow_mixed, nack_without_rtx=codec.nack and not rtx,
    )  # fmt: skip
    server.engine.set_target(down_track, track.encodings[""], time.monotonic())
    publisher = asyncio.create_task(publish(server, track))
    try:
        await asyncio.wait_for(run(WAIT, 2 * FPS), 60)
    finally:
        publisher.cancel()
        connection.close()
    assert peer.counters.retransmitted > 0
    return receive


@asynccontextmanager
async def chromium_page(chromium: Browser) -> AsyncIterator[Run]:
    page = await chromium.new_page()

    async def run(script: str, argument: object) -> Any:
        return await page.evaluate(script, argument)

    yield run
    await page.close()


@pytest.mark.parametrize("rtx", [True, False])
async def test_chromium_that_makes_the_offer_sees_the_track(
    chromium: Browser, webrtc_server: WebRtcServer, rtx: bool
) -> None:
    async with chromium_page(chromium) as run:
        receive = await watch(webrtc_server, run, rtx=rtx)
    assert receive.mid == "0"
