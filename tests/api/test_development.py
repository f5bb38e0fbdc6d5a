"""Development tokens are issued only to the server's own page on this machine."""

import time

import pytest

from sfu.api.development import ALL_ADDRESSES, LOOPBACK, Development, check_local, listen_addresses
from sfu.api.settings import Settings
from sfu.errors import ConfigurationError, NotAuthorized
from tests.api.support import Server, running


@pytest.mark.parametrize(
    ("host", "origin", "remote", "allowed"),
    [
        ("localhost:8080", None, "127.0.0.1", True),
        ("localhost:8080", "http://localhost:8080", "::1", True),
        ("127.0.0.1", "http://127.0.0.1", "127.0.0.1", True),
        ("[::1]:8080", "http://[::1]:8080", "::ffff:127.0.0.1", True),
        ("LocalHost:8080", "http://localhost:8080", "127.0.0.1", True),
        # DNS rebinding: the page's host name resolves to this machine, so Origin and Host match.
        ("evil.example:8080", "http://evil.example:8080", "127.0.0.1", False),
        ("evil.example", None, "127.0.0.1", False),
        ("localhost.evil.example", None, "127.0.0.1", False),
        ("localhost@evil.example", None, "127.0.0.1", False),
        ("[::1", None, "127.0.0.1", False),
        ("", None, "127.0.0.1", False),
        (None, None, "127.0.0.1", False),
        # Another page on this machine, or another port.
        ("localhost:8080", "http://localhost:3000", "127.0.0.1", False),
        ("localhost:8080", "https://evil.example", "127.0.0.1", False),
        ("localhost:8080", "null", "127.0.0.1", False),
        ("localhost:8080", "http://[::1", "127.0.0.1", False),
        # A remote machine.
        ("localhost:8080", None, "192.0.2.1", False),
        ("localhost:8080", None, None, False),
    ],
)
def test_check_local(host: str | None, origin: str | None, remote: str | None, allowed: bool) -> None:
    if allowed:
        check_local(host, origin, remote)
    else:
        with pytest.raises(NotAuthorized):
            check_local(host, origin, remote)


@pytest.mark.parametrize(
    ("host", "development", "addresses"),
    [
        ("", True, LOOPBACK),
        ("localhost", True, LOOPBACK),
        ("127.0.0.1", True, ("127.0.0.1",)),
        ("::1", True, ("::1",)),
        ("", False, ALL_ADDRESSES),
        ("192.0.2.1", False, ("192.0.2.1",)),
        ("0.0.0.0", True, None),
        ("::", True, None),
        ("192.0.2.1", True, None),
        ("example.org", True, None),
    ],
)
def test_listen_addresses(host: str, development: bool, addresses: tuple[str, ...] | None) -> None:
    settings = Settings(host=host)
    if addresses is None:
        with pytest.raises(ConfigurationError, match="Configure a key"):
            listen_addresses(settings, development=development)
    else:
        assert listen_addresses(settings, development=development) == addresses


async def ask(server: Server, **body: object) -> dict[str, str]:
    status, answer = await server.ask("POST", "/api/dev/token", json=body)
    assert status == 200, answer
    assert isinstance(answer, dict)
    return answer


async def test_tokens() -> None:
    async with running(development=Development()) as server:
        assert (await server.ask("GET", "/api/dev"))[1]["dev"] is True
        first = await ask(server, room="demo")
        claims = server.verifier.verify(first["token"], time.time())
        assert claims.identity == first["identity"] != ""
        assert claims.video.may_join("demo")
        assert claims.video.room_admin
        named = await ask(server, room="demo", identity="ada", name="Ada", admin=False)
        claims = server.verifier.verify(named["token"], time.time())
        assert (claims.identity, claims.name, claims.video.room_admin) == ("ada", "Ada", False)
        server.join("demo", "boss", admin=True)
        later = await ask(server, room="demo")
        assert not server.verifier.verify(later["token"], time.time()).video.room_admin
        listed = await server.ask("GET", "/api/v1/rooms", token=(await ask(server, room="x", admin=True))["token"])
        assert listed[0] == 200
        whole = await ask(server, room="", admin=True)
        claims = server.verifier.verify(whole["token"], time.time())
        assert claims.video.room_create
        assert not claims.video.may_join("")


async def test_remote_clients_get_no_token() -> None:
    async with running(development=Development()) as server:
        own = f"http://127.0.0.1:{server.port}"
        for headers, status in (
            ({"Host": f"evil.example:{server.port}"}, 403),
            ({"Origin": "https://evil.example"}, 403),
            ({"Origin": f"http://localhost:{server.port}"}, 403),
            ({"Origin": own}, 200),
        ):
            got, _ = await server.ask("POST", "/api/dev/token", json={"room": "r"}, headers=headers)
            assert got == status, headers
        # An HTML form of another page could send this without a preflight request.
        got, _ = await server.ask("POST", "/api/dev/token", data='{"room":"r"}', headers={"Content-Type": "text/plain"})
        assert got == 415


async def test_no_token_route_outside_development_mode() -> None:
    async with running() as server:
        assert await server.ask("GET", "/api/dev") == (200, {"dev": False, "message": ""})
        assert (await server.ask("POST", "/api/dev/token", json={"room": "r"}))[0] == 404


def test_each_run_has_a_new_secret() -> None:
    first, second = Development(), Development()
    assert first.secret != second.secret
    assert len(first.secret) >= 32


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("X-Forwarded-For", "198.51.100.1", 403),
        ("X-Forwarded-For", "127.0.0.1, 198.51.100.1", 403),
        ("Forwarded", "for=198.51.100.1", 403),
        ("X-Forwarded-For", "127.0.0.1", 200),
    ],
)
async def test_remote_client_behind_a_local_proxy_gets_no_token(header: str, value: str, status: int) -> None:
    """Many proxies send the upstream's name as Host, so a loopback Host alone is no proof."""
    async with running(development=Development()) as server:
        answer = await server.ask("POST", "/api/dev/token", json={"room": "hall"}, headers={header: value})
        assert answer[0] == status
