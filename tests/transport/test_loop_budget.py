"""Loop budgets at the media port, over real sockets."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from sfu.forwarding.loop_budget import MEDIA_SHARE, USUAL_PACKET
from sfu.transport import stun, udp
from sfu.transport.endpoint import WebRtcEndpoint
from sfu.transport.webrtc_server import WebRtcServer
from tests.attacks.sctp import Association, chunk, data
from tests.support.peer import binding_request
from tests.support.wire import rtp
from tests.transport.test_connection import SETTINGS, published, until


@pytest.fixture
async def webrtc_server() -> AsyncIterator[WebRtcServer]:
    webrtc_server = WebRtcServer(SETTINGS)
    webrtc_server.open()
    yield webrtc_server
    webrtc_server.close()


async def test_strangers_without_credit_are_dropped_before_parsing_and_known_fragments_are_not(
    webrtc_server: WebRtcServer,
) -> None:
    webrtc_server.port.unauthenticated_budget.charge(100.0, time.monotonic())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        for _ in range(20):
            stranger.sendto(binding_request("nobody:else", "x" * 24), ("127.0.0.1", webrtc_server.port.port))
        await until(lambda: webrtc_server.port.dropped["unauthenticated_budget"] == 20)
    assert webrtc_server.port.dropped["stun_unknown_user"] == 0
    publisher, peer, _ = await published(WebRtcEndpoint(webrtc_server))
    assert webrtc_server.port.dropped["unauthenticated_budget"] == 20
    publisher.close()
    peer.close()


async def test_work_is_charged_to_its_source(webrtc_server: WebRtcServer) -> None:
    publisher, peer, _ = await published(WebRtcEndpoint(webrtc_server))
    connection = next(iter(webrtc_server.connections))
    budget, unauthenticated_budget = connection.peer.budget, webrtc_server.port.unauthenticated_budget
    assert 0.0005 < budget.used < 0.05, "the handshake"
    before = budget.used
    for number in range(100):
        peer.send(rtp(b"x", ssrc=1, sequence=number, timestamp=number, payload_type=111, extensions={4: b"0"}))
        await asyncio.sleep(0)
    await until(lambda: connection.peer.packets_in == 100)
    assert before < budget.used < before + 0.1
    assert budget.throttled == 0
    spent, used = budget.used, unauthenticated_budget.used
    for _ in range(100):
        peer.sock.sendto(binding_request("nobody:else", "x" * 24), peer.server)
    await until(lambda: webrtc_server.port.dropped["stun_unknown_user"] == 100)
    assert unauthenticated_budget.used > used
    assert budget.used - spent < unauthenticated_budget.used - used + 0.01
    publisher.close()
    peer.close()


@pytest.mark.parametrize(("cost", "charged"), [(USUAL_PACKET * 0.9, 0.0), (USUAL_PACKET + 40e-6, 40e-6)])
async def test_of_a_media_packet_only_an_unusual_cost_is_charged(
    webrtc_server: WebRtcServer, monkeypatch: pytest.MonkeyPatch, cost: float, charged: float
) -> None:
    publisher, peer, _ = await published(WebRtcEndpoint(webrtc_server))
    budget = next(iter(webrtc_server.connections)).peer.budget
    used, clock = budget.used, iter(cost * step for step in range(200))
    packet = rtp(b"x", ssrc=1, sequence=1, timestamp=1, payload_type=111, extensions={4: b"0"})
    monkeypatch.setattr(udp, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    for _ in range(100):
        webrtc_server.port._receive(
            next(iter(webrtc_server.connections)).peer, memoryview(bytearray(packet)), len(packet), 0.0
        )
    assert budget.used - used == pytest.approx(100 * charged)
    monkeypatch.undo()
    publisher.close()
    peer.close()


async def test_a_peer_without_credit_is_not_read_until_it_has_some(webrtc_server: WebRtcServer) -> None:
    publisher, peer, _ = await published(WebRtcEndpoint(webrtc_server))
    connection = next(iter(webrtc_server.connections))
    connection.peer.budget.charge(MEDIA_SHARE * 0.6, time.monotonic())
    peer.check()
    await until(lambda: webrtc_server.port.dropped["loop_budget"])
    last = connection.ice.agent.last_check
    await until(lambda: connection.peer.budget.admits(time.monotonic()))
    peer.check()
    await until(lambda: connection.ice.agent.last_check > last)
    publisher.close()
    peer.close()


def test_our_fragment_is_read_from_a_request_without_parsing_it() -> None:
    request = binding_request("ours:theirs", "x" * 24)
    assert stun.local_fragment(memoryview(request)) == "ours"
    assert stun.local_fragment(memoryview(request[:26])) == ""
    assert stun.local_fragment(memoryview(request[:20] + b"\0\x24" + request[22:])) == ""
    assert stun.local_fragment(memoryview(request[:22] + b"\xff\xff" + request[24:])) == "ours"


async def test_acknowledgements_of_messages_are_not_charged_to_their_receiver(webrtc_server: WebRtcServer) -> None:
    """Who floods a room with messages must not get its receivers disconnected."""
    publisher, peer, _ = await published(WebRtcEndpoint(webrtc_server), data=True)
    connection = next(iter(webrtc_server.connections))
    association = Association(None, peer)
    await association.associate()
    budget = connection.peer.budget
    used, acknowledged = budget.used, connection._acknowledgements.used
    for _ in range(50):
        association.send(chunk(3, struct.pack("!IIHH", association.peer_tsn - 1, 1 << 20, 0, 0)))
    await until(lambda: connection._acknowledgements.used - acknowledged > 0.0005)
    assert budget.used == used
    for _ in range(20):
        association.send(data(association.tsn, b"{}", stream=0, sequence=association.tsn & 0xFFFF, ppid=51))
        association.tsn += 1
    await until(lambda: budget.used - used > 0.0005)
    publisher.close()
    peer.close()
