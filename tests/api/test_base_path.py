"""`http.base_path`: every route works with and without the prefix, and URLs in responses contain it."""

from pathlib import Path

import pytest

from sfu.api import openapi
from sfu.api.application import OPERATIONS
from sfu.api.hls import HlsRoutes
from sfu.api.settings import Settings
from sfu.auth.tokens import Verifier
from sfu.errors import ConfigurationError
from sfu.outputs.hls.live_streams import LiveStreams
from sfu.outputs.settings import Hls
from tests.api.support import KEY, running, token

WEB = Path(__file__).parents[2] / "web"
BASE = "/deep/meet"
BEHIND = Settings(port=0, base_path=BASE, allowed_origins=("https://app.example.org",))


@pytest.mark.parametrize("prefix", ["", BASE])
async def test_every_route_with_and_without_prefix(prefix: str) -> None:
    async with running(BEHIND, page_root=WEB) as server:
        for path in (
            "/livez",
            "/metrics",
            "/api/dev",
            "/api/openapi.json",
            "/",
            "/r/hall",
            "/watch/hall",
            "/static/icon.svg",
        ):
            assert (await server.ask("GET", f"{prefix}{path}"))[0] == 200, path
        path = f"{prefix}/api/v1/rooms"
        assert (await server.ask("POST", path, token=token(room_create=True), json={"name": "hall"}))[0] == 201
        assert (await server.ask("GET", path))[0] == 401
        headers = {"Origin": "https://evil.example.org"}
        assert (await server.ask("GET", path, token=token(room_list=True), headers=headers))[0] == 403
        headers = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "PUT"}
        status, answered, _ = await server.exchange("OPTIONS", path, headers=headers)
        assert (status, answered["Access-Control-Allow-Origin"]) == (204, "https://app.example.org")


async def test_prefix_alone_redirects_to_the_page() -> None:
    async with running(BEHIND, page_root=WEB) as server:
        status, headers, _ = await server.exchange("GET", f"{BASE}?a=b", allow_redirects=False)
        assert (status, headers["Location"]) == (308, "meet/?a=b")
        assert (await server.ask("GET", BASE))[0] == 200


@pytest.mark.parametrize(
    ("path", "up"), [("/", ""), ("/r/hall", "../"), ("/watch/hall", "../"), (f"{BASE}/r/hall", "../")]
)
async def test_urls_in_pages_are_relative(path: str, up: str) -> None:
    async with running(BEHIND, page_root=WEB) as server:
        status, headers, text = await server.exchange("GET", path)
        assert status == 200
        assert '="/static/' not in text
        assert f'src="{up}static/page/theme.js"' in text
        again = await server.exchange("GET", path, headers={"If-None-Match": headers["ETag"]})
        assert again[0] == 304


@pytest.mark.parametrize("prefix", ["", BASE], ids=["stripped", "kept"])
@pytest.mark.parametrize("public", [True, False])
async def test_playback_url_contains_the_prefix(tmp_path: Path, prefix: str, public: bool) -> None:
    chosen = Hls(directory=str(tmp_path), memory=6.0, public=("town-hall",) if public else ())
    live_streams = LiveStreams(chosen)
    routes = HlsRoutes(chosen, live_streams, Verifier({"app": KEY}), b"s" * 32, base_path=BASE).routes()
    async with running(BEHIND, routes=tuple(routes)) as server:
        live_stream = live_streams.open("town-hall", "PG_1", ())
        live_stream.begin(0.0)
        given = "" if public else token(room="town-hall", room_join=True)
        status, answer = await server.ask("POST", f"{prefix}/hls/town-hall/token", token=given)
        assert status == 200
        assert answer["url"].startswith(f"{BASE}/hls/town-hall/")
        assert answer["url"].endswith("/index.m3u8")
        state = answer["url"].replace("index.m3u8", "state")
        assert (await server.ask("GET", state))[0] == 200
        assert (await server.ask("GET", state.removeprefix(BASE)))[0] == 200


def test_openapi_document_contains_the_prefix() -> None:
    assert openapi.document("1", OPERATIONS, BASE)["servers"] == [{"url": BASE}]
    assert "servers" not in openapi.document("1", OPERATIONS)


@pytest.mark.parametrize("base", ["", "/meet", "/a/b-c/d_e.f~g", "/Meet2"])
def test_valid_base_paths(base: str) -> None:
    assert Settings(base_path=base).base_path == base


@pytest.mark.parametrize(
    "base", ["meet", "/", "/meet/", "//meet", "/a//b", "/..", "/a/../b", "/.", "/a b", "/{x}", "/ä", "/a?b", "/%61"]
)
def test_invalid_base_paths(base: str) -> None:
    with pytest.raises(ConfigurationError, match=r"http\.base_path: .* as in /meet"):
        Settings(base_path=base)
