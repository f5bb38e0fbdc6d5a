"""sfu.transport.turn_prober against real coturns."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from sfu.auth.turn import Credentials, credentials
from sfu.auth.turn_health import TurnState, parse_url, usable_urls
from sfu.transport.turn_prober import AllocationRefused, TurnProber, allocate
from tests.support.certificate import self_signed
from tests.support.coturn import coturn, missing

pytestmark = pytest.mark.skipif(bool(missing), reason=missing or "-")
SECRET = "a-secret-of-coturn"
FIRST, SECOND = "127.0.0.13", "127.0.0.14"
OTHER_PORT, OTHER_TLS_PORT = 13478, 15349
URLS = (f"turn:{FIRST}", f"turn:{SECOND}?transport=tcp")


def made(secret: str = SECRET) -> Credentials:
    return credentials(secret, "probe", time.time(), 600)


@asynccontextmanager
async def probing(
    urls: tuple[str, ...], secret: str = SECRET
) -> AsyncIterator[tuple[TurnProber, list[frozenset[str]]]]:
    changes: list[frozenset[str]] = []
    prober = TurnProber(urls, lambda: made(secret), changes.append, 3600)
    task = asyncio.create_task(prober.run())
    try:
        yield prober, changes
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # the prober has no event for it
            await asyncio.sleep(0.05)


async def test_a_killed_server_fails_and_its_relay_is_reported(tmp_path: Path) -> None:
    async with (
        coturn(tmp_path, FIRST, SECRET) as first,
        coturn(tmp_path, SECOND, SECRET),
        probing(URLS) as (prober, changes),
    ):
        await until(lambda: all(status.probes >= 2 and status.latency for status in prober.statuses()))
        await until(lambda: set(prober.relayed.values()) == {FIRST, SECOND})
        assert set(prober.states().values()) == {TurnState.HEALTHY}
        await first.kill()
        await until(lambda: prober.states()[URLS[0]] is TurnState.FAILED)
        assert usable_urls(URLS, prober.states()) == [URLS[1]]
        # On a busy machine, probes can be late before and after the kill.
        await until(lambda: frozenset({FIRST}) in changes)
        (failed, healthy) = prober.statuses()
        assert "were lost" in failed.reason
        assert healthy.reason == ""


async def test_a_wrong_secret_fails_a_server_that_answers(tmp_path: Path) -> None:
    async with coturn(tmp_path, FIRST, SECRET), probing(URLS[:1], "another") as (prober, _):
        await until(lambda: prober.states()[URLS[0]] is TurnState.FAILED)
        (status,) = prober.statuses()
        assert status.reason.startswith("it refuses an allocation: 401")


async def test_a_service_that_does_not_speak_stun_fails() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while await reader.read(100):
                writer.write(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1")
    url = f"turn:127.0.0.1:{server.sockets[0].getsockname()[1]}?transport=tcp"
    async with server, probing((url,)) as (prober, _):
        await until(lambda: prober.states()[url] is TurnState.FAILED)
        assert "does not speak STUN" in prober.statuses()[0].reason


async def test_allocations_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = self_signed(tmp_path)
    options = (f"--tls-listening-port={OTHER_TLS_PORT}", f"--cert={certificate}", f"--pkey={key}")
    server = parse_url(f"turns:localhost:{OTHER_TLS_PORT}")
    async with coturn(tmp_path, "127.0.0.1", SECRET, options, OTHER_PORT):
        with pytest.raises(ssl.SSLCertVerificationError):
            await allocate(server, made())
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert await allocate(server, made()) == "127.0.0.1"
        with pytest.raises(AllocationRefused, match="401"):
            await allocate(server, made("another"))


async def test_credentials_are_refreshed() -> None:
    changes: list[frozenset[str]] = []
    prober = TurnProber(("turn:127.0.0.1:9",), made, changes.append, 0.05)
    task = asyncio.create_task(prober.run())
    await until(lambda: len(changes) >= 2)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_without_turn_servers_it_ends() -> None:
    await TurnProber(("stun:a.example",), made, lambda _: None, 1).run()
