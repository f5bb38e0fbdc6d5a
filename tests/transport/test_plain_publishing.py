"""A process that publishes simulcast, retransmissions and audio levels, and subscribers of its tracks."""

import asyncio
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable

import pytest
from av.error import FFmpegError

from sfu.forwarding.layers import Size
from sfu.ids import TrackId
from sfu.mixer.decoder import Decoder
from sfu.rooms.ports import SubscriptionSettings
from sfu.rtp import rtcp
from sfu.rtp.frames import FrameAssembler
from sfu.transport.plain_transport import AUDIO_EXTENSIONS, EncodingParameters, PlainTransport, pair
from sfu.transport.published_track import PublishedTrack
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.plain_publisher import AUDIO_SSRC, LEVEL, SIZES, SSRCS
from tests.support.wire import Rtp
from tests.transport.test_connection import endpoint, webrtc_server

__all__ = ["endpoint", "webrtc_server"]

CAMERA, MICROPHONE = TrackId("TR_cam"), TrackId("TR_mic")
ENCODINGS = [EncodingParameters(SSRCS[rid][0], rid, SSRCS[rid][1], Size(*SIZES[rid])) for rid in SIZES]


class Viewer:
    """The other end of a subscribing plain transport: decodes the camera and keeps the sound's packets."""

    def __init__(self, webrtc_server: WebRtcServer) -> None:
        self.plain_transport = PlainTransport(webrtc_server, "viewer")
        ours, self._sock = pair()
        self._sock.setblocking(False)
        self.plain_transport.attach(ours)
        self._assembler, self._decoder = FrameAssembler("H264"), Decoder("H264")
        self.heights: list[int] = []
        """Heights of the decoded pictures."""
        self.sequences: set[int] = set()
        self.sounds: list[Rtp] = []

    def read(self) -> None:
        while True:
            try:
                message = self._sock.recv(70_000)
            except BlockingIOError:
                break
            size = struct.unpack_from("!H", message)[0]
            for at in range(2, len(message), size):
                packet = message[at : at + size]
                if not 191 < packet[1] < 224:
                    self._receive(packet)

    def _receive(self, packet: bytes) -> None:
        parsed = Rtp.parse(packet)
        if parsed.ssrc == self.plain_transport.ssrc(MICROPHONE):
            self.sounds.append(parsed)
            return
        self.sequences.add(parsed.sequence)
        for frame in self._assembler.receive(packet, time.monotonic()):
            try:
                picture = self._decoder.decode(frame.data)
            except FFmpegError:  # the packet with the parameter sets was late
                self._request_keyframe(parsed.ssrc)
            else:
                if picture is not None:
                    self.heights.append(picture.height)
        if self._assembler.wants_keyframe:
            self._request_keyframe(parsed.ssrc)

    def _request_keyframe(self, ssrc: int) -> None:
        """The server throttles requests."""
        request = rtcp.encode_pli(1, ssrc)
        self._sock.send(struct.pack("!H", len(request)) + request)

    def close(self) -> None:
        self.plain_transport.close()
        self._sock.close()


class Publisher:
    """A plain transport with the publishing process behind it."""

    def __init__(self, plain_transport: PlainTransport, process: asyncio.subprocess.Process) -> None:
        self.plain_transport, self.process = plain_transport, process
        self.camera = plain_transport.publish("video", "H264", ENCODINGS)
        self.microphone = plain_transport.publish("audio", "opus", [EncodingParameters(AUDIO_SSRC)])


@pytest.fixture
async def publisher(webrtc_server: WebRtcServer, endpoint: object) -> AsyncIterator[Publisher]:
    plain_transport = PlainTransport(webrtc_server, "ingest")
    ours, theirs = pair()
    theirs.setblocking(True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.plain_publisher", str(theirs.fileno()), pass_fds=(theirs.fileno(),)
    )
    theirs.close()
    plain_transport.attach(ours)
    yield Publisher(plain_transport, process)
    plain_transport.close()
    assert await asyncio.wait_for(process.wait(), 20) == 0


@pytest.fixture
async def viewer(webrtc_server: WebRtcServer) -> AsyncIterator[Viewer]:
    viewer = Viewer(webrtc_server)
    yield viewer
    viewer.close()


async def until(done: Callable[[], object], viewer: Viewer) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        viewer.read()
        await asyncio.sleep(0.01)


def complete(sequences: set[int]) -> bool:
    """Whether no gap is left among the last packets, except among those that are still being repaired."""
    last = max(sequences) - 30
    return set(range(last - 60, last)) <= sequences


def repaired(source: PublishedTrack) -> int:
    return sum(encoding.recovered for encoding in source.track.encodings.values())


async def test_a_subscriber_switches_layers_and_lost_packets_are_repaired(publisher: Publisher, viewer: Viewer) -> None:
    camera = publisher.camera
    viewer.plain_transport.subscribe(CAMERA, camera, SubscriptionSettings(height=90))
    await until(lambda: viewer.heights[-5:] == [90] * 5, viewer)
    viewer.plain_transport.update(CAMERA, SubscriptionSettings(height=360))
    await until(lambda: viewer.heights[-5:] == [360] * 5, viewer)
    viewer.plain_transport.update(CAMERA, SubscriptionSettings(height=180))
    await until(lambda: viewer.heights[-5:] == [180] * 5, viewer)
    assert repaired(camera) > 0
    # Every ninth packet is lost on the way. Packets of a layer that the viewer left may stay lost.
    await until(lambda: complete(viewer.sequences), viewer)
    assert {encoding.rtx_ssrc for encoding in camera.track.encodings.values()} == {21, 22, 23}


async def test_audio_levels_arrive_and_are_forwarded(publisher: Publisher, viewer: Viewer) -> None:
    viewer.plain_transport.subscribe(MICROPHONE, publisher.microphone, SubscriptionSettings())
    await until(lambda: len(viewer.sounds) > 3, viewer)
    assert publisher.microphone.take_level() == LEVEL
    (level_id,) = AUDIO_EXTENSIONS.values()
    assert {sound.extensions[level_id] for sound in viewer.sounds} == {bytes([LEVEL])}


async def test_without_rtx_nothing_is_repaired(webrtc_server: WebRtcServer) -> None:
    plain_transport = PlainTransport(webrtc_server, "ingest")
    source = plain_transport.publish("video", "H264", [EncodingParameters(7)])
    assert (source.track.rtx, source.track.encodings[""].ssrc, source.track.encodings[""].rtx_ssrc) == ({}, 7, 0)
    plain_transport.close()
