"""Slow request heads, TLS and listen addresses, tested with raw sockets."""

import asyncio
import datetime
import ssl
import time
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sfu.api.server import TlsContext
from sfu.api.settings import Settings
from sfu.errors import ConfigurationError
from tests.api.support import running

QUICK = Settings(port=0, request_header_timeout=0.3, keepalive_timeout=30)
HEAD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def seconds_until_closed(reader: asyncio.StreamReader) -> float:
    started = time.monotonic()
    try:
        async with asyncio.timeout(5):
            while await reader.read(4096):
                pass
    except ConnectionResetError:
        pass
    return time.monotonic() - started


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    for byte in data:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("said", [b"", b"G", HEAD[:-2]])
async def test_an_unfinished_head_is_cut_off(said: bytes) -> None:
    async with running(QUICK) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(said)
        assert 0.2 < await seconds_until_closed(reader) < 2
        assert server.site.connections.refused["late_head"] == 1
        writer.close()


async def test_a_dripping_head_is_cut_off() -> None:
    async with running(QUICK) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        dripping = asyncio.create_task(drip(writer, HEAD))
        assert 0.2 < await seconds_until_closed(reader) < 2
        dripping.cancel()
        writer.close()


async def test_a_second_slow_head_is_cut_off_but_an_idle_connection_is_not() -> None:
    async with running(QUICK) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for _ in range(2):
            writer.write(HEAD)
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(3) == b"ok\n"
            await asyncio.sleep(0.5)
        writer.write(HEAD[:10])
        assert 0.2 < await seconds_until_closed(reader) < 2
        writer.close()


async def test_slow_response_and_open_websocket_have_no_timeout() -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.6)
        return web.Response(text="done")

    async def echo(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    async with running(QUICK, routes=[web.get("/slow", slow), web.get("/ws", echo)]) as server:
        assert await server.ask("GET", "/slow") == (200, "done")
        async with server.client.ws_connect("/ws") as socket:
            await asyncio.sleep(0.6)
            await socket.send_str("a" * 100_000)
            assert len(await socket.receive_str()) == 100_000
        assert server.site.connections.refused["late_head"] == 0


def test_the_same_with_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def scenario() -> None:
        await test_an_unfinished_head_is_cut_off(HEAD[:-2])
        await test_a_second_slow_head_is_cut_off_but_an_idle_connection_is_not()
        await test_slow_response_and_open_websocket_have_no_timeout()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


async def test_many_slow_clients_do_not_keep_others_out() -> None:
    patient = Settings(port=0, request_header_timeout=1.5)  # tolerates a short stall of the test machine
    async with running(patient) as server:
        connections = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(200)]
        for _, writer in connections:
            writer.write(b"GET / HT")
        assert (await server.ask("GET", "/livez"))[0] == 200
        await asyncio.gather(*(seconds_until_closed(reader) for reader, _ in connections))
        for _, writer in connections:
            writer.close()
        assert server.site.connections.refused["late_head"] == 200


async def test_garbage_is_answered_with_400() -> None:
    async with running(QUICK) as server:
        for said in (b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 20_000):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(said)
            async with asyncio.timeout(5):
                assert b" 400 " in await reader.readline()
            writer.close()
        assert (await server.ask("GET", "/livez"))[0] == 200


async def test_port_in_use_is_reported() -> None:
    async with running(QUICK) as server:
        with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1 port {server.port}: .*in use"):
            async with running(Settings(port=server.port)):
                raise AssertionError("two servers on one port")


def certificate(folder: Path, name: str) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(paths[0]), str(paths[1])


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
