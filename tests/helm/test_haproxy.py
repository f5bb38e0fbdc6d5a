"""The HAProxy example in front of a real server and a real coturn: HTTPS, WebSocket and TURN/TLS."""

import asyncio
import secrets
import shutil
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from sfu.auth.turn import credentials
from sfu.auth.turn_health import parse_url
from sfu.transport.turn_prober import allocate
from tests.helm.generated import CHART
from tests.support.certificate import self_signed
from tests.support.coturn import coturn, missing
from tests.support.ports import free_port
from tests.web.server import KEYS, serve, token

EXAMPLE = CHART / "examples" / "haproxy.cfg"
HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
pytestmark = pytest.mark.skipif(HAPROXY is None or bool(missing), reason=missing or "haproxy is not installed")
ATTEMPTS = 3
TURN_HOST, TURN_TLS_PORT = "127.0.0.5", 5350


def configured(folder: Path, certificate: Path, key: Path, node_port: int, ports: dict[int, int]) -> Path:
    """The example with its addresses and its certificate replaced. `ports`: by the port in the example."""
    (folder / "bundle.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
    text = EXAMPLE.read_text().replace("/etc/haproxy/certs/", str(folder / "bundle.pem"))
    for public, port in ports.items():
        assert f"bind :{public}" in text
        text = text.replace(f"bind :{public}", f"bind 127.0.0.1:{port}")
    assert "127.0.0.1:7880" in text
    assert "maxconn 20000" in text
    text = text.replace(
        "maxconn 20000", "maxconn 500"
    )  # twice as many descriptors may exceed the limit of this process
    text = text.replace("127.0.0.1:7880", f"127.0.0.1:{node_port}")
    path = folder / "haproxy.cfg"
    path.write_text(text.replace("127.0.0.1:5350", f"{TURN_HOST}:{TURN_TLS_PORT}"))
    return path


@asynccontextmanager
async def haproxy(folder: Path, certificate: Path, key: Path, node_port: int) -> AsyncIterator[tuple[int, int]]:
    """Runs the example. Its HTTPS port and its TURN/TLS port."""
    assert HAPROXY
    log = folder / "haproxy.log"
    for _ in range(ATTEMPTS):
        ports = {443: free_port(), 7881: free_port(), 5349: free_port()}
        path = configured(folder, certificate, key, node_port, ports)
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(HAPROXY, "-db", "-f", path, stdout=output, stderr=output)
        try:
            if not await listening(process, ports[443]):
                continue  # another process took one of the ports
            yield ports[443], ports[5349]
            return
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
    raise AssertionError(text_of(log))


async def listening(process: asyncio.subprocess.Process, port: int) -> bool:
    """Waits until the port accepts connections; False: the process ended."""
    async with asyncio.timeout(30):
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return True
    return False


def text_of(path: Path) -> str:
    return path.read_text(errors="replace")


async def ready(http: aiohttp.ClientSession, url: str) -> None:
    """Waits until HAProxy has found the server healthy."""
    async with asyncio.timeout(60):
        while True:
            try:
                async with http.get(f"{url}/readyz", timeout=aiohttp.ClientTimeout(5)) as response:
                    if response.status == 200:
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.1)


async def test_https_websocket_and_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = self_signed(tmp_path)
    trusting = ssl.create_default_context(cafile=str(certificate))
    secret = secrets.token_hex(16)
    tls = (f"--tls-listening-port={TURN_TLS_PORT}", f"--cert={certificate}", f"--pkey={key}")
    settings = {"http.trusted_proxies": '["127.0.0.1"]'}
    async with (
        serve(tmp_path / "log", settings, KEYS) as server,
        coturn(tmp_path, TURN_HOST, secret, tls),
        haproxy(tmp_path, certificate, key, server.port) as (https, turns),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as http,
    ):
        url = f"https://localhost:{https}"
        await ready(http, url)
        async with http.get(f"{url}/") as page:
            assert (page.status, page.content_type) == (200, "text/html")
        async with http.get(f"{url}/metrics") as metrics:
            assert metrics.status == 403
        async with http.ws_connect(f"{url}/ws", protocols=("sfu",), origin=url) as socket:
            await socket.send_json({"type": "join", "id": 1, "token": await token("haproxy", "ada")})
            joined = await socket.receive_json(timeout=10)
            assert (joined[0] if isinstance(joined, list) else joined)["type"] == "joined"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        made = credentials(secret, "test", time.time(), 600)
        assert await allocate(parse_url(f"turns:localhost:{turns}"), made) == TURN_HOST
        assert server.errors() == []
