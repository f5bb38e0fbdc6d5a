"""Participants whose network blocks UDP: a browser in a network namespace behind a firewall that passes TCP only."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Playwright, async_playwright

from tests.support import impaired
from tests.support.certificate import self_signed
from tests.support.ports import free_port
from tests.web.conftest import CHROMIUM, chromium_path
from tests.web.guest import Guest, gathering
from tests.web.server import KEYS, serve, token

pytestmark = pytest.mark.skipif(bool(impaired.possible()), reason=impaired.possible() or "possible")


@pytest.fixture(scope="module")
def namespace() -> Iterator[None]:
    with impaired.own_namespace():
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def playwright(namespace: None) -> AsyncIterator[Playwright]:
    async with async_playwright() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def line(playwright: Playwright) -> AsyncIterator[impaired.Line]:
    async with impaired.far_host() as line:
        yield line


async def far_browser(playwright: Playwright, line: impaired.Line, folder: Path, *arguments: str) -> Browser:
    return await playwright.chromium.launch(
        executable_path=str(line.program(folder, chromium_path(shell=False))), args=[*CHROMIUM, *arguments]
    )


async def selected_protocols(guest: Guest) -> set[str]:
    """Protocols of the candidate pairs that carry media, of all connections of the page."""
    return set(
        await guest.run(
            """async () => {
                const found = [];
                for (const connection of watched.connections) {
                    const report = await connection.getStats();
                    for (const entry of report.values())
                        if (entry.type === 'transport' && entry.selectedCandidatePairId)
                            found.push(report.get(report.get(entry.selectedCandidatePairId).localCandidateId).protocol);
                }
                return found;
            }"""
        )
    )


async def test_chromium_without_udp_uses_ice_tcp(playwright: Playwright, line: impaired.Line, tmp_path: Path) -> None:
    port, name = free_port(), "no-udp"
    origin = f"http://{impaired.NEAR}:{port}"
    settings = {"http.host": "0.0.0.0", "rtc.announce": impaired.NEAR, "rtc.tcp_port": free_port()}
    await line.allow_tcp()
    far = await far_browser(playwright, line, tmp_path, f"--unsafely-treat-insecure-origin-as-secure={origin}")
    async with serve(tmp_path / "log", settings, KEYS, port=port) as server, gathering(far, origin, name) as meeting:
        ada, bob = [await meeting.join(each, token=await token(name, each.lower())) for each in ("Ada", "Bob")]
        for one, other in ((ada, bob), (bob, ada)):
            await one.sees(await other.track())
            await one.hears(await other.track("microphone"))
            assert await selected_protocols(one) == {"tcp"}
        assert server.errors() == []
    await far.close()


async def test_one_open_tcp_port_carries_https_and_media(
    playwright: Playwright, line: impaired.Line, tmp_path: Path
) -> None:
    port, name = 443, "only-443"
    certificate, key = self_signed(tmp_path)
    settings = {
        "http.host": "0.0.0.0",
        "http.tls_certificate": certificate,
        "http.tls_key": key,
        "rtc.announce": impaired.PUBLIC,  # Chromium refuses candidates with this port at a private address
        "rtc.tcp_over_https_port": port,
    }
    await line.allow_tcp(port)
    far = await far_browser(playwright, line, tmp_path, "--ignore-certificate-errors")
    origin = f"https://{impaired.PUBLIC}:{port}"
    async with (
        serve(tmp_path / "log", settings, KEYS, scheme="https", port=port) as server,
        gathering(far, origin, name) as meeting,
    ):
        ada, bob = [await meeting.join(each, token=await token(name, each.lower())) for each in ("Ada", "Bob")]
        await ada.sees(await bob.track())
        await bob.sees(await ada.track())
        assert await selected_protocols(ada) == {"tcp"}
        assert server.errors() == []
    await far.close()
