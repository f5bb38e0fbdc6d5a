"""Cameras that the server pulls over RTSP, against GStreamer's RTSP server."""

import asyncio
import logging
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sfu.errors import BadRequest
from sfu.ingest.rtsp_relay import RedirectFilter
from sfu.ingest.rtsp_url import parse
from tests.ingest.support import ROOM, IngestServer, Received, ingest_server

PYTHON = "/usr/bin/python3"
PROBE = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"


@pytest.fixture(scope="module")
def rtsp_server() -> None:
    try:
        subprocess.run([PYTHON, "-c", PROBE], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("gir1.2-gst-rtsp-server-1.0 is missing")


class Cameras:
    """The RTSP server. May be ended and started again on the same port."""

    port = locked_port = "0"
    process: asyncio.subprocess.Process

    async def start(self) -> None:
        program = str(Path(__file__).with_name("rtsp_cameras.py"))
        self.process = await asyncio.create_subprocess_exec(
            PYTHON, program, self.port, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        assert self.process.stdout is not None
        self.port, self.locked_port = (await self.process.stdout.readline()).decode().split()

    async def end(self) -> None:
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def cameras() -> AsyncIterator[Cameras]:
    one = Cameras()
    await one.start()
    try:
        yield one
    finally:
        await one.end()


async def pull(one: IngestServer, url: str) -> dict[str, Any]:
    created = await one.ask("POST", f"/rooms/{ROOM}/ingest", json={"identity": "door", "name": "Door", "url": url})
    assert created["key"] == ""
    return dict(created["ingest"])


async def status_with(one: IngestServer, state: str, reason: str = "") -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while True:
        status = await one.status()
        if status["state"] == state and reason in status["problem"]:
            return status
        assert time.monotonic() < deadline, status
        await asyncio.sleep(0.1)


@pytest.mark.usefixtures("rtsp_server")
async def test_an_h264_camera_passes_and_returns_after_an_outage(tmp_path: Path) -> None:
    async with cameras() as camera, ingest_server(tmp_path, ingest__private="true") as one:
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
@pytest.mark.parametrize("codec", ["mjpeg", "hevc", "vp8"])
async def test_other_codecs_are_transcoded(tmp_path: Path, codec: str) -> None:
    async with cameras() as camera, ingest_server(tmp_path, ingest__private="true") as one:
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
    async with cameras() as camera, ingest_server(tmp_path, ingest__private="true") as one:
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
