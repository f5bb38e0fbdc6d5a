"""A disk that does not answer for five seconds, below everything that a server stores: meetings and live streams continue, and
recordings are whole afterwards.
"""

import asyncio
import time
from pathlib import Path

import aiohttp
import m3u8
import pytest

from tests.attacks.test_outages import api, happens, length, opened
from tests.support.stoppable_disk import possible, stoppable_disk

pytestmark = pytest.mark.asyncio(loop_scope="session")

BLOCKED = 5.0
BEFORE = 10.0
"""Seconds of live stream before: more than stay in memory."""


@pytest.mark.skipif(not possible(), reason="FUSE needs root and /dev/fuse")
async def test_a_disk_that_blocks_for_five_seconds(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    with stoppable_disk(tmp_path) as disk:
        settings = (
            "outputs.renditions=[320x180@200]",
            f"outputs.hls.directory={disk.directory}/hls",
            f"egress.directory={disk.directory}/recordings",
            f"rtc.packet_log={disk.directory}/packets.log",
            "outputs.hls.public=['*']",
            "outputs.hls.memory=6",
        )
        async with opened(*settings) as field:
            live = f"{field.url}/hls/field/"

            async def get(path: str) -> bytes:
                async with http.get(live + path) as answer:
                    return await answer.read() if answer.status == 200 else b""

            async def newest() -> m3u8.M3U8 | None:
                index = m3u8.loads((await get("index.m3u8")).decode())
                return m3u8.loads((await get(index.playlists[0].uri)).decode()) if index.playlists else None

            began = time.monotonic()
            await api(field, http, "PUT", "/egress", {"live": True, "recording": True})
            await api(field, http, "PUT", "/egress/tracks", {})
            index = m3u8.loads("")

            async def enough() -> bool:
                nonlocal index
                index = m3u8.loads((await get("index.m3u8")).decode())
                found = await newest() if index.playlists else None
                return found is not None and sum(one.duration or 0 for one in found.segments if one.uri) > BEFORE

            await happens(enough, BEFORE + 20)
            stream_id = index.playlists[0].uri.partition("/")[0]
            old = next(one.uri for one in (await newest()).segments if one.uri)  # type: ignore[union-attr]  # fails here if there is no playlist
            waiting: list[asyncio.Task[object]] = []

            async def block() -> None:
                waiting.clear()
                before = await newest()
                assert before is not None
                disk.stop()
                try:
                    assert disk.blocks()
                    until = time.monotonic() + BLOCKED
                    # Who asks for what only the disk has waits for it.
                    waiting.append(asyncio.create_task(get(f"{stream_id}/{old}")))
                    waiting.append(asyncio.create_task(api(field, http, "GET", "/recordings")))
                    waiting.append(asyncio.create_task(api(field, http, "PUT", "/egress", {"layout": "single"})))
                    await asyncio.sleep(until - time.monotonic())
                    during = await newest()
                    assert during is not None
                    grown = len(during.segments) + during.media_sequence - len(before.segments) - before.media_sequence
                    assert grown >= BLOCKED - 1.5, "the live stream stood still"
                finally:
                    disk.go_on()
                segment, listed, _ = await asyncio.wait_for(asyncio.gather(*waiting), 20)
                assert segment
                assert len(listed["recordings"]) == 2  # type: ignore[index]  # JSON of the API

            grown = await field.withstands(block, lines=12, memory=80_000_000)
            assert not grown.get("sfu_egress_worker_restarts_total")
            await asyncio.sleep(2)
            lasted = time.monotonic() - began
            await api(field, http, "DELETE", "/egress")
            await api(field, http, "DELETE", "/egress/tracks")

            async def finished() -> bool:
                listed = (await api(field, http, "GET", "/recordings"))["recordings"]
                return not any(one["recording"] for one in listed)

            await happens(finished, 40)
            (made,) = (disk.directory / "recordings").rglob("*.mp4")
            tracks = list((disk.directory / "recordings").rglob("*.webm"))
            assert len(tracks) >= 2
            for path in (made, *tracks):
                assert length(path) > lasted - 4.0, (path.name, length(path), lasted)
