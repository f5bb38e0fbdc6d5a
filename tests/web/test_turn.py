"""Chromium behind TURN: over UDP, TCP and TLS, and while a TURN server dies. Its pages may use relays only."""

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Playwright

from tests.support.certificate import self_signed
from tests.support.coturn import Coturn, coturn, missing
from tests.support.ports import free_port
from tests.web.conftest import launch
from tests.web.guest import Guest, Meeting, gathering
from tests.web.server import ServerProcess, serve

pytestmark = pytest.mark.skipif(bool(missing), reason=missing or "-")
PORT, TLS_PORT = free_port(), free_port()
FIRST, SECOND = "127.0.0.1", "127.0.0.4"
URLS = (
    f"turn:{FIRST}:{PORT}",
    f"turn:{FIRST}:{PORT}?transport=tcp",
    f"turns:localhost:{TLS_PORT}?transport=tcp",
    f"turn:{SECOND}:{PORT}",
)
RELAYS_ONLY = """
    ((only) => {
        const limit = ({ iceServers = [], ...rest } = {}) => ({
            ...rest,
            iceTransportPolicy: 'relay',
            iceServers: iceServers.map((each) => ({ ...each, urls: each.urls.filter((url) => url.match(only)) })),
        });
        const Native = window.RTCPeerConnection;
        window.connections = [];
        window.RTCPeerConnection = class extends Native {
            constructor(configuration) {
                super(limit(configuration));
                window.connections.push(this);
            }
            setConfiguration(configuration) {
                super.setConfiguration(limit(configuration));
            }
        };
    })
"""
LOCAL_CANDIDATES = """
    async () => {
        const open = window.connections.filter((each) => each.connectionState === 'connected');
        return Promise.all(open.map(async (each) => {
            const report = await each.getStats();
            const transport = [...report.values()].find(({ type }) => type === 'transport');
            const pair = report.get(transport.selectedCandidatePairId);
            const { candidateType, address, relayProtocol } = report.get(pair.localCandidateId);
            return { candidateType, address, relayProtocol };
        }));
    }
"""
OFFERED = "() => sfu.room.publisher.iceServers[0].urls"


@dataclass
class Place:
    server: ServerProcess
    browser: Browser
    first: Coturn

    async def join(self, meeting: Meeting, name: str, only: str = ".") -> Guest:
        """A page that uses only the TURN URLs that match the regular expression `only`."""
        guest = await meeting.invite(name)
        await guest.context.add_init_script(f"{RELAYS_ONLY}('{only}')")
        await guest.enter(meeting.address())
        return guest


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    folder, secret = tmp_path_factory.mktemp("turn"), secrets.token_hex(16)
    certificate, key = self_signed(folder)
    tls = (f"--tls-listening-port={TLS_PORT}", f"--cert={certificate}", f"--pkey={key}", "--no-dtls")
    settings = {"turn.urls": json.dumps(URLS), "turn.secret": secret}
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(coturn(folder, FIRST, secret, tls, PORT))
        await stack.enter_async_context(coturn(folder, SECOND, secret, port=PORT))
        server = await stack.enter_async_context(serve(folder / "log", settings, {"SSL_CERT_FILE": str(certificate)}))
        browser = await launch(playwright, "--ignore-certificate-errors")
        yield Place(server, browser, first)
        await browser.close()
        assert server.errors() == []


async def relays(guest: Guest) -> list[dict[str, Any]]:
    """The local candidates of both connections; all are relays."""
    found: list[dict[str, Any]] = await guest.until(
        "two connections over relays",
        f"async () => {{ const found = await ({LOCAL_CANDIDATES})(); return found.length === 2 && found; }}",
        within=30,
    )
    assert {each["candidateType"] for each in found} == {"relay"}
    return found


@pytest.mark.parametrize(
    ("protocol", "only"), [("udp", r"^turn:[^?]*$"), ("tcp", r"^turn:.*tcp$"), ("tls", r"^turns:")]
)
async def test_media_over(place: Place, protocol: str, only: str) -> None:
    async with gathering(place.browser, place.server.url, f"over-{protocol}") as meeting:
        ada, bob = await place.join(meeting, "Ada", only), await place.join(meeting, "Bob", only)
        await bob.sees(await ada.track(), within=30)
        assert {each["relayProtocol"] for each in await relays(bob)} == {protocol}


async def test_a_killed_server_moves_live_calls_and_later_joins_to_the_other(place: Place) -> None:
    async with gathering(place.browser, place.server.url, "killed") as meeting:
        ada, bob = await place.join(meeting, "Ada", "^turn:[^?]*$"), await place.join(meeting, "Bob", "^turn:[^?]*$")
        camera = await ada.track()
        await bob.sees(camera, within=30)
        assert {each["address"] for each in await relays(bob)} == {FIRST}
        me = await bob.id()
        await place.first.kill()
        for guest in (ada, bob):
            await guest.until(
                "both connections on the other relay",
                f"""async (relay) => {{
                    const found = await ({LOCAL_CANDIDATES})();
                    return found.length === 2 && found.every(({{ address }}) => address === relay);
                }}""",
                SECOND,
                within=60,
            )
        await bob.sees(camera, within=30)
        assert await bob.id() == me, "the session continues"
        eve = await place.join(meeting, "Eve")
        await eve.sees(camera, within=30)
        assert await eve.run(OFFERED) == [URLS[3]]
        assert {each["address"] for each in await relays(eve)} == {SECOND}
