"""HLS over HTTP: authorization, blocking reload, cache headers, and unchanged media bytes."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import aiohttp
import m3u8
import pytest
from yarl import URL

from sfu.api.hls import HlsRoutes
from sfu.api.settings import Settings as HttpSettings
from sfu.auth.tokens import Verifier
from sfu.outputs.hls.live_stream import LiveStream
from sfu.outputs.hls.live_streams import LiveStreams
from sfu.outputs.hls.rendition_stream import RenditionStream
from sfu.outputs.settings import Hls, Rendition
from tests.api.support import KEY, Server, running, token
from tests.outputs.hls.test_live_stream import INIT, LADDER, feed, part
from tests.support.synthetic_stream import recorded

LIVE = "/hls/town-hall/PG_1/720p.m3u8"


@dataclass
class Site:
    server: Server
    live_streams: LiveStreams

    async def get(self, path: str, method: str = "GET", **options: Any) -> tuple[int, Any, bytes]:
        options["headers"] = {"Accept-Encoding": "identity", **options.get("headers", {})}
        url = URL(f"http://127.0.0.1:{self.server.port}{path}", encoded=True)
        async with self.server.client.request(method, url, allow_redirects=False, **options) as answer:
            return answer.status, answer.headers, await answer.read()

    async def status(self, path: str, **options: Any) -> int:
        return (await self.get(path, **options))[0]


@asynccontextmanager
async def site(directory: Path, settings: HttpSettings | None = None, **hls: Any) -> AsyncIterator[Site]:
    hls = {"public": ("town-hall",), "memory": 6.0, **hls}
    chosen = Hls(directory=str(directory), **hls)
    live_streams = LiveStreams(chosen)
    routes = HlsRoutes(chosen, live_streams, Verifier({"app": KEY}), b"s" * 32).routes()
    async with running(settings, routes=tuple(routes)) as server:
        server.client._auto_decompress = False
        yield Site(server, live_streams)


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as one:
        yield one


def on_air(one: Site, parts: int = 8, room: str = "town-hall", stream_id: str = "PG_1") -> LiveStream:
    live_stream = one.live_streams.open(room, stream_id, LADDER)
    live_stream.begin(time.time())
    for name in live_stream.streams:
        live_stream.add_init(name, INIT)
    for begin in range(0, parts, 5):  # paced, so that the disk can keep up
        feed(live_stream, range(begin, min(begin + 5, parts)))
        assert one.live_streams.disk.flush()
    return live_stream


async def waiting(live_stream: LiveStream, many: int = 1) -> None:
    """Waits until `many` requests are blocked."""
    while len(live_stream.streams["720p"].waiting) < many:  # noqa: ASYNC110 (waits for other waiters)
        await asyncio.sleep(0.001)


async def test_from_the_room_to_the_last_part(hall: Site) -> None:
    on_air(hall)
    status, headers, body = await hall.get("/hls/town-hall/index.m3u8")
    assert (status, headers["Content-Type"], headers["Cache-Control"]) == (
        200,
        "application/vnd.apple.mpegurl",
        "no-cache",
    )
    (first, *_) = m3u8.loads(body.decode()).playlists
    assert first.uri == "PG_1/720p.m3u8"
    status, headers, body = await hall.get(f"/hls/town-hall/{first.uri}")
    read = m3u8.loads(body.decode())
    for name, expected in (
        (read.segments[0].init_section.uri, INIT),
        (read.segments[0].uri, b"".join(part(number).data for number in range(5))),
        (read.segments[1].parts[2].uri, part(7).data),
    ):
        status, headers, body = await hall.get(f"/hls/town-hall/PG_1/{name}")
        assert (status, body) == (200, expected)
        assert headers["Content-Type"] == "video/mp4"
        assert headers["Cache-Control"] == "public, max-age=3600, immutable"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Date" in headers


async def test_head_has_no_body(hall: Site) -> None:
    on_air(hall)
    status, headers, body = await hall.get("/hls/town-hall/PG_1/720p/0.0.m4s", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "100", b"")
    assert await hall.status("/hls/town-hall/PG_1/720p/0.0.m4s") == 200


async def test_only_playlists_are_compressed(hall: Site) -> None:
    live_stream = on_air(hall)
    asked = {"Accept-Encoding": "gzip, br"}
    _, headers, body = await hall.get(LIVE, headers=asked)
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body) == live_stream.media("720p", skip=False)
    _, headers, body = await hall.get(LIVE, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in headers
    assert body == live_stream.media("720p", skip=False)
    _, headers, _ = await hall.get("/hls/town-hall/PG_1/720p/0.m4s", headers=asked)
    assert "Content-Encoding" not in headers


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", 200),
        ("?_HLS_msn=0", 200),
        ("?_HLS_msn=1&_HLS_part=2", 200),
        ("?_HLS_part=2", 400),
        ("?_HLS_msn=4&_HLS_part=0", 400),
        ("?_HLS_msn=-1", 400),
        ("?_HLS_msn=x", 400),
        ("?_HLS_msn=1&_HLS_part=", 400),
        ("?_HLS_msn=99999999999999999999", 400),
        ("?_HLS_skip=YES", 200),
        ("?_HLS_skip=nonsense", 200),
        ("?unknown=1", 200),
    ],
)
async def test_reloads_without_blocking(hall: Site, query: str, expected: int) -> None:
    on_air(hall)
    assert await hall.status(LIVE + query) == expected


@pytest.mark.parametrize(
    ("query", "parts"),
    [
        ("?_HLS_msn=1&_HLS_part=3", 1),
        ("?_HLS_msn=1", 2),
        ("?_HLS_msn=1&_HLS_part=9", 3),
        ("?_HLS_msn=2&_HLS_part=0", 3),
        ("?_HLS_msn=2", 7),
    ],
)
async def test_reload_blocks_until_the_requested_part(hall: Site, query: str, parts: int) -> None:
    live_stream = on_air(hall)
    asked = asyncio.create_task(hall.get(LIVE + query))
    for number in range(8, 8 + parts):
        await waiting(live_stream)
        assert not asked.done()
        live_stream.add_part(part(number))
        await asyncio.sleep(0)
    status, _, body = await asked
    assert (status, body) == (200, live_stream.media("720p", skip=False))


async def test_only_the_hinted_part_blocks(hall: Site) -> None:
    live_stream = on_air(hall)
    asked = asyncio.create_task(hall.get("/hls/town-hall/PG_1/720p/1.3.m4s"))
    await waiting(live_stream)
    live_stream.add_part(part(8))
    assert (await asked)[2] == part(8).data
    for name in ("1.9", "2.0", "2", "1", "7"):
        assert await hall.status(f"/hls/town-hall/PG_1/720p/{name}.m4s") == 404


async def test_stalled_live_stream_is_reported(hall: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfu.api.long_polling.LONGEST_HOLD", 0.02)
    monkeypatch.setattr("sfu.api.long_polling.DEADLINE_CHECK_INTERVAL", 0.01)
    live_stream = on_air(hall)
    assert await hall.status(LIVE + "?_HLS_msn=1&_HLS_part=3") == 503
    assert await hall.status("/hls/town-hall/PG_1/720p/1.3.m4s") == 404
    assert not live_stream.streams["720p"].waiting


async def test_end_of_stream_answers_all_blocked_requests(hall: Site) -> None:
    live_stream = on_air(hall)
    asked = [asyncio.create_task(hall.get(LIVE + "?_HLS_msn=2")) for _ in range(3)]
    asked += [asyncio.create_task(hall.get("/hls/town-hall/PG_1/720p/1.3.m4s"))]
    await waiting(live_stream, 4)
    live_stream.end(time.time())
    answers = await asyncio.gather(*asked)
    assert [status for status, _, _ in answers] == [200, 200, 200, 404]
    assert answers[0][2].endswith(b"#EXT-X-ENDLIST\n")


async def test_before_during_and_after(hall: Site) -> None:
    async def state() -> Any:
        async with hall.server.client.get("/hls/town-hall/state") as answer:
            return await answer.json()

    assert await state() == {"state": "waiting", "now": ANY, **dict.fromkeys(("stream_id",), ""), "started_at": 0.0,
                             "ended_at": 0.0, "replay": False, "captions": []}  # fmt: skip
    assert await hall.status("/hls/town-hall/index.m3u8") == 404
    live_stream = hall.live_streams.open("town-hall", "PG_1", LADDER)
    assert (await state())["state"] == "waiting"
    assert await hall.status("/hls/town-hall/index.m3u8") == await hall.status(LIVE) == 404
    live_stream.begin(1000.0)
    for name in live_stream.streams:
        live_stream.add_init(name, INIT)
    feed(live_stream, range(8))
    assert (await state())["state"] == "live"
    assert await hall.status("/hls/town-hall/PG_1/720p.replay.m3u8") == 404
    live_stream.end(2000.0)
    assert await state() == {"state": "ended", "now": ANY, "stream_id": "PG_1", "started_at": 1000.0,
                             "ended_at": 2000.0, "replay": True, "captions": []}  # fmt: skip
    _, _, body = await hall.get("/hls/town-hall/index.m3u8")
    assert {one.uri for one in m3u8.loads(body.decode()).playlists} == {
        f"PG_1/{one.name}.replay.m3u8" for one in LADDER
    }
    _, _, body = await hall.get("/hls/town-hall/PG_1/index.m3u8")
    assert {one.uri for one in m3u8.loads(body.decode()).playlists} == {f"{one.name}.replay.m3u8" for one in LADDER}
    _, _, body = await hall.get("/hls/town-hall/PG_1/720p.replay.m3u8")
    assert len(m3u8.loads(body.decode()).segments) == 2


async def test_old_segments_come_from_disk(hall: Site) -> None:
    live_stream = on_air(hall, 100)
    assert isinstance(live_stream.streams["720p"].segment(2), str)
    status, headers, body = await hall.get("/hls/town-hall/PG_1/720p/2.m4s")
    assert (status, body) == (200, b"".join(part(number).data for number in range(10, 15)))
    assert (headers["Content-Type"], headers["Cache-Control"]) == ("video/mp4", "public, max-age=3600, immutable")


async def test_captions(hall: Site) -> None:
    live_stream = on_air(hall)
    live_stream.add_captions("en", "English")
    live_stream.caption("en", "Hello", time.time(), time.time() + 2)
    feed(live_stream, range(8, 11))
    status, headers, body = await hall.get("/hls/town-hall/PG_1/captions-en.m3u8")
    assert (status, m3u8.loads(body.decode()).segments[0].uri) == (200, "captions-en/1.vtt")
    status, headers, body = await hall.get("/hls/town-hall/PG_1/captions-en/1.vtt")
    assert (status, headers["Content-Type"]) == (200, "text/vtt; charset=utf-8")
    assert b"Hello" in body
    assert await hall.status("/hls/town-hall/PG_1/captions-en/9.vtt") == 404
    assert await hall.status("/hls/town-hall/PG_1/captions-de.m3u8") == 404
    state = await hall.get("/hls/town-hall/state")
    assert b'"uri":"PG_1/captions-en.m3u8"' in state[2]


WATCHERS = [
    ({"room": "board", "room_join": True}, 302),
    ({"room": "board", "room_admin": True}, 302),
    ({"room": "board", "room_join": True, "can_subscribe": False}, 403),
    ({"room": "other", "room_join": True}, 403),
    ({"room": "board"}, 403),
    ({"room_list": True, "room_create": True}, 403),
    ({"room": "board", "room_join": True, "lifetime": -60.0}, 401),
]


@pytest.mark.parametrize(("grants", "expected"), WATCHERS)
@pytest.mark.parametrize("where", ["header", "query"])
@pytest.mark.parametrize("exists", [True, False])
async def test_permissions_to_watch(
    hall: Site, grants: dict[str, Any], expected: int, where: str, exists: bool
) -> None:
    if exists:
        on_air(hall, room="board")
    word = token(**grants)
    path = "/hls/board/index.m3u8" + (f"?token={word}" if where == "query" else "")
    headers = {"Authorization": f"Bearer {word}"} if where == "header" else {}
    status, answer, _ = await hall.get(path, headers=headers)
    assert status == expected
    if status == 302:
        assert answer["Location"].startswith("~")
        assert word not in answer["Location"]
        assert await hall.status(f"/hls/board/{answer['Location']}") == (200 if exists else 404)


async def test_existence_of_rooms_is_hidden_without_a_token(hall: Site) -> None:
    on_air(hall, room="board", stream_id="PG_2")
    for path in ("index.m3u8", "state", "PG_2/720p.m3u8", "PG_2/720p/0.0.m4s", "~/index.m3u8", f"~{'A' * 35}/state"):
        there, absent = await hall.get(f"/hls/board/{path}"), await hall.get(f"/hls/nowhere/{path}")
        assert there[0] in (401, 403)
        assert (there[0], there[2]) == (absent[0], absent[2])


async def test_playback_token_is_valid_for_one_room(hall: Site) -> None:
    on_air(hall, room="board", stream_id="PG_2")
    on_air(hall, room="other", stream_id="PG_3")
    word = token(room="board", room_join=True, lifetime=60.0)
    async with hall.server.client.post("/hls/board/token", headers={"Authorization": f"Bearer {word}"}) as answer:
        given = await answer.json()
    assert given["expires_at"] < time.time() + 61
    base = given["url"].removesuffix("/index.m3u8")
    assert await hall.status(given["url"]) == 200
    status, headers, _ = await hall.get(f"{base}/PG_2/720p/0.0.m4s")
    assert (status, headers["Cache-Control"]) == (200, "private, max-age=3600, immutable")
    assert await hall.status(base.replace("board", "other") + "/index.m3u8") == 403
    assert await hall.status(f"{base}/PG_3/720p/0.0.m4s") == 404
    assert await hall.status(f"{base}/PG_1/720p/0.0.m4s") == 404
    assert await hall.status("/hls/board/token", method="POST") == 401


async def test_room_name_that_needs_escaping(hall: Site) -> None:
    on_air(hall, room="a b/ü")
    word = token(room="a b/ü", room_join=True)
    async with hall.server.client.post(
        URL("/hls/a%20b%2F%C3%BC/token", encoded=True), headers={"Authorization": f"Bearer {word}"}
    ) as answer:
        given = await answer.json()
    assert await hall.status(given["url"]) == 200


@pytest.mark.parametrize(
    "path",
    [
        "",
        "x",
        "PG_1",
        "PG_1/",
        "PG_1/720p",
        "PG_1/720p.m3u8/",
        "PG_1/360p.m3u8",
        "PG_1/720p/init7.mp4",
        "PG_1/720p/-1.m4s",
        "PG_1/720p/..%2finit0.mp4",
        "PG_1/../PG_1/720p/journal.jsonl",
        "PG_1/journal.jsonl",
        "PG_1/about.json",
        "..%2f..%2fetc%2fpasswd",
        "PG_1/720p/0.0.0.0.m4s",
        "PG_1/720p/0.0.7.m4s",
        "PG_1/720p/%D9%A0.m4s",
        "PG_1%00/720p.m3u8",
    ],
)
async def test_invalid_paths(hall: Site, path: str) -> None:
    on_air(hall)
    assert await hall.status(f"/hls/town-hall/{path}") == 404


async def test_other_origins(tmp_path: Path) -> None:
    async with site(tmp_path, origins=("https://player.example",)) as hall:
        on_air(hall)
        for origin, expected in (("https://player.example", True), ("https://evil.example", False)):
            for path in (LIVE, "/hls/town-hall/PG_1/720p/0.m4s", "/hls/town-hall/none", "/hls/town-hall/state"):
                _, headers, _ = await hall.get(path, headers={"Origin": origin})
                assert headers.get("Access-Control-Allow-Origin") == (origin if expected else None), path
                assert "Origin" in headers.get("Vary", "Origin")
        status, headers, _ = await hall.get(
            "/hls/town-hall/token", "OPTIONS", headers={"Origin": "https://player.example"}
        )
        assert status == 204
        _, headers, _ = await hall.get("/hls/town-hall/PG_1/720p/0.m4s")
        assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"


async def test_keep_alive_and_close(hall: Site) -> None:
    on_air(hall)
    request = f"GET {LIVE} HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
    for more, ends in (("", False), ("Connection: close\r\n", True)):
        reader, writer = await asyncio.open_connection("127.0.0.1", hall.server.port)
        for _ in range(1 if ends else 3):
            writer.write((request % more).encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.partition(b"Content-Length: ")[2].partition(b"\r")[0])
            assert (await reader.readexactly(length)).startswith(b"#EXTM3U")
            assert (b"Connection: close" in head) is ends
        if ends:
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_slow_viewer_does_not_increase_memory(hall: Site) -> None:
    live_stream = hall.live_streams.open("town-hall", "PG_1", LADDER[:1])
    live_stream.begin(time.time())
    live_stream.add_init("1080p", INIT)
    for number in range(5):
        live_stream.add_part(part(number, "1080p", 1_000_000))
    request = b"GET /hls/town-hall/PG_1/1080p/0.m4s HTTP/1.1\r\nHost: localhost\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", hall.server.port)
    writer.write(request * 50)
    await writer.drain()
    await asyncio.sleep(0.3)
    server = hall.server.site._runner.server
    assert server is not None
    transports = [one.transport for one in server.connections if one.transport is not None]
    served: list[int] = [transport.get_write_buffer_size() for transport in transports]
    assert sum(served) < 11_000_000
    writer.transport.abort()
    del reader


def test_consecutive_live_streams(tmp_path: Path) -> None:
    live_streams = LiveStreams(Hls(directory=str(tmp_path), replay=100.0))
    first = live_streams.open("hall", "PG_1", LADDER)
    with pytest.raises(ValueError, match="already"):
        live_streams.open("hall", "PG_2", LADDER)
    first.begin(900.0)
    first.end(1000.0)
    second = live_streams.open("hall", "PG_2", LADDER)
    for name in ("PG_2", "../x", ""):
        with pytest.raises(ValueError, match="stream id"):
            live_streams.open("else", name, LADDER)
    assert live_streams.current("hall") is second
    assert live_streams.find("hall", "PG_1") is first
    assert live_streams.find("else", "PG_1") is None
    assert live_streams.replays("hall") == [first]
    live_streams.expire(1100.5)
    assert live_streams.find("hall", "PG_1") is None
    assert live_streams.disk.flush()
    assert [path.name for path in tmp_path.iterdir()] == ["PG_2"]
    second.begin(1200.0)
    for name in second.streams:
        second.add_init(name, INIT)
    feed(second, range(6))
    assert live_streams.disk.flush()
    again = LiveStreams(Hls(directory=str(tmp_path), replay=100.0))
    assert [(one.room, one.live_stream.stream_id) for one in again.restore(again.find_stored(), 1200.0)] == [
        ("hall", "PG_2")
    ]
    assert again.current("hall") is not None


def test_unwritable_directory_disables_only_the_replay(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    live_streams = LiveStreams(Hls(directory=str(tmp_path / "file")))
    live_stream = live_streams.open("hall", "PG_1", LADDER)
    live_stream.begin(1000.0)
    for name in live_stream.streams:
        live_stream.add_init(name, INIT)
    feed(live_stream, range(6))
    live_stream.end(1001.0)
    assert live_streams.disk.flush()
    assert not live_stream.replayable


def test_aiohttp_internals_used_by_prepared_responses() -> None:
    """Prepared responses depend on the writer's `drain` and on the order of `prepare` and `write_eof`."""
    assert aiohttp.__version__.startswith("3.")


