import asyncio
import socket
from typing import Any

import pytest

from sfu.errors import ConfigurationError
from sfu.transport.settings import Settings
from sfu.transport.webrtc_server import WebRtcServer


def opened(**settings: Any) -> WebRtcServer:
    webrtc_server = WebRtcServer(Settings(udp_port=0, **settings))
    webrtc_server.open()
    return webrtc_server


@pytest.mark.parametrize(
    ("announce", "hosts"),
    [
        (("203.0.113.5",), [("203.0.113.5", None)]),
        (("203.0.113.5:4000", "2001:db8::1"), [("203.0.113.5", 4000), ("2001:db8::1", None)]),
        (("[2001:db8::1]:4000",), [("2001:db8::1", 4000)]),
        (("203.0.113.5", "203.0.113.5"), [("203.0.113.5", None)]),
    ],
)
async def test_announced_addresses_become_candidates(
    announce: tuple[str, ...], hosts: list[tuple[str, int | None]]
) -> None:
    webrtc_server = opened(bind=("127.0.0.1",), announce=announce)
    assert [(host, port) for host, port, *_ in webrtc_server.candidates] == [
        (host, port or webrtc_server.port.port) for host, port in hosts
    ]
    priorities = [priority for _, _, priority, *_ in webrtc_server.candidates]
    assert priorities == sorted(priorities, reverse=True)
    webrtc_server.close()


async def test_other_nodes_get_the_own_addresses_as_well() -> None:
    webrtc_server = opened(bind=("127.0.0.1",), announce=("203.0.113.5:4000",))
    assert webrtc_server.node_addresses == (("127.0.0.1", webrtc_server.port.port), ("203.0.113.5", 4000))
    webrtc_server.close()


@pytest.mark.parametrize("announce", ["example.org", "1.2.3", "1.2.3.4:x", "1.2.3.4:0", "[::1"])
async def test_an_address_that_cannot_be_announced_is_reported(announce: str) -> None:
    webrtc_server = WebRtcServer(Settings(udp_port=0, bind=("127.0.0.1",), announce=(announce,)))
    with pytest.raises(ConfigurationError, match=r"rtc\.announce"):
        webrtc_server.open()
    webrtc_server.close()


async def test_both_families_share_the_port_number() -> None:
    webrtc_server = opened(bind=("127.0.0.1", "::1"), include_loopback=True)
    assert {each.port for each in webrtc_server.port.sockets} == {webrtc_server.port.port}
    assert {host for host, *_ in webrtc_server.candidates} == {"127.0.0.1", "::1"}
    webrtc_server.close()


async def test_a_port_in_use_is_reported_with_advice() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        webrtc_server = WebRtcServer(Settings(udp_port=taken.getsockname()[1], bind=("127.0.0.1",)))
        with pytest.raises(ConfigurationError, match="is in use"):
            webrtc_server.open()


async def test_an_address_that_is_not_there_is_left_out_and_none_at_all_is_an_error() -> None:
    webrtc_server = opened(bind=("127.0.0.1", "192.0.2.77"), include_loopback=True)
    assert len(webrtc_server.port.sockets) == 1
    webrtc_server.close()
    lost = WebRtcServer(Settings(udp_port=0, bind=("192.0.2.77",)))
    with pytest.raises(ConfigurationError, match=r"rtc\.bind"):
        lost.open()


async def test_the_timer_goes_on_after_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    webrtc_server = opened(bind=("127.0.0.1",), include_loopback=True)
    again = asyncio.Event()
    calls = []

    def tick(now: float) -> None:
        calls.append(now)
        if len(calls) == 3:
            again.set()
        raise RuntimeError("broken")

    webrtc_server.ticks.append(tick)
    await asyncio.wait_for(again.wait(), 5)
    assert "media timer failed" in caplog.text
    webrtc_server.close()
