"""Cameras that the server pulls over RTSP, against GStreamer's RTSP server."""

import asyncio
import logging
import stat
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sfu.errors import BadRequest, ConfigurationError
from sfu.ingest.pull_store import PullStore, StoredPull
from sfu.ingest.rtsp_relay import RedirectFilter, tls_context
from sfu.ingest.rtsp_url import parse
from tests.ingest.support import ROOM, IngestServer, Received, ingest_server
from tests.support.certificate import self_signed

PYTHON = "/usr/bin/python3"
PROBE = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gio, GstRtspServer; "
    "assert Gio.TlsBackend.get_default().supports_tls()"
)


@pytest.fixture(scope="module")
def rtsp_server() -> None:
    try:
        subprocess.run([PYTHON, "-c", PROBE], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("gir1.2-gst-rtsp-server-1.0 or glib-networking is missing")


class Cameras:
    """The RTSP server. May be ended and started again on the same port."""

    port = locked_port = tls_port = "0"
    process: asyncio.subprocess.Process

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def start(self) -> None:
        program = str(Path(__file__).with_name("rtsp_cameras.py"))
        self.process = await asyncio.create_subprocess_exec(
            PYTHON,
            program,
            self.port,
            str(self._folder),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        self.port, self.locked_port, self.tls_port = (await self.process.stdout.readline()).decode().split()

    async def end(self) -> None:
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def cameras(folder: Path) -> AsyncIterator[Cameras]:
    one = Cameras(folder)
    await one.start()
    try:
        yield one
    finally:
        await one.end()


async def make_clip(path: Path) -> None:
    """A minute of MPEG-4 part 2."""
    source = ("-f", "lavfi", "-i", "testsrc2=s=320x180:r=15:d=60")
    process = await asyncio.create_subprocess_exec(
        *("ffmpeg", "-loglevel", "error", *source, "-c:v", "mpeg4", "-g", "15", str(path)),
        stdin=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0


async def pull(one: IngestServer, url: str) -> dict[str, Any]:
    created = await one.ask("POST", f"/rooms/{ROOM}/ingest", json={"identity": "door", "name": "Door", "url": url})
    assert created["key"] == ""
    return dict(created["ingest"])


async def status_with(one: IngestServer, state: str, reason: str = "") -> dict[str, Any]:
    (status,) = await states_with(one, state, reason)
    return status


async def states_with(one: IngestServer, state: str, reason: str = "") -> list[dict[str, Any]]:
    """All ingests, once the first one is in this state."""
    deadline = time.monotonic() + 60
    while True:
        found: list[dict[str, Any]] = (await one.ask("GET", "/ingest"))["ingests"]
        if found[0]["state"] == state and reason in found[0]["problem"]:
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.1)


@pytest.mark.usefixtures("rtsp_server")
async def test_an_h264_camera_passes_and_returns_after_an_outage(tmp_path: Path) -> None:
    async with cameras(tmp_path) as camera, ingest_server(tmp_path, ingest__private="true") as one:
        created = await pull(one, f"rtsp://127.0.0.1:{camera.port}/h264")
        assert created["url"] == f"rtsp://127.0.0.1:{camera.port}/…"
        viewer = await one.watch()
        received = Received(viewer)

        def both() -> bool:
            received.take()
            return len(received.video) > 20 and len(received.audio) > 20

        await viewer.until(both, 60)
        status = await status_with(one, "live")
        assert (status["codec"], status["problem"], status["width"], status["height"]) == ("H264", "", 320, 180)
        assert status["received_bytes"] > 0
        await camera.end()
        await status_with(one, "error", "The camera")
        received.video.clear()
        received.audio.clear()
        await camera.start()
        await status_with(one, "live")
        await viewer.until(both, 60)
        await one.ask("DELETE", f"/rooms/{ROOM}/ingest/{created['id']}")
        assert (await one.ask("GET", "/ingest"))["ingests"] == []
        assert not one.server.ingests._streams
        await viewer.close()


@pytest.mark.usefixtures("rtsp_server")
@pytest.mark.parametrize("codec", ["mjpeg", "hevc", "vp8", "mpeg4"])
async def test_other_codecs_are_transcoded(tmp_path: Path, codec: str) -> None:
    if codec == "mpeg4":
        await make_clip(tmp_path / "clip.mp4")
    async with cameras(tmp_path) as camera, ingest_server(tmp_path, ingest__private="true") as one:
        await pull(one, f"rtsp://127.0.0.1:{camera.port}/{codec}")
        viewer = await one.watch()
        received = Received(viewer)

        def both() -> bool:
            received.take()
            return len(received.video) > 10 and len(received.audio) > 20

        await viewer.until(both, 60)
        status = await status_with(one, "live", "transcodes the video")
        assert status["codec"] == codec.upper()
        await viewer.close()


@pytest.mark.usefixtures("rtsp_server")
async def test_credentials_work_and_appear_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with cameras(tmp_path) as camera, ingest_server(tmp_path, ingest__private="true") as one:
        wrong = await pull(one, f"rtsp://admin:mistake@127.0.0.1:{camera.locked_port}/h264?token=hidden")
        await status_with(one, "error", "refused the user name or the password")
        await one.ask("DELETE", f"/rooms/{ROOM}/ingest/{wrong['id']}")
        right = await pull(one, f"rtsp://admin:s3cret%2Fpass@127.0.0.1:{camera.locked_port}/h264")
        assert right["url"] == f"rtsp://***@127.0.0.1:{camera.locked_port}/…"
        await status_with(one, "live")
        (running,) = one.server.ingests._pulls.values()
        process = Path("/proc") / str(running.pid)
        seen = (process / "cmdline").read_text() + (process / "environ").read_text() + str(await one.status())
    output = capfd.readouterr()
    seen += "".join([str(record.__dict__) for record in caplog.records]) + output.out + output.err
    assert not [word for word in ("mistake", "hidden", "s3cret") if word in seen]


@pytest.mark.usefixtures("rtsp_server")
async def test_a_restart_resumes_a_camera_over_tls(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    certificate, _ = self_signed(tmp_path)
    pulls_file = tmp_path / "pulls.json"
    settings = {"ingest__private": "true", "ingest__rtsp_ca": str(certificate), "ingest__pulls_file": str(pulls_file)}
    async with cameras(tmp_path) as camera:
        url = f"rtsps://admin:s3cret@localhost:{camera.tls_port}/h264?token=hidden"
        async with ingest_server(tmp_path, **settings) as one:
            created = await pull(one, url)
            assert created["url"] == f"rtsps://***@localhost:{camera.tls_port}/…"
            await status_with(one, "live")
        assert stat.S_IMODE(pulls_file.stat().st_mode) == 0o600
        assert not (tmp_path / "keys.json").exists() or created["id"] not in (tmp_path / "keys.json").read_text()
        async with ingest_server(tmp_path, **settings) as one:
            again = await status_with(one, "live")
            fields = ("id", "room", "identity", "name", "created_at", "url")
            assert [again[name] for name in fields] == [created[name] for name in fields]
            viewer = await one.watch()
            received = Received(viewer)

            def pictures() -> bool:
                received.take()
                return len(received.video) > 20

            await viewer.until(pictures, 60)
            await viewer.close()
            (participant,) = (each for each in one.server.rooms.find(ROOM).members if each.kind == "ingress")
            assert participant.attributes["ingest_protocol"] == "rtsp"
            await one.ask("DELETE", f"/rooms/{ROOM}/ingest/{created['id']}")
        async with ingest_server(tmp_path, **settings) as one:
            assert (await one.ask("GET", "/ingest"))["ingests"] == []
            assert "s3cret" not in pulls_file.read_text()
            wrong = await pull(one, url.replace("localhost", "127.0.0.1"))
            assert "not valid for '127.0.0.1'" in (await status_with(one, "error"))["problem"]
            await one.ask("DELETE", f"/rooms/{ROOM}/ingest/{wrong['id']}")
            await pull(one, f"rtsps://localhost:{camera.port}/h264")
            await status_with(one, "error", "TLS handshake")
        del settings["ingest__rtsp_ca"]
        pulls_file.unlink()
        async with ingest_server(tmp_path, **settings) as one:
            await pull(one, url)
            await status_with(one, "error", "certificate is not valid: self-signed certificate")
    seen = "".join([str(record.__dict__) for record in caplog.records])
    assert not [word for word in ("hidden", "s3cret") if word in seen]


async def test_more_cameras_than_the_server_takes_are_kept(tmp_path: Path) -> None:
    store = PullStore(tmp_path / "pulls.json")
    for number in range(2):
        store.add(StoredPull(f"IN_{number}", ROOM, f"door{number}", "", float(number), "rtsp://10.0.0.1/h264"))
    store.save()
    async with ingest_server(tmp_path, ingest__max_streams="1", ingest__pulls_file=str(tmp_path / "pulls.json")) as one:
        found = await states_with(one, "error", "private")
        assert (found[1]["state"], found[1]["problem"]) == ("error", "This server cannot take another camera.")
        await one.ask("DELETE", f"/rooms/{ROOM}/ingest/IN_1")
    assert [each.id for each in PullStore(tmp_path / "pulls.json").list()] == ["IN_0"]


def test_files_that_cannot_be_used_are_errors(tmp_path: Path) -> None:
    (tmp_path / "pulls.json").write_text('{"pulls": [{"url": "rtsp://admin:s3cret@host/"}]}')
    with pytest.raises(ConfigurationError, match="is not a file of cameras") as caught:
        PullStore(tmp_path / "pulls.json")
    assert "s3cret" not in str(caught.value)
    (tmp_path / "ca.pem").write_text("-")
    with pytest.raises(ConfigurationError, match="not a PEM file"):
        tls_context(str(tmp_path / "ca.pem"))
    with pytest.raises(ConfigurationError, match="No such file"):
        tls_context(str(tmp_path / "missing.pem"))


async def test_private_destinations_and_limits(tmp_path: Path) -> None:
    async with ingest_server(tmp_path, ingest__max_streams="1") as one:
        ingests = one.server.ingests
        for host in ("127.0.0.1", "10.0.0.1", "[::1]", "169.254.169.254", "[::ffff:10.0.0.1]"):
            with pytest.raises(BadRequest, match="private"):
                ingests.create_pull(ROOM, "door", "", f"rtsp://{host}/")
        await pull(one, "rtsp://localhost/h264")
        await status_with(one, "error", "private")
        with pytest.raises(AssertionError, match="another camera"):
            await pull(one, "rtsp://localhost/h264")


@pytest.mark.parametrize(
    "url", ["http://host/", "rtsp://", "rtsp://host:0/", "rtsp://host/a b", "rtsp://h/\r\nX: y", "rtsp://h:x/"]
)
def test_invalid_addresses(url: str) -> None:
    with pytest.raises(BadRequest):
        parse(url, private=True)


@pytest.mark.parametrize(
    "answer",
    [b"RTSP/1.0 302 ", b"R\rTSP/1.0  +302\n", b"RTSP/x \x0b302\n", b"$\0\0\1.RTSP/1.0 4294967598\n"],
)
def test_redirects_are_refused(answer: bytes) -> None:
    whole, parts = RedirectFilter(), RedirectFilter()
    whole.check(b"RTSP/1.0 401 Unauthorized\r\nServer: RTSP/1.0\r\nDate: 1\r\n\r\nRTSP/1.0 200 OK\r\n\r\n")
    with pytest.raises(BadRequest, match="redirects"):
        whole.check(answer)
    for byte in answer[:-1]:
        parts.check(bytes([byte]))
    with pytest.raises(BadRequest, match="redirects"):
        parts.check(answer[-1:])
