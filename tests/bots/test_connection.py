"""sfu.bots.connection: a bot's transport against a server of the tests on loopback: ICE, DTLS, SRTP, and their ends."""

import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from sfu.bots.connection import CONNECT_TIMEOUT, Connection, State
from sfu.bots.descriptions import AUDIO_MID, OPUS, RemoteTransport, publishing_offer, remote_of
from sfu.bots.ice import CONSENT_TIMEOUT, SILENT_AFTER
from sfu.bots.outbound import OutboundStream
from sfu.rtp import rtcp
from sfu.sdp.description import parse
from sfu.signaling.messages import TrackSpec
from sfu.transport.dtls import Identity
from sfu.transport.endpoint import WebRtcEndpoint
from sfu.transport.settings import Settings
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.peer import negotiate
from tests.support.running_server import until
from tests.transport.test_connection import track_of

IDENTITY = Identity()


class Listener:
    def __init__(self) -> None:
        self.ready = False
        self.rtp: list[bytes] = []
        self.rtcp: list[bytes] = []
        self.broken = 0
        self.losses: list[str] = []

    def connected(self) -> None:
        self.ready = True

    def rtp_received(self, packet: bytes, now: float) -> None:
        self.rtp.append(packet)

    def rtcp_received(self, packet: bytes, now: float) -> None:
        self.rtcp.append(packet)

    def path_broken(self) -> None:
        self.broken += 1

    def lost(self, reason: str) -> None:
        self.losses.append(reason)


class Bot:
    """A connection with its stream of audio, and the server's end."""

    def __init__(self, server: WebRtcServer, fingerprint: str = "") -> None:
        self.listener = Listener()
        self.connection = Connection(IDENTITY, self.listener)
        self.far = FarEnd()
        self.publisher = WebRtcEndpoint(server).open_publisher("bot", self.far)
        self.stream = OutboundStream(ssrc=7, payload_type=OPUS, clock_rate=48_000, mid=AUDIO_MID)
        offer = publishing_offer(self.connection.credentials, 1, "bot", self.stream, [])
        self.negotiated = negotiate(self.publisher, offer, [TrackSpec(mid=AUDIO_MID, source="microphone")])
        remote = remote_of(parse(self.negotiated.sdp))
        self.remote = replace(remote, fingerprints=(("sha-256", fingerprint),)) if fingerprint else remote

    async def until(self, reached: Callable[[], object]) -> None:
        def step() -> bool:
            self.connection.handle_timer(time.monotonic())
            return bool(reached())

        await until(step)

    async def connect(self) -> None:
        self.connection.connect(self.remote)
        await self.until(lambda: self.listener.ready)

    def send(self, number: int = 1) -> None:
        self.connection.send_rtp(self.stream.packet(b"opus", 960 * number, False, number))


class FarEnd:
    """A PublisherListener that counts losses."""

    lost = 0

    def data_received(self, payload: bytes | str, *, reliable: bool) -> None: ...

    def data_refused(self, size: int) -> None: ...

    def layers_wanted(self, mid: str, rids: tuple[str, ...]) -> None: ...

    def publisher_lost(self) -> None:
        self.lost += 1


@pytest.fixture
async def server() -> AsyncIterator[WebRtcServer]:
    one = WebRtcServer(Settings(udp_port=0, bind=("127.0.0.1",), include_loopback=True))
    one.open()
    yield one
    one.close()


@pytest.fixture
async def bot(server: WebRtcServer) -> AsyncIterator[Bot]:
    one = Bot(server)
    yield one
    one.connection.close()
    one.publisher.close()


def packets(bot: Bot) -> int:
    track = track_of(bot.negotiated.sources[AUDIO_MID])
    return sum(encoding.packets for encoding in track.encodings.values())


async def test_media_and_feedback_once_connected(bot: Bot) -> None:
    bot.send()
    assert bot.connection.sent_bytes == 0  # dropped
    await bot.connect()
    assert bot.connection.state is State.CONNECTED
    for number in range(5):
        bot.send(number)
    await bot.until(lambda: packets(bot) == 5)
    await bot.until(lambda: bot.listener.rtcp)
    assert rtcp.parse(bot.listener.rtcp[0])
    assert bot.connection.sent_bytes > 5 * 40
    assert bot.connection.received_bytes > 0
    assert bot.connection.dropped == 0


async def test_close_is_silent_and_ends_the_servers_side(bot: Bot) -> None:
    await bot.connect()
    bot.connection.close()
    bot.connection.close()
    assert (bot.connection.state, bot.listener.losses) == (State.CLOSED, [])
    await until(lambda: bot.far.lost == 1)
    bot.send()
    bot.connection.handle_timer(time.monotonic())


async def test_the_servers_end_is_a_loss(bot: Bot) -> None:
    await bot.connect()
    bot.publisher.close()
    await bot.until(lambda: bot.listener.losses)
    assert bot.connection.state is State.CLOSED


async def test_a_wrong_fingerprint_fails(server: WebRtcServer) -> None:
    bot = Bot(server, ":".join(["AA"] * 32))
    bot.connection.connect(bot.remote)
    await bot.until(lambda: bot.listener.losses)
    assert not bot.listener.ready
    bot.publisher.close()


async def test_datagrams_that_cannot_be_read_are_counted(bot: Bot) -> None:
    await bot.connect()
    (ours,) = bot.connection._sockets.values()
    for data in (b"", b"\x80", b"\x80\x6f" + bytes(30), b"\x81\xc9" + bytes(30), b"\xff"):
        bot.connection._received(ours, data, time.monotonic())
    assert bot.connection.dropped == 3
    assert (bot.listener.rtp, bot.listener.losses) == ([], [])


async def test_silence_breaks_the_path_and_then_the_connection(bot: Bot) -> None:
    await bot.connect()
    silent_since = bot.connection.ice.last_answer
    assert silent_since is not None
    for seconds in (SILENT_AFTER - 1, SILENT_AFTER + 1, SILENT_AFTER + 2):
        bot.connection.handle_timer(silent_since + seconds)
    assert bot.listener.broken == 1
    bot.connection.handle_timer(silent_since + CONSENT_TIMEOUT + 1)
    assert bot.listener.losses == ["no answer from the server"]


async def test_a_server_that_never_answers() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        listener = Listener()
        connection = Connection(IDENTITY, listener)
        addresses = (mute.getsockname(), ("::1", 9))
        connection.connect(RemoteTransport("abcd", "x" * 24, (("sha-256", "AA"),), "passive", addresses))
        assert connection.state is State.CHECKING
        mute.settimeout(20)
        assert mute.recv(1500)[:2] == b"\0\1"
        connection.handle_timer(time.monotonic() + CONNECT_TIMEOUT + 1)
    assert listener.losses == ["connection timed out"]
