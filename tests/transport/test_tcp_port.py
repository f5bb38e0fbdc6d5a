"""ICE-TCP with real sockets: media by both fan-outs, slow readers, connections that end, and strangers."""

import asyncio
import contextlib
import dataclasses
import os
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from sfu.ids import TrackId
from sfu.rooms.ports import MediaSource, SubscriptionSettings
from sfu.transport import tcp_port
from sfu.transport.connection import Connection, State
from sfu.transport.endpoint import WebRtcEndpoint
from sfu.transport.publisher import PublisherConnection
from sfu.transport.settings import Settings
from sfu.transport.subscriber import SubscriberConnection
from sfu.transport.tcp_connection import CONTROL_BYTES, SLOW_UNSENT_BYTES, UNSENT_BYTES
from sfu.transport.tcp_port import with_passive
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.peer import RawPeer, binding_request, negotiate
from tests.support.ports import free_port
from tests.support.wire import Rtp, rtp, vp8
from tests.transport.test_connection import DECLARED, Ear, until


@contextlib.asynccontextmanager
async def running(settings: Settings = Settings()) -> AsyncIterator[WebRtcServer]:  # noqa: B008 (frozen)
    server = WebRtcServer(
        dataclasses.replace(settings, udp_port=0, tcp_port=free_port(), bind=("127.0.0.1",), include_loopback=True)
    )
    server.open()
    try:
        yield server
    finally:
        server.close()
    assert not server.port.by_address
    assert not server.tcp_port.connections
    assert not server.tcp_port._unauthenticated
    assert not server.tcp_port._by_host


async def published(endpoint: WebRtcEndpoint, *, tcp: bool = True) -> tuple[PublisherConnection, RawPeer, MediaSource]:
    """A publisher and its camera."""
    peer = RawPeer(tcp=tcp)
    publisher = endpoint.open_publisher("PA_a", Ear())
    negotiated = negotiate(publisher, peer.offer(), DECLARED)
    peer.use(negotiated.sdp, role="client")
    peer.check()
    await until(lambda: peer.tx, peer)
    return publisher, peer, negotiated.sources["1"]


async def subscribed(endpoint: WebRtcEndpoint, camera: MediaSource) -> tuple[SubscriberConnection, RawPeer]:
    ear, peer = Ear(), RawPeer(tcp=True)
    subscriber = endpoint.open_subscriber("PA_b", ear)
    subscriber.subscribe(TrackId("TR_cam"), camera, SubscriptionSettings())
    await until(lambda: ear.offers)
    ((offer_id, offer, _),) = ear.offers
    subscriber.accept_answer(offer_id, peer.answer(offer))
    peer.use(offer, role="client")
    peer.check()
    await until(lambda: peer.tx, peer)
    return subscriber, peer


def connection_of(server: WebRtcServer, peer: RawPeer) -> Connection:
    connection = server.port.by_address[(*peer.sock.getsockname(), "tcp")]
    assert isinstance(connection, Connection)
    return connection


