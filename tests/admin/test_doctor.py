"""Findings of `sfu doctor` for healthy and broken servers, files, addresses and kernel settings."""

import asyncio
import io
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sfu.admin import doctor
from sfu.admin.doctor import Finding, Verdict
from sfu.auth.turn import Settings as TurnSettings
from sfu.config import Settings
from sfu.transport.settings import Settings as TransportSettings
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.certificate import self_signed
from tests.support.ports import free_port
from tests.web.server import KEYS, serve

SECRET = "a-turn-secret-of-the-tests"


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ([("203.0.113.7", 7882)], Verdict.WARNING),
        ([("8.8.8.8", 7882), ("10.0.0.1", 7882)], Verdict.OK),
        ([("2600::1", 7882)], Verdict.OK),
        ([("192.168.0.2", 7882)], Verdict.WARNING),
        ([("127.0.0.1", 7882), ("fe80::1", 7882)], Verdict.PROBLEM),
        ([], Verdict.PROBLEM),
    ],
)
def test_addresses(found: list[tuple[str, int]], verdict: Verdict) -> None:
    (finding,) = doctor.addresses(found)
    assert finding.verdict is verdict
    assert bool(finding.advice) == (verdict is not Verdict.OK)


async def test_tcp() -> None:
    transport = WebRtcServer(TransportSettings(udp_port=0, tcp_port=free_port(), bind=("127.0.0.1",)))
    transport.open()

    async def hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready")
        writer.close()

    other = await asyncio.start_server(hello, "127.0.0.1", 0)
    ports = (transport.settings.tcp_port, other.sockets[0].getsockname()[1], free_port())
    found = [("127.0.0.1", 7882), ("127.0.0.1", 9)]
    try:
        findings = [await asyncio.to_thread(lambda: list(doctor.tcp(found, port))) for port in ports]  # noqa: B023
    finally:
        other.close()
        transport.close()
    assert [[each.verdict for each in one] for one in findings] == [
        [Verdict.OK], [Verdict.PROBLEM], [Verdict.PROBLEM],
    ]  # fmt: skip
    assert "another service" in findings[1][0].seen
    assert "does not answer" in findings[2][0].seen


@pytest.mark.parametrize(("days", "verdict"), [(90, Verdict.OK), (5, Verdict.WARNING), (0.0001, Verdict.WARNING)])
def test_certificate(days: float, verdict: Verdict, tmp_path: Path) -> None:
    path, _ = self_signed(tmp_path, days=days)
    (finding,) = doctor.certificate(str(path), time.time())
    assert finding.verdict is verdict
    (finding,) = doctor.certificate(str(path), time.time() + 100 * 86_400)
    assert finding.verdict is Verdict.PROBLEM


def test_missing_or_invalid_certificate(tmp_path: Path) -> None:
    path = tmp_path / "certificate.pem"
    assert [each.verdict for each in doctor.certificate(str(path), 0)] == [Verdict.PROBLEM]
    path.write_text("no PEM")
    assert [each.verdict for each in doctor.certificate(str(path), 0)] == [Verdict.PROBLEM]
    assert [each.verdict for each in doctor.certificate("", 0)] == [Verdict.NOT_CHECKED]


def test_socket_buffers(tmp_path: Path) -> None:
    (tmp_path / "rmem_max").write_text("212992\n")
    few, unknown = doctor.socket_buffers(4_194_304, tmp_path)
    assert (few.verdict, unknown.verdict) == (Verdict.WARNING, Verdict.NOT_CHECKED)
    assert "sysctl -w net.core.rmem_max=4194304" in few.advice
    (tmp_path / "wmem_max").write_text("8000000\n")
    assert [each.verdict for each in doctor.socket_buffers(4_194_304, tmp_path)][1] is Verdict.OK


def test_files_and_clock_and_recordings(tmp_path: Path) -> None:
    assert doctor.files(0).verdict is Verdict.OK
    assert doctor.files(10**9).verdict is Verdict.WARNING
    assert doctor.clock().verdict is not Verdict.PROBLEM
    assert doctor.recordings(str(tmp_path / "not" / "yet")).verdict in (Verdict.OK, Verdict.WARNING)