async def test_player_without_low_latency_support(hall: Site) -> None:
    """ffprobe plays the live stream and its replay, with a token in the query and a redirect."""
    inits, parts = recorded(6, ("180p",))
    live_stream = hall.live_streams.open("board", "PG_9", (Rendition("180p", 320, 180, 150_000),))
    live_stream.begin(time.time())
    live_stream.add_init("180p", inits["180p"])
    for one in parts[:28]:
        live_stream.add_part(one)
    url = f"http://127.0.0.1:{hall.server.port}/hls/board/index.m3u8?token={token(room='board', room_join=True)}"

    async def probe(*arguments: str) -> list[str]:
        process = await asyncio.create_subprocess_exec(
            *("ffprobe", "-v", "error", "-of", "csv=p=0", *arguments, url),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await asyncio.wait_for(process.communicate(), 20)
        assert errors == b""
        return output.decode().split()

    assert {"aac", "h264"} <= set(await probe("-show_entries", "stream=codec_name"))
    for one in parts[28:]:
        live_stream.add_part(one)
    live_stream.end(time.time())
    frames = await probe("-count_frames", "-select_streams", "v", "-show_entries", "stream=nb_read_frames")
    assert frames[0] == "180"


@pytest.mark.parametrize("name", ["index.m3u8", "PG_1/index.m3u8"])
async def test_indexes_are_rendered_once_a_second(hall: Site, name: str) -> None:
    """After hours of live streaming, rendering takes milliseconds, and every viewer may request it."""
    live_stream = on_air(hall)
    rendered: list[str] = []
    original = LiveStream.multivariant

    def counted(self: LiveStream, prefix: str = "") -> bytes:
        rendered.append(prefix)
        return original(self, prefix)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LiveStream, "multivariant", counted)
        began = time.monotonic()
        for _ in range(10):
            answers = await asyncio.gather(*(hall.get(f"/hls/town-hall/{name}") for _ in range(20)))
            prefix = "PG_1/" if name == "index.m3u8" else ""
            assert {body for _, _, body in answers} == {original(live_stream, prefix)}
        assert len(rendered) <= time.monotonic() - began + 2


async def test_requested_responses_stay_cached(hall: Site) -> None:
    """A long replay playlist takes milliseconds to render; parts of live streams must not evict it from the cache."""
    live_stream = on_air(hall, 60)
    live_stream.end(time.time())
    rendered: list[str] = []
    original = RenditionStream.replay

    def counted(self: RenditionStream) -> bytes:
        rendered.append(self.name)
        return original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RenditionStream, "replay", counted)
        patch.setattr("sfu.api.hls_responses.CACHE_SIZE", 4)
        for number in range(8):
            assert await hall.status("/hls/town-hall/PG_1/720p.replay.m3u8") == 200
            assert await hall.status(f"/hls/town-hall/PG_1/720p/{number}.m4s") == 200
    assert rendered == ["720p"]