def picture(sequence: int, *, packets: int = 8) -> list[bytes]:
    """A frame of `packets` packets, the last one shorter; every frame is a keyframe."""
    return [
        rtp(
            vp8(key=True, picture=sequence // packets & 0x7FFF, begin=index == 0, size=1100 if index < packets - 1 else 300),
            ssrc=2, sequence=sequence + index & 0xFFFF, timestamp=3000 * (sequence // packets),
            marker=index == packets - 1, extensions={4: b"1"},
        )
        for index in range(packets)
    ]  # fmt: skip


def test_passive_candidates_are_below_those_of_udp() -> None:
    udp = (("192.0.2.1", 7882, 2130706431, "1", "udp"), ("2001:db8::1", 7882, 2130706175, "2", "udp"))
    found = with_passive(udp, (7881, 443))
    assert found[:2] == udp
    assert [(host, port, protocol) for host, port, _, _, protocol in found[2:]] == [
        ("192.0.2.1", 7881, "tcp"), ("2001:db8::1", 7881, "tcp"), ("192.0.2.1", 443, "tcp"), ("2001:db8::1", 443, "tcp"),
    ]  # fmt: skip
    priorities = [priority for _, _, priority, _, _ in found]
    assert priorities == sorted(set(priorities), reverse=True)
    assert len({foundation for *_, foundation, _ in found}) == 6
    assert with_passive(udp, (0, 0)) == udp


@pytest.mark.parametrize("native", [False, True], ids=["Python", "C"])
async def test_media_over_tcp_in_both_directions(native: bool) -> None:
    async with running(Settings(native=native)) as server:
        if native and server.port._native is None:
            pytest.skip("the C part is not built")
        endpoint = WebRtcEndpoint(server)
        publisher, sender, camera = await published(endpoint)
        subscriber, receiver = await subscribed(endpoint, camera)
        got: dict[int, Rtp] = {}
        for sequence in range(0, 800, 8):
            for packet in picture(sequence):
                sender.send(packet)
            await asyncio.sleep(0.005)
            got |= {found.sequence: found for found in map(Rtp.parse, receiver.media())}
            if len(got) >= 200:
                break
        assert len(got) >= 200
        first = min(got)
        assert sorted(got) == list(range(first, first + len(got)))
        connection = connection_of(server, receiver)
        assert connection.ice.protocol == "tcp"
        assert connection.peer.counters.nacks_received == 0
        for each in (subscriber, publisher, sender, receiver):
            each.close()


async def test_a_peer_that_does_not_read_loses_media_and_delays_no_one() -> None:
    async with running(Settings(publish_packets_per_second=1_000_000, publish_bits_per_second=10**10)) as server:
        endpoint = WebRtcEndpoint(server)
        publisher, sender, camera = await published(endpoint)
        good, reader = await subscribed(endpoint, camera)
        bad, silent = await subscribed(endpoint, camera)
        slow = list(server.tcp_port.connections.values())[-1]
        good_sink = server.tcp_port.connections[(*reader.sock.getsockname(), "tcp")]
        sent, got = 0, list[int]()
        while not slow.dropped:
            assert sent < 16_000
            for packet in picture(sent):
                sender.send(packet)
            sent += 8
            await asyncio.sleep(0.001)
            got += [Rtp.parse(data).sequence for data in reader.media()]
        assert good_sink.dropped == 0
        assert len(got) > sent / 2
        assert got == list(range(got[0], got[0] + len(got)))
        assert not slow.ready
        assert len(slow._backlog) <= CONTROL_BYTES + 2050
        # STUN, DTLS and RTCP wait, but do not grow without bound
        assert slow.send(b"\x01\x01" + bytes(98), slow.address)
        while slow.send(b"\x16" + bytes(999), slow.address):
            assert len(slow._backlog) <= CONTROL_BYTES + 2050
        for each in (good, bad, publisher):
            each.close()
        for raw in (sender, reader, silent):
            raw.close()


async def test_control_packets_come_before_media_after_a_slow_reader_reads_again() -> None:
    async with running() as server:
        endpoint = WebRtcEndpoint(server)
        publisher, sender, _ = await published(endpoint)
        sink = server.tcp_port.connections[(*sender.sock.getsockname(), "tcp")]
        frame = memoryview(b"\x80" + bytes(1199))
        while sink.send_segments(memoryview(bytes(frame) * 10), 1200, sink.address):
            pass
        assert not sink.send(frame, sink.address)
        assert sink.send(b"\x01\x01control", sink.address)
        await until(lambda: sink._unsent_limit == SLOW_UNSENT_BYTES)
        sender.received.clear()
        await until(lambda: b"\x01\x01control" in sender.received, sender)
        assert all(len(data) in (1200, 9) for data in sender.received)
        await until(lambda: sink.ready and sink._unsent_limit == UNSENT_BYTES, sender)
        assert sink.send(frame, sink.address)
        await until(lambda: sender.received[-1] == frame, sender)
        publisher.close()
        sender.close()


async def test_a_connection_that_ends_leaves_the_pair_of_another() -> None:
    async with running() as server:
        endpoint = WebRtcEndpoint(server)
        publisher, peer, _ = await published(endpoint)
        connection = connection_of(server, peer)
        other = RawPeer(peer.identity)
        other.remote_ufrag, other.remote_pwd, other.dtls = peer.remote_ufrag, peer.remote_pwd, peer.dtls
        other.server = ("127.0.0.1", server.port.port)
        other.check(nominate=False)
        await until(lambda: other.sock.getsockname() in server.port.by_address, peer)
        assert len(connection.peer.address) == 3
        peer.close()
        await until(lambda: connection.peer.address == other.sock.getsockname())
        assert connection.state is State.CONNECTED
        assert list(server.port.by_address) == [other.sock.getsockname()]
        publisher.close()
        other.close()


async def test_a_connection_without_another_pair_waits_for_a_new_one() -> None:
    async with running() as server:
        endpoint = WebRtcEndpoint(server)
        publisher, peer, _ = await published(endpoint)
        connection = connection_of(server, peer)
        peer.close()
        await until(lambda: not server.port.by_address)
        connection.handle_timer(asyncio.get_running_loop().time())
        assert connection.state is State.CONNECTED
        again = RawPeer(peer.identity, tcp=True)
        again.remote_ufrag, again.remote_pwd, again.server, again.dtls = (
            peer.remote_ufrag, peer.remote_pwd, peer.server, peer.dtls,
        )  # fmt: skip
        again.check()
        await until(lambda: connection.peer.address == (*again.sock.getsockname(), "tcp"))
        publisher.close()
        again.close()


def _frame(data: bytes) -> bytes:
    return struct.pack("!H", len(data)) + data


STRANGERS = {
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), "tcp_frame_size"),
    "HTTP": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "tcp_frame_size"),
    "a frame of 65,535 bytes": (b"\xff\xff" + bytes(4000), "tcp_frame_size"),
    "DTLS": (_frame(b"\x16\xfe\xfd" + bytes(60)), "tcp_not_stun"),
    "media": (_frame(b"\x80\x60" + bytes(200)), "tcp_not_stun"),
    "a check of an unknown user": (_frame(binding_request("nobody:me", "x" * 24)), "tcp_late_check"),
    "nothing": (b"", "tcp_late_check"),
    "half a frame": (b"\x00\x64" + bytes(20), "tcp_late_check"),
    "frames of 0 bytes": (bytes(2000), "tcp_not_stun"),
}