def test_output_and_exit_status() -> None:
    out = io.StringIO()
    findings = [Finding("http", Verdict.OK, "answers"), Finding("call", Verdict.PROBLEM, "no media", "Open the port.")]
    assert doctor.run(findings, out) == 1
    assert out.getvalue().splitlines()[1:] == ["    problem  call: no media", "             → Open the port."]
    assert doctor.run(findings[:1], out) == 0


def test_unreachable_server() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    findings = doctor.examine(Settings(), url, local=False, insecure=False)
    assert [each.verdict for each in findings] == [Verdict.PROBLEM, Verdict.NOT_CHECKED]


async def examined(*arguments: str, environment: dict[str, str]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sfu", "doctor", *arguments),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_healthy_server_and_unreachable_udp_port(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, days=90)
    settings = {"http.host": "localhost", "http.tls_certificate": certificate, "http.tls_key": key}
    async with serve(tmp_path / "log", {**settings, "rtc.include_loopback": "true"}, KEYS, scheme="https") as server:
        status, said = await examined("--url", server.url, "--insecure", environment=KEYS)
        assert "ok  call: a bot sent" in said
        assert status == 0
        status, said = await examined("--url", server.url, environment=KEYS)
        assert "Browsers reject this certificate too." in said
        assert status == 1
    closed = {**settings, "rtc.announce": f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"}
    async with serve(tmp_path / "log", closed, KEYS, scheme="https") as server:
        status, said = await examined("--url", server.url, "--insecure", environment=KEYS)
        assert "problem  call:" in said
        assert status == 1


async def test_local_server_is_verified_by_its_certificate_file(tmp_path: Path) -> None:
    """The certificate is for a public name, but the URL is localhost: accepted. Another certificate is rejected."""
    certificate, key = self_signed(tmp_path, days=90, host="meet.example.org")
    settings = {"http.tls_certificate": certificate, "http.tls_key": key, "rtc.include_loopback": "true"}
    (tmp_path / "other").mkdir()
    other, _ = self_signed(tmp_path / "other", host="meet.example.org")
    async with serve(tmp_path / "log", settings, KEYS, scheme="https") as server:
        environment = {**KEYS, "SFU_HTTP__PORT": str(server.port), "SFU_HTTP__TLS_KEY": str(key)}
        mine = {**environment, "SFU_HTTP__TLS_CERTIFICATE": str(certificate)}
        status, said = await examined(environment=mine)
        assert "ok  call: a bot sent" in said
        assert status == 0
        for path, expected in ((certificate, 0), (other, 2)):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "sfu", "rooms"),
                env={**os.environ, **environment, "SFU_HTTP__TLS_CERTIFICATE": str(path)},
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            assert await process.wait() == expected


@asynccontextmanager
async def coturn(folder: Path) -> AsyncIterator[int]:
    port = free_port(socket.SOCK_DGRAM)
    process = await asyncio.create_subprocess_exec(
        *("turnserver", "-n", "--log-file=stdout", "--use-auth-secret", f"--static-auth-secret={SECRET}"),
        *("--realm=test", "--listening-ip=127.0.0.1", f"--listening-port={port}", "--no-tls", "--no-dtls", "--no-cli"),
        *("--relay-ip=127.0.0.1", f"--pidfile={folder / 'pid'}", f"--userdb={folder / 'db'}"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    break
                except OSError:
                    await asyncio.sleep(0.1)
            writer.close()
        yield port
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.skipif(shutil.which("turnserver") is None, reason="coturn is not installed")
async def test_turn(tmp_path: Path) -> None:
    async with coturn(tmp_path) as port:
        urls = [f"turn:127.0.0.1:{port}?transport={transport}" for transport in ("udp", "tcp")]
        for secret, verdict in ((SECRET, Verdict.OK), ("another secret", Verdict.PROBLEM)):
            settings = Settings(turn=TurnSettings(urls=tuple(urls), secret=secret))
            findings = await asyncio.to_thread(lambda given: list(doctor.turn(given)), settings)
            assert [each.verdict for each in findings] == [verdict] * 2, json.dumps([each.seen for each in findings])
