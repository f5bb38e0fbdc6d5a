"""TLS versions, renewal and unusable certificates, tested with raw sockets."""

import asyncio
import ssl
from pathlib import Path

import aiohttp
import pytest

from sfu.api.settings import Settings
from sfu.api.tls import TlsContext
from sfu.errors import ConfigurationError
from tests.api.support import running
from tests.api.test_http_protocol import seconds_until_closed
from tests.support.certificate import self_signed


def certificate(folder: Path, name: str) -> tuple[str, str]:
    certificate, key = self_signed(folder, host=name)
    return str(certificate), str(key)


async def spoken(port: int, client: ssl.SSLContext, name: str) -> tuple[str | None, str]:
    """TLS version and common name of the certificate."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname=name)
    tls = writer.get_extra_info("ssl_object")
    version, subject = tls.version(), tls.getpeercert()["subject"][0][0][1]
    writer.close()
    await writer.wait_closed()
    return version, subject


async def test_tls_and_renewal(tmp_path: Path) -> None:
    paths = certificate(tmp_path, "localhost")
    tls = TlsContext(*paths)
    settings = Settings(port=0, tls_certificate=paths[0], tls_key=paths[1])
    async with running(settings, tls=tls) as server:
        trusting = ssl.create_default_context(cafile=paths[0])
        assert await spoken(server.port, trusting, "localhost") == ("TLSv1.3", "localhost")
        trusting.maximum_version = ssl.TLSVersion.TLSv1_2
        assert await spoken(server.port, trusting, "localhost") == ("TLSv1.2", "localhost")
        async with (
            aiohttp.ClientSession() as client,
            client.get(
                f"https://localhost:{server.port}/livez", ssl=ssl.create_default_context(cafile=paths[0])
            ) as answer,
        ):
            assert answer.status == 200
            assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"

        certificate(tmp_path, "renewed")
        tls.reload()
        renewed = ssl.create_default_context(cafile=paths[0])
        assert (await spoken(server.port, renewed, "renewed"))[1] == "renewed"
        Path(paths[1]).write_text("broken")  # noqa: ASYNC240  # a few bytes
        with pytest.raises(ConfigurationError, match="cannot be used together"):
            tls.reload()
        await tls.renew_soon()
        assert (await spoken(server.port, renewed, "renewed"))[1] == "renewed"
        certificate(tmp_path, "again")
        await tls.renew_soon()
        again = ssl.create_default_context(cafile=paths[0])
        assert (await spoken(server.port, again, "again"))[1] == "again"


async def test_old_tls_is_refused(tmp_path: Path) -> None:
    paths = certificate(tmp_path, "localhost")
    async with running(Settings(port=0, tls_certificate=paths[0], tls_key=paths[1]), tls=TlsContext(*paths)) as server:
        old = ssl.create_default_context(cafile=paths[0])
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="deprecated"):
            old.minimum_version = ssl.TLSVersion.TLSv1_1
        with pytest.warns(DeprecationWarning, match="deprecated"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await spoken(server.port, old, "localhost")


async def test_a_silent_tls_handshake_is_cut_off(tmp_path: Path) -> None:
    paths = certificate(tmp_path, "localhost")
    settings = Settings(port=0, tls_certificate=paths[0], tls_key=paths[1], request_header_timeout=0.3)
    async with running(settings, tls=TlsContext(*paths)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert 0.2 < await seconds_until_closed(reader) < 2
        writer.close()


@pytest.mark.parametrize("broken", ["missing", "garbage", "other key"])
def test_unusable_certificates(tmp_path: Path, broken: str) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    chain, key = certificate(first, "localhost")
    if broken == "missing":
        key = str(tmp_path / "none")
    elif broken == "garbage":
        Path(key).write_text("x")
    else:
        key = certificate(second, "localhost")[1]
    with pytest.raises(ConfigurationError, match=r"http\.tls_"):
        TlsContext(chain, key)
