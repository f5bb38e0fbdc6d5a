"""CORS preflight requests for the methods of every route and all headers that clients send, from allowed and other origins."""

from pathlib import Path

import pytest

from sfu.api.application import create_app
from sfu.api.services import Services
from sfu.api.settings import Settings
from sfu.auth.tokens import Verifier
from sfu.rooms import Rooms
from sfu.rooms import Settings as RoomsSettings
from tests.api.support import KEY, Node, running, token
from tests.api.test_hls import on_air, site

LISTED, OTHER = "https://app.example.org", "https://evil.example.org"


def names(value: str) -> set[str]:
    return {each.strip().lower() for each in value.split(",")}


def routes() -> list[tuple[str, str]]:
    """Method and path of every API route, with sample parameters."""
    rooms = Rooms(RoomsSettings(), lambda prefix: prefix, lambda: 0.0)
    app = create_app(Settings(), Services(rooms=rooms, node=Node(), verifier=Verifier({"app": KEY})))
    found = []
    for route in app.router.routes():
        assert route.resource is not None
        path = route.resource.canonical.replace("{", "").replace("}", "")
        if path.startswith("/api/"):
            found.append((route.method, path))
    return found


def test_routes_cover_all_methods() -> None:
    assert {method for method, _ in routes()} >= {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
    assert len(routes()) > 25


async def test_every_route_passes_its_preflight() -> None:
    async with running(Settings(port=0, allowed_origins=(LISTED,))) as server:
        for method, path in routes():
            headers = {
                "Origin": LISTED,
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": "authorization,content-type,range,if-range,if-none-match",
            }
            status, answered, _ = await server.exchange("OPTIONS", path, headers=headers)
            assert status == 204, (method, path)
            assert answered["Access-Control-Allow-Origin"] == LISTED
            assert method.lower() in names(answered["Access-Control-Allow-Methods"]), (method, path)
            asked = names(headers["Access-Control-Request-Headers"])
            assert asked <= names(answered["Access-Control-Allow-Headers"])
            refused = await server.exchange("OPTIONS", path, headers=headers | {"Origin": OTHER})
            assert refused[0] == 403
            assert "Access-Control-Allow-Origin" not in refused[1]


async def test_exposed_headers() -> None:
    async with running(Settings(port=0, allowed_origins=(LISTED,))) as server:
        for path in ("/api/v1/rooms", "/api/openapi.json", "/api/nowhere"):
            _, answered, _ = await server.exchange("GET", path, token=token(room_list=True), headers={"Origin": LISTED})
            exposed = names(answered["Access-Control-Expose-Headers"])
            assert exposed >= {"content-range", "content-disposition", "retry-after", "www-authenticate", "etag"}


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", "range"),
        ("HEAD", "range"),
        ("GET", "range,if-range"),
        ("POST", "authorization,content-type"),
        ("GET", "authorization,if-none-match,if-modified-since,cache-control,pragma"),
        ("GET", "cmcd-object,cmcd-request,cmcd-session,cmcd-status"),
        ("GET", "x-playback-session-id,range"),
        ("GET", "x-requested-with"),
    ],
)
async def test_players_pass_their_preflight(tmp_path: Path, method: str, headers: str) -> None:
    async with site(tmp_path, origins=(LISTED,)) as hall:
        on_air(hall)
        for path in ("pass", "index.m3u8", "PG_1/720p.m3u8", "PG_1/720p/0.0.m4s"):
            asked = {
                "Origin": LISTED,
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": headers,
            }
            status, answered, _ = await hall.get(f"/hls/town-hall/{path}", "OPTIONS", headers=asked)
            assert (status, answered["Access-Control-Allow-Origin"]) == (204, LISTED)
            assert method.lower() in names(answered["Access-Control-Allow-Methods"])
            assert names(headers) <= names(answered["Access-Control-Allow-Headers"])
            _, answered, _ = await hall.get(f"/hls/town-hall/{path}", "OPTIONS", headers=asked | {"Origin": OTHER})
            assert "Access-Control-Allow-Origin" not in answered


async def test_players_may_read_ranges(tmp_path: Path) -> None:
    async with site(tmp_path, origins=(LISTED,)) as hall:
        on_air(hall, 60)
        for path in ("PG_1/720p/11.0.m4s", "PG_1/720p/0.m4s", "PG_1/720p.m3u8", "state"):
            status, answered, _ = await hall.get(
                f"/hls/town-hall/{path}", headers={"Origin": LISTED, "Range": "bytes=0-9"}
            )
            assert status == (206 if path.endswith("m4s") else 200)
            assert answered["Access-Control-Allow-Origin"] == LISTED
            assert names(answered["Access-Control-Expose-Headers"]) >= {
                "content-range",
                "content-length",
                "accept-ranges",
                "date",
            }
            assert answered["Cross-Origin-Resource-Policy"] == "cross-origin"


@pytest.mark.parametrize(
    "origin", ["capacitor://localhost", "ionic://localhost", "tauri://localhost", "null", "https://a.b.example.org"]
)
async def test_origins_of_apps(tmp_path: Path, origin: str) -> None:
    listed = ("capacitor://localhost", "ionic://localhost", "tauri://localhost", "null", "https://*.example.org")
    asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    async with site(tmp_path, Settings(port=0, allowed_origins=listed), origins=listed) as hall:
        on_air(hall)
        for path in ("/api/v1/rooms", "/hls/town-hall/index.m3u8"):
            _, answered, _ = await hall.get(path, "OPTIONS", headers=asked)
            assert answered["Access-Control-Allow-Origin"] == origin
        for evil in ("https://evil-example.org", "https://a.example.org.evil", "capacitor://localhost.evil"):
            for path in ("/api/v1/rooms", "/hls/town-hall/index.m3u8"):
                _, answered, _ = await hall.get(path, "OPTIONS", headers=asked | {"Origin": evil})
                assert "Access-Control-Allow-Origin" not in answered
