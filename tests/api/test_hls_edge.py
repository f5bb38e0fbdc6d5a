"""An edge and an origin with real HTTP between them: what viewers of the edge get, and how often the origin is asked."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp
import pytest
from yarl import URL

from sfu.api import hls_edge
from sfu.outputs.hls.live_stream import LiveStream
from tests.api.support import token
from tests.outputs.hls.test_live_stream import INIT, LADDER, feed, part
from tests.support.hls_nodes import HlsNode, Homes, hls_node

LIVE = "PG_1/720p.m3u8"


@dataclass
class Pair:
    """`edge` serves the viewers, `origin` has the live stream of the room `hall`."""

    homes: Homes
    origin: HlsNode
    edge: HlsNode
    http: aiohttp.ClientSession

    async def get(
        self, path: str, at: HlsNode | None = None, headers: Mapping[str, str] = MappingProxyType({})
    ) -> tuple[int, Any, bytes]:
        url = URL(f"http://127.0.0.1:{(at or self.edge).port}/hls/hall/{path}", encoded=True)
        async with self.http.get(
            url, headers={"Accept-Encoding": "identity", **headers}, allow_redirects=False
        ) as answer:
            return answer.status, answer.headers, await answer.read()

    def begin(self, parts: int, node: HlsNode | None = None) -> LiveStream:
        live_stream = (node or self.origin).live_streams.open("hall", "PG_1", LADDER)
        live_stream.begin(time.time())
        for name in live_stream.streams:
            live_stream.add_init(name, INIT)
        feed(live_stream, range(parts))
        return live_stream

    async def blocked(self, live_stream: LiveStream, many: int = 1) -> None:
        """Waits until `many` requests are blocked at the origin."""
        while len(live_stream.streams["720p"].waiting) < many:  # noqa: ASYNC110 (waits for other waiters)
            await asyncio.sleep(0.001)


@asynccontextmanager
async def pair(folder: Path, **hls: Any) -> AsyncIterator[Pair]:
    homes = Homes()
    async with (
        hls_node(homes, "origin", folder, **hls) as origin,
        hls_node(homes, "edge", folder, **hls) as edge,
        aiohttp.ClientSession(auto_decompress=False, connector=aiohttp.TCPConnector(limit=0)) as http,
    ):
        homes.by_room["hall"] = origin.info
        yield Pair(homes, origin, edge, http)


@pytest.fixture
async def public(tmp_path: Path) -> AsyncIterator[Pair]:
    async with pair(tmp_path, public=("hall",)) as found:
        yield found


async def test_the_edge_answers_as_the_origin(public: Pair) -> None:
    live_stream = public.begin(8)
    live_stream.add_captions("en", "English")
    live_stream.caption("en", "Hello", time.time(), time.time() + 1)
    paths = ("index.m3u8", LIVE, f"{LIVE}?_HLS_skip=YES", "PG_1/index.m3u8", "PG_1/captions-en.m3u8")
    media = ("PG_1/720p/init0.mp4", "PG_1/720p/0.m4s", "PG_1/720p/1.2.m4s", "PG_1/nothing", "PG_1/720p/9.9.m4s")
    for path in (*paths, *media, "PG_2/720p.m3u8", "../x"):
        expected, found = await public.get(path, public.origin), await public.get(path)
        assert (found[0], found[2]) == (expected[0], expected[2]), path
        for name in ("Content-Type", "Cache-Control", "Vary", "X-Content-Type-Options", "Cross-Origin-Resource-Policy"):
            assert found[1].get(name) == expected[1].get(name), (path, name)
    _, headers, body = await public.get(LIVE, headers={"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == live_stream.media("720p", skip=False)
    status, headers, body = await public.get("PG_1/720p/1.2.m4s", headers={"Range": "bytes=1-3"})
    assert (status, body) == (206, part(7).data[1:4])


async def test_viewers_share_one_request(public: Pair) -> None:
    live_stream = public.begin(8)
    before = public.origin.hls_requests
    reload, hinted = f"{LIVE}?_HLS_msn=1&_HLS_part=3", "PG_1/720p/1.3.m4s"
    viewers = [asyncio.create_task(public.get(path)) for path in (reload, hinted) * 20]
    await public.blocked(live_stream, 2)
    feed(live_stream, range(8, 9))
    answers = await asyncio.gather(*viewers)
    assert {body for _, _, body in answers} == {live_stream.media("720p", skip=False), part(8).data}
    assert public.origin.hls_requests - before == 2
    # Later viewers get the same from the cache, and a segment from its parts.
    await public.get("PG_1/720p/1.0.m4s")
    asked = public.origin.hls_requests
    assert (await public.get(hinted))[2] == part(8).data
    assert (await public.get(f"{LIVE}?_HLS_msn=1&_HLS_part=1"))[2] == live_stream.media("720p", skip=False)
    assert public.origin.hls_requests == asked


async def test_a_segment_is_joined_from_its_parts(public: Pair) -> None:
    public.begin(10)
    for index in range(5):
        await public.get(f"PG_1/720p/1.{index}.m4s")
    await public.get(LIVE)
    asked = public.origin.hls_requests
    status, _, body = await public.get("PG_1/720p/1.m4s")
    assert (status, body) == (200, b"".join(part(number).data for number in range(5, 10)))
    assert public.origin.hls_requests == asked


async def test_no_requests_without_viewers(public: Pair) -> None:
    live_stream = public.begin(8)
    asked = asyncio.create_task(public.get(f"{LIVE}?_HLS_msn=1&_HLS_part=3"))
    await public.blocked(live_stream)
    feed(live_stream, range(8, 9))
    await asked
    before = public.origin.hls_requests
    for number in range(9, 30):
        feed(live_stream, range(number, number + 1))
        await asyncio.sleep(0)
    assert public.origin.hls_requests == before


async def test_private_rooms_stay_private(tmp_path: Path) -> None:
    async with pair(tmp_path, origins=("https://player.example",)) as found:
        found.begin(8)
        assert (await found.get("index.m3u8"))[0] == 401
        assert (await found.get(f"~{'A' * 60}/{LIVE}"))[0] == 403
        access = token(room="hall", room_join=True, identity="ada")
        status, headers, _ = await found.get(f"index.m3u8?token={access}")
        assert (status, headers["Cache-Control"]) == (302, "no-store")
        path = headers["Location"].rpartition("/")[0]
        status, headers, _ = await found.get(f"{path}/PG_1/720p/1.2.m4s", headers={"Origin": "https://player.example"})
        assert (status, headers["Cache-Control"]) == (200, "private, max-age=3600, immutable")
        assert headers["Access-Control-Allow-Origin"] == "https://player.example"
        assert (await found.get("PG_1/720p/1.2.m4s"))[0] == 401, "the cache is for authorized viewers only"
        # A token of one node is valid on the other one, until its holder is kicked.
        assert (await found.get(f"{path}/{LIVE}", found.origin))[0] == 200
        found.edge.verifier.revoke_participant("hall", "ada", time.time())
        status, _, body = await found.get(f"{path}/PG_1/720p/1.2.m4s")
        assert (status, b"token_revoked" in body) == (401, True)


async def test_a_request_of_a_stranger_is_not_a_request_of_a_node(tmp_path: Path) -> None:
    async with pair(tmp_path) as found:
        found.begin(8)
        socket = found.origin.info.url.removeprefix("unix:")
        async with aiohttp.ClientSession("http://node", connector=aiohttp.UnixConnector(socket)) as stranger:
            for headers in ({}, {"X-Sfu-Node": "edge", "X-Sfu-Signature": "00" * 32, "X-Sfu-Time": "1"}):
                async with stranger.get(f"/hls/hall/{LIVE}", headers=headers) as answer:
                    assert answer.status == 403


async def test_viewers_keep_what_the_edge_has(public: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hls_edge, "LONGEST_HOLD", 0.5)
    live_stream = public.begin(8)
    _, _, listed = await public.get(LIVE)
    await public.get("PG_1/720p/1.2.m4s")
    await public.get("state")
    await public.origin.stop()
    del public.homes.by_room["hall"]
    await asyncio.sleep(hls_edge.PLAYLIST_AGE)  # the copy is no longer new
    assert (await public.get(LIVE))[2] == listed == live_stream.media("720p", skip=False)
    assert (await public.get("PG_1/720p/1.2.m4s"))[2] == part(7).data
    assert b'"live"' in (await public.get("state"))[2]
    assert (await public.get("PG_1/720p/1.1.m4s"))[0] == 503
    status, _, body = await public.get(f"{LIVE}?_HLS_msn=1&_HLS_part=3")
    assert (status, b"stalled" in body) == (503, True)


async def test_the_edge_becomes_the_origin(public: Pair) -> None:
    public.begin(8)
    await public.get(LIVE)
    await public.origin.stop()
    public.homes.by_room["hall"] = public.edge.info
    asked = asyncio.create_task(public.get(f"{LIVE}?_HLS_msn=1&_HLS_part=3"))
    await asyncio.sleep(hls_edge.RETRY)
    live_stream = public.begin(9, public.edge)
    assert (await asked)[2] == live_stream.media("720p", skip=False)
    assert (await public.get("PG_1/720p/1.1.m4s"))[2] == part(6).data


async def test_players_see_no_end_when_the_live_stream_moves(public: Pair) -> None:
    live_stream = public.begin(8)
    _, _, listed = await public.get(LIVE)
    asked = asyncio.create_task(public.get(f"{LIVE}?_HLS_msn=1&_HLS_part=3"))
    await public.blocked(live_stream)
    live_stream.moved = True
    live_stream.end(time.time())
    assert (await public.get(LIVE, public.origin))[0] == 503
    await asyncio.sleep(hls_edge.PLAYLIST_AGE)  # the copy is no longer new
    assert (await public.get(LIVE))[2] == listed
    public.homes.by_room["hall"] = public.edge.info
    continued = public.begin(9, public.edge)
    assert (await asked)[2] == continued.media("720p", skip=False)


async def test_the_replay_of_a_room_that_has_ended(public: Pair) -> None:
    live_stream = public.begin(10)
    await public.get("index.m3u8")
    live_stream.end(time.time())
    del public.homes.by_room["hall"]
    status, _, body = await public.get("PG_1/720p.replay.m3u8")
    assert (status, body) == (200, live_stream.streams["720p"].replay())


async def test_a_room_without_a_home(public: Pair) -> None:
    public.homes.by_room.clear()
    assert (await public.get("index.m3u8"))[0] == 404
    assert b'"waiting"' in (await public.get("state"))[2]
