"""sfu.signaling.http_resources: problem documents, links, bearer tokens, conditions and CORS of all HTTP sessions.

`test_whip` and `test_whep` send the requests of their protocols.
"""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from msgspec import json

from sfu.auth.addresses import ClientAddresses
from sfu.auth.origins import Origins
from sfu.auth.tokens import TOKEN_LIMIT
from sfu.errors import AtCapacity, BadRequest, NotAuthorized, NotFound, RateLimited
from sfu.signaling.http_resources import (
    EXPOSED,
    HttpResources,
    Refusal,
    _matches_any,
    bearer,
    link_headers,
    problem,
)
from sfu.signaling.http_sessions import HttpSessions
from sfu.signaling.messages import IceServer
from tests.signaling.fakes import World

OURS, FOREIGN = "https://studio.example.org", "https://evil.example.org"


def request(method: str = "GET", path: str = "/whip/standup", **headers: str) -> web.Request:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return make_mocked_request(method, path, headers={"Host": "sfu.example.org", **sent})


def resources() -> HttpResources:
    context = World().context
    return HttpResources(context, HttpSessions(context), Origins((OURS,)), ClientAddresses(()))


@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ((404, "not_found", "Gone."), {}),
        ((401, "token_missing", "Send a token."), {"WWW-Authenticate": "Bearer"}),
        ((401, "token_expired", "Too late."), {"WWW-Authenticate": 'Bearer error="invalid_token"'}),
        ((503, "at_capacity", "Full."), {"Retry-After": "5"}),
        ((429, "rate_limited", "Too fast.", 1.2), {"Retry-After": "2"}),
    ],
)
def test_problem_documents(arguments: Any, headers: dict[str, str]) -> None:
    answer = problem(*arguments)
    status, code, message = arguments[:3]
    assert isinstance(answer.body, bytes)
    body = json.decode(answer.body)
    assert (answer.status, body["status"], body["code"], body["detail"]) == (status, status, code, message)
    assert answer.content_type == "application/problem+json"
    found = {name: value for name, value in answer.headers.items() if name in ("WWW-Authenticate", "Retry-After")}
    assert found == headers


def test_a_link_per_url() -> None:
    servers = [
        IceServer(urls=["stun:stun.example.org"]),
        IceServer(urls=["turn:a.example.org", "turns:a.example.org"], username="u", credential="p"),
    ]
    assert [value for _, value in link_headers(servers)] == [
        '<stun:stun.example.org>; rel="ice-server"',
        *(
            f'<{scheme}:a.example.org>; rel="ice-server"; username="u"; credential="p"; credential-type="password"'
            for scheme in ("turn", "turns")
        ),
    ]


@pytest.mark.parametrize("value", ["Bearer token", "bearer  token ", "BEARER token"])
def test_bearer_tokens(value: str) -> None:
    assert bearer(request(Authorization=value)) == "token"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "token_missing"),
        ({"Authorization": "Basic dTpw"}, "token_missing"),
        ({"Authorization": "Bearer "}, "token_missing"),
        ({"Authorization": "Bearer " + "x" * (TOKEN_LIMIT + 1)}, "token_malformed"),
    ],
)
def test_requests_without_a_token(headers: dict[str, str], code: str) -> None:
    with pytest.raises(NotAuthorized) as error:
        bearer(request(**headers))
    assert error.value.code == code


@pytest.mark.parametrize(("value", "result"), [("*", True), (" * ", True), ('"e"', False), ('"a", "e"', False)])
def test_if_match(value: str, result: bool) -> None:
    assert _matches_any(request("PATCH", If_Match=value), '"e"') is result


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 428), ({"If_Match": '"a"'}, 412), ({"If_Match": 'W/"e"'}, 412), ({"If_Match": "e"}, 412)],
)
def test_conditions_that_do_not_hold(headers: dict[str, str], status: int) -> None:
    with pytest.raises(Refusal) as error:
        _matches_any(request("PATCH", **headers), '"e"')
    assert error.value.status == status


async def ask(respond: Any, method: str = "GET", **headers: str) -> web.StreamResponse:
    """The answer of a path whose GET is `respond`."""
    routes = resources().routes("/whip/{room}", {"GET": respond, "POST": respond})
    found = next(route for route in routes if route.method in (method, "*"))
    answer = found.handler(request(method, **headers))
    return await answer


async def fine(request: web.Request) -> web.Response:
    return web.Response(text="fine")


async def test_cors_of_allowed_and_foreign_origins() -> None:
    answer = await ask(fine, Origin=OURS)
    assert answer.headers["Access-Control-Allow-Origin"] == OURS
    assert (answer.headers["Access-Control-Expose-Headers"], answer.headers["Vary"]) == (EXPOSED, "Origin")
    assert (await ask(fine, Origin=FOREIGN)).status == 403
    assert "Access-Control-Allow-Origin" not in (await ask(fine)).headers


async def test_preflight_and_unknown_methods() -> None:
    preflight = await ask(fine, "OPTIONS", Origin=OURS)
    assert preflight.headers["Access-Control-Allow-Methods"] == "GET, POST, HEAD, OPTIONS"
    assert preflight.headers["Accept-Post"] == "application/sdp"
    assert "Accept-Patch" not in preflight.headers
    refused = await ask(fine, "PUT")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, POST, HEAD, OPTIONS")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Refusal(415, "unsupported_media", "No."), 415),
        (BadRequest("No."), 400),
        (NotFound("No."), 404),
        (NotAuthorized("No.", code="token_expired"), 401),
        (NotAuthorized("No."), 403),
        (RateLimited("No.", retry_after=1.0), 429),
        (AtCapacity("No."), 503),
        (TimeoutError(), 408),
        (web.HTTPRequestEntityTooLarge(1, 2), 413),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
async def test_errors_are_answers(error: Exception, status: int) -> None:
    async def fail(request: web.Request) -> web.Response:
        raise error

    answer = await ask(fail, Origin=OURS)
    assert (answer.status, answer.content_type) == (status, "application/problem+json")
    assert answer.headers["Access-Control-Allow-Origin"] == OURS


async def test_other_errors_are_left_to_the_server() -> None:
    async def fail(request: web.Request) -> web.Response:
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        await ask(fail)
