"""Attack surface of live streams: playback URLs, which strangers guess and rewrite, and push destinations, which may lead
into the internal network or answer maliciously.
"""

import asyncio
import json
import re
import secrets
import urllib.request
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from struct import pack
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from tests.attacks.field import Field
from tests.rtmp.test_client import GREETING, message

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOM = "field"
KEY = "stream-key-of-nobody"
REQUEST = re.compile(
    r'^sfu_http_requests_total\{method="(\w+)",route="(/hls/[^"]*)",status="(\d+)"\} (\S+)$', re.MULTILINE
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Field]:
    """A room on air; it may push to this machine."""
    folder = tmp_path_factory.mktemp("stage")
    settings = ("outputs.renditions=[320x180@200]", f"outputs.hls.directory={folder}/hls",
                f"egress.directory={folder}/recordings", "egress.rtmp_allow_private=true",
                "log.access=false")  # fmt: skip
    field = Field(*(word for setting in settings for word in ("--set", setting)))
    await field.open()
    async with aiohttp.ClientSession() as http:
        await api(field, http, "PUT", "", {"live": True})
    yield field
    await field.close()


def operator(field: Field) -> str:
    return field.token("operator", ROOM, roomRecord=True, roomEgress=True, roomAdmin=True)


async def api(field: Field, http: aiohttp.ClientSession, method: str, path: str, body: object = None) -> Any:
    headers = {"Authorization": f"Bearer {operator(field)}"}
    url = f"{field.url}/api/v1/rooms/{ROOM}/egress{path}"
    async with http.request(method, url, json=body, headers=headers) as answer:
        text = await answer.text()
        return answer.status, json.loads(text) if text else None


async def until(check: Callable[[], Awaitable[Any]], seconds: float = 20) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := await check()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return found


# -- viewers ----------------------------------------------------------------------------------------------------------


async def passed(field: Field, http: aiohttp.ClientSession, room: str) -> str:
    """The path up to the pass, and a slash."""
    headers = {"Authorization": f"Bearer {field.token('viewer', room)}"}
    async with http.post(f"{field.url}/hls/{room}/token", headers=headers) as answer:
        assert answer.status == 200
        return str((await answer.json())["url"]).removesuffix("index.m3u8")


async def get(field: Field, http: aiohttp.ClientSession, path: str) -> tuple[int, str]:
    async with http.get(URL(field.url + path, encoded=True), allow_redirects=False) as answer:
        return answer.status, (await answer.read()).decode(errors="replace")


