import asyncio
import socket

import pytest

from sfu.errors import ConfigurationError
from sfu.transport.settings import Settings
from sfu.transport.webrtc_server import Hub


def opened(**settings: object) -> Hub:
    hub = Hub(Settings(udp_port=0, **settings))  # type: ignore[arg-type]
    hub.open()
    return hub


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
    hub = opened(bind=("127.0.0.1",), announce=announce)
    assert [(host, port) for host, port, *_ in hub.candidates] == [
        (host, port or hub.port.port) for host, port in hosts
    ]
    priorities = [priority for _, _, priority, *_ in hub.candidates]
    assert priorities == sorted(priorities, reverse=True)
    hub.close()


@pytest.mark.parametrize("announce", ["example.org", "1.2.3", "1.2.3.4:x", "1.2.3.4:0", "[::1"])
async def test_what_cannot_be_announced_is_told(announce: str) -> None:
    hub = Hub(Settings(udp_port=0, bind=("127.0.0.1",), announce=(announce,)))
    with pytest.raises(ConfigurationError, match=r"rtc\.announce"):
        hub.open()
    hub.close()


async def test_both_families_share_the_port_number() -> None:
    hub = opened(bind=("127.0.0.1", "::1"), include_loopback=True)
    assert {each.port for each in hub.port.sockets} == {hub.port.port}
    assert {host for host, *_ in hub.candidates} == {"127.0.0.1", "::1"}
    hub.close()


async def test_a_port_in_use_is_told_with_what_to_do() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        hub = Hub(Settings(udp_port=taken.getsockname()[1], bind=("127.0.0.1",)))
        with pytest.raises(ConfigurationError, match="is in use"):
            hub.open()


async def test_an_address_that_is_not_there_is_left_out_and_none_at_all_is_an_error() -> None:
    hub = opened(bind=("127.0.0.1", "192.0.2.77"), include_loopback=True)
    assert len(hub.port.sockets) == 1
    hub.close()
    lost = Hub(Settings(udp_port=0, bind=("192.0.2.77",)))
    with pytest.raises(ConfigurationError, match=r"rtc\.bind"):
        lost.open()


async def test_the_timer_goes_on_after_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    hub = opened(bind=("127.0.0.1",), include_loopback=True)
    again = asyncio.Event()
    calls = []

    def tick(now: float) -> None:
        calls.append(now)
        if len(calls) == 3:
            again.set()
        raise RuntimeError("broken")

    hub.ticks.append(tick)
    await asyncio.wait_for(again.wait(), 5)
    assert "media timer failed" in caplog.text
    hub.close()