@pytest.mark.parametrize("name", STRANGERS)
async def test_strangers_get_no_answer_and_are_closed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, reason = STRANGERS[name]
    if reason == "tcp_late_check":
        monkeypatch.setattr(tcp_port, "CHECK_TIMEOUT", 0.1)
    async with running() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.settings.tcp_port)
        writer.write(data)
        await until(lambda: server.port.dropped[reason])
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        assert not server.tcp_port.connections
        writer.close()


async def test_one_byte_at_a_time_is_cut_off() -> None:
    async with running() as server:
        with socket.create_connection(("127.0.0.1", server.settings.tcp_port)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in _frame(binding_request("nobody:me", "x" * 24)):
                if server.port.dropped["tcp_not_stun"]:
                    break
                sock.send(bytes([byte]))
                reads = [each._reads for each in server.tcp_port.connections.values()]
                await until(lambda: [each._reads for each in server.tcp_port.connections.values()] != reads)  # noqa: B023
            assert server.port.dropped["tcp_not_stun"] == 1
            assert not server.tcp_port.connections


async def test_a_valid_check_and_then_junk_costs_only_its_sender() -> None:
    async with running() as server:
        endpoint = WebRtcEndpoint(server)
        publisher, good, _ = await published(endpoint)
        _, bad, _ = await published(endpoint)
        for first in (0, 22, 70, 128, 200, 255):
            for size in (0, 1, 12, 60, 1300, 2048):
                bad.sock.sendto((bytes([first]) + os.urandom(2048))[:size], bad.server)
        await until(lambda: server.port.dropped["unknown_protocol"])
        bad.sock.sendto(bytes(60_000), bad.server)
        await until(lambda: server.port.dropped["tcp_frame_size"] == 1)
        assert server.port.dropped["fault"] == 0
        good.received.clear()
        good.check()
        await until(lambda: any(data[:2] == b"\x01\x01" for data in good.received), good)
        publisher.close()
        for each in (good, bad):
            each.close()


async def test_idle_connections_are_limited_by_address_and_in_total(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_port, "UNAUTHENTICATED_LIMIT", 40)
    async with running(Settings(half_open_per_address=24)) as server:
        endpoint = WebRtcEndpoint(server)
        publisher, peer, _ = await published(endpoint)
        idle = []
        for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            for _ in range(30):
                sock = socket.socket()
                sock.bind((host, 0))
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", server.settings.tcp_port))
                idle.append(sock)
            await until(lambda: server.port.dropped["tcp_limit"], peer)
        await until(lambda: server.port.dropped["tcp_limit"] >= 18 + 32, peer)
        assert len(server.tcp_port._unauthenticated) == 40
        assert len(server.tcp_port.connections) == 41
        again = RawPeer(tcp=True)
        again.remote_ufrag, again.remote_pwd, again.server = peer.remote_ufrag, peer.remote_pwd, peer.server
        again.sock.bind(("127.0.0.4", 0))
        again.check()
        await until(lambda: (*again.sock.getsockname(), "tcp") in server.port.by_address)
        publisher.close()
        for sock in (*idle, peer.sock, again.sock):
            sock.close()
