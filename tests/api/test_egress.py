"""Recording files over the admin API: only listed files, only with the grant, whole or in ranges."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from sfu.app import Server
from sfu.auth.grants import VideoGrants
from sfu.auth.tokens import mint
from sfu.config import load

SECRET = "a secret of the tests that is long enough"
CONTENT = bytes(range(256)) * 40


def token(**grants: Any) -> str:
    return mint(
        "key", SECRET, identity="operator", video=VideoGrants(**grants), now=time.time(), token_id="T", lifetime=60.0
    )


RECORDER = {"room": "hall", "room_record": True}


@pytest_asyncio.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """A server with recordings of two rooms; one recording of `hall` is in progress."""
    for name, room, ended in (("hall-1", "hall", True), ("hall-2", "hall", False), ("other-1", "other", True)):
        directory = tmp_path / "recordings" / name
        directory.mkdir(parents=True)
        manifest = f'{{"room":"{room}","egress_id":"EG_1","started_at":1.0,"ended":{str(ended).lower()}}}'
        (directory / "about.json").write_text(manifest)
        (directory / "recording.mp4").write_bytes(CONTENT)
        (directory / "subdirectory").mkdir()
        (directory / "leak.mp4").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "recordings" / "secret").write_text("secret")
    flags = {
        "http.host": "127.0.0.1",
        "http.port": "0",
        "rtc.udp_port": "0",
        "rtc.bind": '["127.0.0.1"]',
        "auth.keys": f'{{key: "{SECRET}"}}',
        "outputs.hls.directory": str(tmp_path / "hls"),
        "egress.directory": str(tmp_path / "recordings"),
    }
    server = Server(load(flags=flags.items()))
    await server.open()
    yield f"{server.url}/api/v1/rooms"
    await server.close()


async def get(url: str, path: str, given: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    async with aiohttp.ClientSession() as client:
        sent = {"Authorization": f"Bearer {given}"} | headers
        async with client.get(URL(f"{url}{path}", encoded=True), headers=sent) as answer:
            return answer.status, await answer.read(), {name.lower(): value for name, value in answer.headers.items()}


@pytest.mark.parametrize(
    ("wanted", "status", "expected"),
    [
        ("", 200, CONTENT),
        ("bytes=10-19", 206, CONTENT[10:20]),
        ("bytes=-5", 206, CONTENT[-5:]),
        ("bytes=10200-", 206, CONTENT[10200:]),
        ("bytes=99999-", 416, b""),
    ],
)
async def test_whole_and_in_ranges(url: str, wanted: str, status: int, expected: bytes) -> None:
    headers = {"Range": wanted} if wanted else {}
    found, body, told = await get(url, "/hall/recordings/hall-1/recording.mp4", token(**RECORDER), **headers)
    assert found == status
    assert body == expected
    if status != 416:
        assert told["content-disposition"] == 'attachment; filename="recording.mp4"'
        assert told["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    ("path", "grants", "status"),
    [
        ("/hall/recordings/hall-1/recording.mp4", {"room": "hall", "room_admin": True}, 403),
        ("/hall/recordings/hall-1/recording.mp4", {"room": "hall", "room_egress": True}, 403),
        ("/hall/recordings/hall-1/recording.mp4", {"room": "other", "room_record": True}, 404),
        ("/other/recordings/other-1/recording.mp4", RECORDER, 404),
        ("/hall/recordings/other-1/recording.mp4", RECORDER, 404),
        ("/hall/recordings/hall-2/recording.mp4", RECORDER, 409),
        ("/hall/recordings/hall-1/about.json", RECORDER, 404),
        ("/hall/recordings/hall-1/mix", RECORDER, 404),
        ("/hall/recordings/hall-1/leak.mp4", RECORDER, 404),
        ("/hall/recordings/hall-1/..%2Fsecret", RECORDER, 404),
        ("/hall/recordings/hall-1/..%2F..%2Fsecret", RECORDER, 404),
        ("/hall/recordings/..%2Fother-1/recording.mp4", RECORDER, 404),
        ("/hall/recordings/..%2F..%2Fsecret/x", RECORDER, 404),
        ("/hall/recordings/./hall-1%2Frecording.mp4", RECORDER, 404),
        ("/hall/recordings/hall-1/%00recording.mp4", RECORDER, 404),
    ],
)
async def test_inaccessible_files(url: str, path: str, grants: dict[str, object], status: int) -> None:
    found, body, _ = await get(url, path, token(**grants))
    assert found == status
    assert b"secret" not in body


async def test_unicode_names_are_listed_and_downloaded(url: str, tmp_path: Path) -> None:
    directory = tmp_path / "recordings" / "会議室-20261127-184500-abcdef"
    directory.mkdir()
    (directory / "about.json").write_text('{"room":"会議室","egress_id":"EG_1","started_at":1.0,"ended":true}')
    (directory / "Ève-camera.webm").write_bytes(CONTENT)
    given = token(room="会議室", room_record=True)
    room = quote("会議室")
    status, body, _ = await get(url, f"/{room}/recordings", given)
    (listed,) = json.loads(body)["recordings"]
    assert (status, listed["name"], listed["files"][0]["name"]) == (200, directory.name, "Ève-camera.webm")
    status, body, told = await get(url, f"/{room}/recordings/{quote(directory.name)}/{quote('Ève-camera.webm')}", given)
    assert (status, body) == (200, CONTENT)
    assert (
        told["content-disposition"] == "attachment; filename=\"_ve-camera.webm\"; filename*=UTF-8''%C3%88ve-camera.webm"
    )


async def test_many_simultaneous_downloads(url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """More simultaneous downloads than the disk queue has places; none is aborted."""
    content = CONTENT * 200
    (tmp_path / "recordings" / "hall-1" / "recording.mp4").write_bytes(content)
    headers = {"Authorization": f"Bearer {token(**RECORDER)}"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:

        async def download() -> tuple[int, int]:
            async with client.get(f"{url}/hall/recordings/hall-1/recording.mp4", headers=headers) as answer:
                return answer.status, len(await answer.read())

        answers = await asyncio.gather(*[download() for _ in range(150)])
    assert set(answers) == {(200, len(content))}
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