def answered(field: Field) -> Counter[str]:
    with urllib.request.urlopen(f"{field.url}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    found = Counter[str]()
    for _, _, status, count in REQUEST.findall(text):
        found[status] += int(float(count))
    return found


async def test_files_of_a_live_stream_need_a_playback_token_of_the_room(
    stage: Field, http: aiohttp.ClientSession
) -> None:
    mine, other = await passed(stage, http, ROOM), await passed(stage, http, "another-room")

    async def on_air() -> str:
        status, index = await get(stage, http, mine + "index.m3u8")
        names = re.findall(r"^\w+/\d+p\.m3u8$", index, re.MULTILINE) if status == 200 else []
        if not names:
            return ""
        _, playlist = await get(stage, http, mine + names[0])
        parts = re.findall(r'PART:.*?URI="([^"]+)"', playlist)
        return names[0].rpartition("/")[0] + "/" + parts[0] if parts else ""

    part = await until(on_air)
    status, _ = await get(stage, http, mine + part)
    assert status == 200
    word = mine.rstrip("/").rpartition("~")[2]
    flipped = word[:-2] + ("A" if word[-2] != "A" else "B") + word[-1]
    rest = f"/hls/{ROOM}/"
    invented = [urlsafe_b64encode(secrets.token_bytes(26)).decode().rstrip("=") for _ in range(300)]
    rows: dict[str, tuple[list[str], set[int]]] = {
        "another room's pass": ([f"{rest}~{other.rstrip('/').rpartition('~')[2]}/{part}"] * 50, {403}),
        "this room's pass in another room": ([f"/hls/another-room/~{word}/{part}"] * 50, {403}),
        "no pass": ([rest + part, rest + "state"], {401}),
        "a pass with a bit changed": ([f"{rest}~{flipped}/{part}"], {403}),
        "passes invented": ([f"{rest}~{each}/{part}" for each in invented], {403}),
        "passes that are none": ([f"{rest}~{each}/{part}" for each in ("", "~", "%00", "x" * 500, "%2e%2e", "é")], {400, 403}),
        "paths out of it": (
            [mine + each for each in (
                "../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "x/..%5c..%5ckeys",
                part + "/../../about.json", part + "%00.m4s", part.replace("/", "//"), "PG_x/320p/0.m4s.bak",
                "//etc/passwd", "file:///etc/passwd", "PG_1/180p/99999999999.m4s", "PG_1/99999p.m3u8",
                "x" * 3000 + "/index.m3u8",
                "PG_1/180p/init00000.mp4", "PG_1/captions-../../x.m3u8", "PG_1/180p/-1.m4s", "PG_1/180p/١.m4s",
            )], {400, 403, 404},
        ),
    }  # fmt: skip
    seen: dict[str, Counter[int]] = {}

    async def attack() -> None:
        for row, (paths, _) in rows.items():
            seen[row] = Counter()
            for path in paths:
                status, text = await get(stage, http, path)
                seen[row][status] += 1
                assert "root:" not in text
                assert stage.folder.name not in text, "the answer reveals a path of the server"

    before = answered(stage)
    await stage.withstands(attack, counted=("sfu_tokens_refused_total:token_missing",), lines=2)
    for row, (paths, expected) in rows.items():
        assert seen[row].keys() <= expected, (row, seen[row])
        assert sum(seen[row].values()) == len(paths)
    grown = answered(stage) - before
    assert grown["403"] >= 400
    assert grown["401"] >= 2
    assert (await get(stage, http, mine + "index.m3u8"))[0] == 200, "who may watch goes on watching"


# -- destinations -----------------------------------------------------------------------------------------------------

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def saying(data: bytes, times: int = 1) -> Peer:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(times):
            writer.write(data)
            await writer.drain()
        while await reader.read(65_536):
            pass

    return peer


DEEP = b"\x02\0\7_result\0" + bytes(8) + b"\x03\0\1a" * 10_000
MANY = b"\x02\0\7_result\0" + bytes(8) + b"\x0a\xff\xff\xff\xff" + b"\5" * 50_000
HUGE = bytes([3]) + bytes(3) + b"\xff\xff\xff" + bytes([20]) + bytes(4) + bytes(128)
HOSTILE: dict[str, Peer] = {
    "speaks something else": saying(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 200),
    "says nothing": saying(b""),
    "values in values in values": saying(GREETING + message(20, DEEP)),
    "a list of four billion": saying(GREETING + message(20, MANY)),
    "a message of 16 MB": saying(GREETING + HUGE + (b"\xc3" + bytes(128)) * 8_000),
    "chunks of 2 GB": saying(GREETING + message(1, pack("!I", 0x7FFFFFFF)) + HUGE + bytes(65_536), 50),
    "chunk streams without end": saying(
        GREETING + b"".join(b"\1" + pack("<H", n) + bytes(3) + b"\0\0\x7f\x14" + bytes(4) + b"x" * 127 for n in range(5_000))
    ),
    "chunks of nothing": saying(GREETING + message(1, pack("!I", 0))),
}  # fmt: skip


async def test_destinations_that_answer_with_malice(stage: Field, http: aiohttp.ClientSession) -> None:
    visits = Counter[int]()

    def counted(peer: Peer) -> Peer:
        async def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            visits[writer.get_extra_info("sockname")[1]] += 1
            with suppress(ConnectionError):
                await peer(reader, writer)
            writer.close()

        return visited

    servers = [await asyncio.start_server(counted(peer), "127.0.0.1", 0) for peer in HOSTILE.values()]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    before = (await api(stage, http, "GET", ""))[1]
    found: dict[str, Any] = {}

    async def attack() -> None:
        for port in ports:
            status, told = await api(
                stage, http, "POST", "/destinations", {"url": f"rtmp://127.0.0.1:{port}/live/{KEY}"}
            )
            assert status == 201
        ids = [each["id"] for each in told["destinations"]]

        async def all_refused() -> bool:
            shown = (await api(stage, http, "GET", ""))[1]["destinations"]
            found.update(zip(HOSTILE, shown, strict=True))
            refused = [each for each in shown if each["state"] in ("waiting", "failed") and each["detail"]]
            return len(refused) >= len(HOSTILE) - 1 and all(visits[port] for port in ports)

        await until(all_refused)
        await asyncio.sleep(1.5)  # they are tried again
        for each in ids:
            await api(stage, http, "DELETE", f"/destinations/{each}")

    await stage.withstands(attack, lines=120, memory=8_000_000)
    for row, shown in found.items():
        if row != "says nothing":
            assert shown["state"] != "live", row
            assert shown["detail"], row
        assert KEY not in json.dumps(shown)
    after = (await api(stage, http, "GET", ""))[1]
    assert after["restarts"] == before["restarts"], "its worker lives"
    assert after["ticks"] > before["ticks"]
    assert not after["destinations"]
    assert KEY not in stage.log.read_text()
    for server in servers:
        server.close()


INNER = ("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "[::1]", "[::]",
         "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1",
         "[fd00::1]", "[fe80::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "224.0.0.1", "255.255.255.255")  # fmt: skip


async def test_a_push_does_not_reach_the_inner_network(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All notations of an address of this machine or of its networks, from a client with the egress grant."""
    visits = []

    async def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(writer.get_extra_info("sockname"))
        writer.close()

    folder = tmp_path_factory.mktemp("inner")
    server = await asyncio.start_server(visited, None, 0)
    port = server.sockets[0].getsockname()[1]
    more = await asyncio.start_server(visited, "127.0.0.1", 0)
    ports = {port, more.sockets[0].getsockname()[1]}
    settings = (
        "outputs.renditions=[320x180@200]",
        f"egress.directory={folder}",
        f"outputs.hls.directory={folder}/hls",
        "log.access=false",
    )
    field = Field(*(word for setting in settings for word in ("--set", setting)))
    await field.open()
    details: dict[tuple[str, int], str] = {}
    try:
        async with aiohttp.ClientSession() as http:
            await api(field, http, "PUT", "", {"live": True})

            async def attack() -> None:
                for begin in range(0, len(INNER), 8):  # as many as there may be at once
                    details.update(await tried(field, http, *((host, port) for host in INNER[begin : begin + 8])))

            details.update(await tried(field, http, *(("127.0.0.1", each) for each in ports)))
            await field.withstands(attack, lines=3 * len(INNER), memory=8_000_000)
            print(details)
    finally:
        await field.close()
        server.close()
        more.close()
    assert not visits
    assert set(details.values()) <= {"private address", "refused"}, details


async def tried(field: Field, http: aiohttp.ClientSession, *addresses: tuple[str, int]) -> dict[tuple[str, int], str]:
    """State of the destinations; `refused`: the API accepts no such address."""
    found, ids = {}, {}
    for host, port in addresses:
        status, told = await api(field, http, "POST", "/destinations", {"url": f"rtmp://{host}:{port}/live/{KEY}"})
        if status == 201:
            ids[told["destinations"][-1]["id"]] = host, port
        else:
            found[host, port] = "refused"

    async def details() -> bool:
        for each in (await api(field, http, "GET", ""))[1]["destinations"]:
            if each["detail"]:
                found[ids[each["id"]]] = each["detail"]
        return len(found) == len(addresses)

    await until(details)
    for name in ids:
        await api(field, http, "DELETE", f"/destinations/{name}")
    return found
