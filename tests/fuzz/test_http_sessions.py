"""Random requests to the WHIP and WHEP resources of a running server: each answer is one that the documents describe.

Methods, paths, tokens, content types, preconditions and bodies are combined, and bodies are mutated.
"""

import random
from collections.abc import AsyncIterator

import pytest

from sfu.signaling.settings import Settings
from tests.signaling.test_whep import NEW, TRICKLE, recvonly
from tests.support.whip import FRAGMENT, ORIGIN, Answer, WhipServer, encoder_token, until, whip_server

REQUESTS = 250
METHODS = ("POST", "PATCH", "PATCH", "DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE")
TYPES = ("application/sdp", FRAGMENT, "application/json", "text/plain", "application/sdp; charset=utf-8", "x")
STATUSES = {200, 201, 204, 400, 401, 403, 404, 405, 406, 408, 409, 412, 413, 415, 422, 428, 429, 503}
TOKENS = (encoder_token("obs"), encoder_token("eve"), encoder_token("eve", room="other"), "", "x.y.z")
WITHOUT_BODY = ("HEAD", "OPTIONS")


@pytest.fixture
async def server() -> AsyncIterator[WhipServer]:
    settings = Settings(
        http_session_burst=100_000, unjoined_per_address=1_000, message_rate=1_000.0, message_burst=1_000
    )
    async with whip_server(settings) as running:
        yield running


class Fuzzer:
    def __init__(self, server: WhipServer, seed: int) -> None:
        self.server = server
        self.random = random.Random(seed)
        peer = server.peer()
        self.bodies = [peer.offer(), recvonly(peer), NEW, TRICKLE, '["active"]', '{"maxWidth": 320}', ""]
        self.urls = [
            "/whip/standup",
            "/whep/standup",
            "/whep/standup/obs",
            "/whep/standup/obs/camera",
            "/whep/standup/a/b",
        ]
        self.sessions: list[str] = []
        self.tags = ["*", '"guess"', '"a", "b"', ""]

    def path(self) -> str:
        choose = self.random
        if self.sessions and choose.random() < 0.6:
            url = choose.choice(self.sessions[-4:])
            return url + (choose.choice(("", "", "/sse", "/layer", "/sse/guess")) if "whep" in url else "")
        return choose.choice((*self.urls, "/whip/standup/guess", "/whep-session/guess"))

    def body(self) -> bytes:
        choose = self.random
        data = bytearray(choose.choice(self.bodies).encode())
        for _ in range(choose.choice((0, 0, 0, 1, 3))):
            at = choose.randrange(len(data) + 1)
            data[at : at + choose.randrange(3)] = choose.randbytes(choose.randrange(4))
        return bytes(data * choose.choice((1, 1, 1, 1, 40)))

    async def ask(self) -> tuple[str, str, Answer]:
        choose = self.random
        if choose.random() < 0.15:
            return await self.create()
        method, path = choose.choice(METHODS), self.path()
        headers = {}
        if choose.random() < 0.7:
            headers["If_Match"] = choose.choice(self.tags)
        if choose.random() < 0.3:
            headers["Origin"] = choose.choice((ORIGIN, "https://evil.example.org"))
        body = None if method in WITHOUT_BODY else self.body()
        content_type = choose.choice((*TYPES, *(FRAGMENT if method == "PATCH" else "application/sdp",) * 6))
        token = choose.choice((*TOKENS, *(TOKENS[0] if "whip" in path else TOKENS[1],) * 6))
        answer = await self.server.ask(method, path, body, token=token, content_type=content_type, **headers)
        return method, path, self.noted(answer)

    async def create(self) -> tuple[str, str, Answer]:
        """An encoder or a player that does it right."""
        number = self.random.randrange(2)
        path = ("/whip/standup", "/whep/standup/obs")[number]
        return "POST", path, self.noted(await self.server.ask("POST", path, self.bodies[number], token=TOKENS[number]))

    def noted(self, answer: Answer) -> Answer:
        if "ETag" in answer.headers:
            self.tags.append(answer.headers["ETag"])
        location = answer.headers.get("Location", "")
        if location and "/sse" not in location:
            self.sessions.append(location)
        return answer


@pytest.mark.parametrize("seed", range(3))
async def test_every_answer_is_described(server: WhipServer, seed: int) -> None:
    fuzzer = Fuzzer(server, seed)
    seen = set()
    for _ in range(REQUESTS):
        method, path, answer = await fuzzer.ask()
        assert answer.status in STATUSES, (method, path, answer)
        refused = answer.status >= 400 and answer.status != 406 and method != "HEAD"
        assert bool(answer.problem) == refused, (method, path, answer)
        if refused:
            assert answer.problem["status"] == answer.status
            assert answer.problem["code"]
            assert answer.problem["detail"]
        assert ("Location" in answer.headers) == (answer.status in (201, 406)), (method, path, answer)
        seen.add((method, answer.status))
    statuses = {status for _, status in seen}
    assert statuses >= {200, 201, 400, 401, 404, 405}
    assert len(statuses) >= 9
    for url in fuzzer.sessions:
        for identity in ("obs", "eve"):
            await server.ask("DELETE", url, token=encoder_token(identity))
    await until(lambda: not sum(server.signaling.statistics().http_sessions.values()))
    assert not server.webrtc_server.connections
