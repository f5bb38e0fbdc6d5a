"""Probes, metrics, headers, origins, errors and the access log, as seen by a client."""

import json
import logging

import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from sfu.api.settings import Settings
from sfu.telemetry.metrics import gauge
from tests.api.support import running, token
from tests.support.metrics import Fixed

LISTED = "https://meet.example.org"


async def test_probes() -> None:
    async with running() as server:
        for path in ("/healthz", "/livez", "/readyz"):
            assert await server.ask("GET", path) == (200, "ok\n")
        server.node.full = "room limit reached"
        full = "ok, but accepts no new rooms: room limit reached\n"
        assert await server.ask("GET", "/readyz") == (200, full), "a full node stays ready for resumes and viewers"
        server.node.draining = True
        assert await server.ask("GET", "/readyz") == (503, "draining\n")
        assert await server.ask("GET", "/livez") == (200, "ok\n")


async def test_metrics() -> None:
    async with running(collectors=[Fixed(gauge("sfu_rooms", "Open rooms.", 1))]) as server:
        await server.ask("GET", "/api/v1/rooms/secret-name", token=token(room="secret-name", room_admin=True))
        await server.ask("GET", "/api/v1/rooms", token="bad")
        await server.ask("PROPFIND", "/coffee")
        _, headers, text = await server.exchange("GET", "/metrics")
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert "secret-name" not in text
    samples = {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["sfu_rooms", ()] == 1
    assert samples["sfu_http_requests_total", ("GET", "/api/v1/rooms/{room}", "404")] == 1
    assert samples["sfu_http_requests_total", ("other", "none", "404")] == 1
    assert samples["sfu_tokens_refused_total", ("token_malformed",)] == 1
    assert any(name.startswith("process_") for name, _ in samples)


async def test_metrics_can_be_disabled() -> None:
    async with running(Settings(port=0, metrics=False)) as server:
        assert (await server.ask("GET", "/metrics"))[0] == 404


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "x-forwarded-for", "Via"])
async def test_metrics_can_be_hidden_behind_proxies(header: str) -> None:
    async with running(Settings(port=0, metrics_behind_proxy=False)) as server:
        for headers, status in (({}, 200), ({header: "203.0.113.9"}, 404)):
            async with server.client.get(f"{server.site.name}/metrics", headers=headers) as answer:
                assert answer.status == status


@pytest.mark.parametrize("path", ["/livez", "/api/openapi.json", "/nothing/here", "/api/v1/rooms"])
async def test_security_headers(path: str) -> None:
    async with running() as server:
        _, headers, _ = await server.exchange("GET", path)
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["script-src"] == "'self'"
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'self'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "camera=(self), microphone=(self), display-capture=(self)" in headers["Permissions-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Server"] == "aiosfu"
    assert "Strict-Transport-Security" not in headers


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [(None, True), (LISTED, True), ("own", True), ("https://evil.example", False), ("null", False)],
)
async def test_origins(origin: str | None, allowed: bool) -> None:
    async with running(Settings(port=0, allowed_origins=(LISTED,))) as server:
        own = f"http://127.0.0.1:{server.port}"
        headers = {} if origin is None else {"Origin": own if origin == "own" else origin}
        status, answered, body = await server.exchange(
            "GET", "/api/v1/rooms", token=token(room_list=True), headers=headers
        )
        assert status == (200 if allowed else 403)
        assert answered.get("Access-Control-Allow-Origin") == (headers.get("Origin") if allowed else None)
        assert answered.get("Vary") == ("Origin" if origin else None)
        if not allowed:
            assert body["code"] == "origin_refused"
        asked = headers | {"Access-Control-Request-Method": "POST"}
        status, answered, _ = await server.exchange("OPTIONS", "/api/v1/rooms", headers=asked)
        if origin is not None:
            assert status == (204 if allowed else 403)
            assert ("Access-Control-Allow-Headers" in answered) is allowed


async def test_errors_are_readable_for_allowed_origins() -> None:
    async with running(Settings(port=0, allowed_origins=(LISTED,))) as server:
        status, headers, _ = await server.exchange("GET", "/api/v1/rooms", headers={"Origin": LISTED})
    assert status == 401
    assert headers["Access-Control-Allow-Origin"] == LISTED


async def test_unknown_routes_and_methods() -> None:
    async with running() as server:
        assert await server.ask("GET", "/nothing") == (404, {"code": "not_found", "message": "Not Found."})
        status, headers, body = await server.exchange("PUT", "/api/v1/rooms")
        assert (status, body["code"]) == (405, "method_not_allowed")
        assert set(headers["Allow"].split(",")) == {"GET", "HEAD", "POST"}


async def test_unexpected_exception_is_500_with_logged_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        raise RuntimeError("inner secret")

    async with running(routes=[web.get("/broken", broken)]) as server:
        status, body = await server.ask("GET", "/broken")
    assert (status, body["code"]) == (500, "internal")
    assert "inner secret" not in json.dumps(body)
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.exc_info is not None


async def test_access_log_contains_neither_query_nor_names(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = token(room="secret-name", room_admin=True)
    async with running() as server:
        await server.ask("GET", f"/api/v1/rooms/secret-name?access_token={secret}", token=secret)
        await server.ask("GET", f"/secret-name?token={secret}")
        await server.ask("GET", "/livez")
    records = [each for each in caplog.records if each.getMessage() == "request"]
    assert [each.__dict__["route"] for each in records] == ["/api/v1/rooms/{room}", "none", "/livez"]
    assert [each.levelno for each in records] == [logging.INFO, logging.INFO, logging.DEBUG]
    for each in caplog.records:
        assert "secret-name" not in str(vars(each))
        assert secret not in str(vars(each))


async def test_access_log_can_be_disabled(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with running(access_log=False) as server:
        await server.ask("GET", "/livez")
    assert [each for each in caplog.records if each.getMessage() == "request"] == []
