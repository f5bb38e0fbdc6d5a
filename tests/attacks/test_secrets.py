"""Logs of both kinds, metrics and traces of a whole meeting contain no names, messages or credentials: the test searches
them for every secret of the meeting.

Many requests fail, because failures are logged: tokens of a wrong key, invalid SDP, invalid messages, a destination that
accepts nothing, a worker that is killed.
"""

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest

from tests.support.client import Client
from tests.telemetry.test_traces import Collector, collecting
from tests.web.server import ServerProcess, serve

KEY, SECRET = "the-issuer", "signing-secret-of-more-than-32-bytes-Zq7"
TURN_SECRET = "turn-secret-Wm4"
ROOM = "Quarterly-Layoffs"
PEOPLE = {"ada": "Ada Lovelace-Xk9", "bob": "Bob Ünïcode-Yp3"}
CHAT, PRIVATE = "the-merger-is-off-Lr2", "only-for-bob-Hs6"
DATA, TOPIC = "whiteboard-stroke-Vn8", "topic-of-data-Cd1"
METADATA, ATTRIBUTE, ROOM_METADATA = "metadata-of-ada-Gt5", "attribute-of-ada-Jb0", "metadata-of-room-Fe4"
STREAM_KEY, OTHER_KEY = "live-stream-key-Qa9", "other-stream-key-Ub3"
S3_SECRET = "storage-secret-Ik7"
GARBAGE = "garbage-with-a-password-Ow2"
PLAIN = (
    SECRET, TURN_SECRET, ROOM, *PEOPLE.values(), CHAT, PRIVATE, DATA, TOPIC, METADATA, ATTRIBUTE, ROOM_METADATA,
    STREAM_KEY, OTHER_KEY, S3_SECRET, GARBAGE, "identity-of-ada", "identity-of-bob", "raw-password-of-22-chars",
    "fresh-name-Rr1", "viewer-agent-Ag5", "Eve Unknown-Ev1",
)  # fmt: skip


def token(identity: str, name: str = "", *, secret: str = SECRET, lifetime: float = 3600, **video: object) -> str:
    now = int(time.time())
    grants = {"room": ROOM, "roomJoin": True, "roomAdmin": True, "roomRecord": True, "roomEgress": True, **video}
    claims = {"iss": KEY, "sub": identity, "nbf": now - 10, "exp": int(now + lifetime), "video": grants}
    return jwt.encode(claims | {"name": name, "metadata": METADATA}, secret, algorithm="HS256")


class Meeting:
    """Collects every secret that comes up."""

    def __init__(self, server: ServerProcess, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.http = http
        self.secrets: set[str] = set(PLAIN)
        self.admin = self.minted("backoffice", roomList=True, roomCreate=True)
        self.metrics = ""

    def minted(self, identity: str, name: str = "", **more: Any) -> str:
        made = token(identity, name, **more)
        self.secrets |= {made, made.split(".")[1], made.split(".")[2]}
        return made

    def saw(self, told: object) -> None:
        """Secrets that the server issued to one client."""
        if isinstance(told, dict):
            for key, value in told.items():
                if key in ("resume_key", "credential", "username") and isinstance(value, str):
                    self.secrets.add(value)
                elif key == "sdp" and isinstance(value, str):
                    self.secrets |= set(re.findall(r"a=(?:ice-pwd|ice-ufrag|fingerprint):(\S.*?)\r\n", value))
                else:
                    self.saw(value)
        elif isinstance(told, list):
            for each in told:
                self.saw(each)

    def client(self, who: str) -> Client:
        return Client(self.http, self.server.url, self.minted(f"identity-of-{who}", PEOPLE[who]))

    async def api(self, method: str, path: str, body: object = None) -> int:
        headers = {"Authorization": f"Bearer {self.admin}", "User-Agent": "viewer-agent-Ag5"}
        async with self.http.request(method, f"{self.server.url}/api/v1{path}", json=body, headers=headers) as answer:
            with suppress(ValueError, aiohttp.ContentTypeError):
                self.saw(await answer.json())
            return answer.status

    async def happens(self) -> None:
        ada, bob = self.client("ada"), self.client("bob")
        self.saw(await ada.join())
        await ada.publish()
        self.saw(await bob.join())
        await bob.until(lambda: bob.subscribing.tx)
        me = {"name": "fresh-name-Rr1", "metadata": METADATA + "!", "attributes": {ATTRIBUTE: ATTRIBUTE}}
        assert (await ada.request("metadata", **me))["type"] == "ok"
        assert (await ada.request("chat", text=CHAT))["type"] == "ok"
        assert (await ada.request("data", topic=TOPIC, payload=DATA, keep=True))["type"] == "ok"
        await ada.request("chat", text=PRIVATE, to="PA_nobody")
        assert await self.api("PATCH", f"/rooms/{ROOM}", {"metadata": ROOM_METADATA}) == 200
        await self._recorded(ada)
        await self._mistaken(ada)
        async with self.http.get(
            f"{self.server.url}/api/v1/rooms/{ROOM}/participants/identity-of-bob",
            headers={"Authorization": f"Bearer {self.admin}"},
        ) as answer:
            assert answer.status == 200
            decisions = json.dumps((await answer.json()).get("decisions", []))
        async with self.http.get(f"{self.server.url}/metrics") as answer:
            self.metrics = await answer.text() + decisions
        # Bob's socket drops, he comes back by his key, and is sent away.
        assert await self.api("DELETE", f"/rooms/{ROOM}/participants/identity-of-bob") == 204
        again = self.client("bob")
        refused = Client(self.http, self.server.url, bob._token)
        assert (await refused.join())["type"] == "error"
        for client in (ada, bob, again, refused):
            for event in client.events:
                self.saw(event)
            await client.close()

    async def _recorded(self, ada: Client) -> None:
        """A live stream with a recording and two destinations that want nothing, and a worker that dies."""

        async def closed(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        rude = await asyncio.start_server(closed, "127.0.0.1", 0)
        port = rude.sockets[0].getsockname()[1]
        assert await self.api("PUT", f"/rooms/{ROOM}/egress", {"recording": True, "live": True}) == 200
        for url in (
            f"rtmp://127.0.0.1:{port}/live/{STREAM_KEY}",
            f"rtmp://user:{OTHER_KEY}@127.0.0.1:1/app/{OTHER_KEY}",
        ):
            assert await self.api("POST", f"/rooms/{ROOM}/egress/destinations", {"url": url}) in (201, 400)
        await self.api("POST", f"/rooms/{ROOM}/egress/destinations", {"url": f"http://h/{OTHER_KEY}"})
        await self.api("PUT", f"/rooms/{ROOM}/egress/scene", {"scene": GARBAGE})
        assert await self.api("PUT", f"/rooms/{ROOM}/egress/tracks", {}) in (200, 201, 204)
        killed = False
        deadline = time.monotonic() + 30
        while "egress live" not in self.server.log.read_text() or not killed:
            assert time.monotonic() < deadline
            for _ in range(10):
                ada.send()
                await asyncio.sleep(0.02)
            if not killed and "egress live" in self.server.log.read_text():
                killed = True
                await asyncio.sleep(2.0)  # the destinations are tried and lost
                for worker in _children(self.server.process.pid):
                    os.kill(worker, signal.SIGKILL)
        for _ in range(50):
            ada.send()
            await asyncio.sleep(0.02)
        async with self.http.post(f"{self.server.url}/hls/{ROOM}/token", headers={
            "Authorization": f"Bearer {self.admin}"}) as answer:  # fmt: skip
            told = await answer.text()
            self.secrets |= set(re.findall(r"[A-Za-z0-9_-]{40,}", told))
        await self.api("DELETE", f"/rooms/{ROOM}/egress")
        await self.api("DELETE", f"/rooms/{ROOM}/egress/tracks")
        rude.close()
        await rude.wait_closed()

    async def _mistaken(self, ada: Client) -> None:
        """Invalid requests that contain secrets."""
        url = self.server.url
        wrong = (
            self.minted("identity-of-eve", "Eve Unknown-Ev1", secret="another-secret-of-more-than-32-bytes-000"),
            self.minted("identity-of-eve", "Eve Unknown-Ev1", lifetime=-300),
            f"{GARBAGE}.{GARBAGE}.{GARBAGE}", GARBAGE * 20,
        )  # fmt: skip
        for each in wrong:
            client = Client(self.http, url, each)
            await client.join()
            await client.close()
            for path in (f"/api/v1/rooms?token={each}", f"/hls/{ROOM}/{each}/index.m3u8", f"/watch/{each}", f"/{each}"):
                async with self.http.get(url + path, headers={"Authorization": f"Bearer {each}"}) as answer:
                    await answer.read()
            async with self.http.get(f"{url}/ws", headers={"Sec-WebSocket-Protocol": f"sfu, token.{each}"[:4000]}):
                pass
        async with self.http.post(f"{url}/api/v1/rooms", data=GARBAGE, headers={
            "Authorization": f"Bearer {self.admin}", "Content-Type": "application/json"}):  # fmt: skip
            pass
        for request in (
            {"type": "publish", "sdp": f"v=0\r\na=ice-pwd:{GARBAGE}\r\nm={GARBAGE}", "tracks": []},
            {"type": "answer", "sdp": GARBAGE},
            {"type": "candidate", "candidate": f"candidate:{GARBAGE}", "mid": "0"},
            {"type": GARBAGE},
            {"type": "chat", "text": GARBAGE, "to": [GARBAGE]},
            {"type": "subscribe", "track": GARBAGE},
            {"type": "kick", "participant": GARBAGE},
        ):
            await ada._socket.send_json({"id": 900, **request})
        await ada._socket.send_str(f'{{"{GARBAGE}')
        await asyncio.sleep(0.3)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write(f"GET /ws?token={self.admin} HTTP/9.{GARBAGE}\r\nX: {GARBAGE}\r\n\r\n".encode())
        await reader.read()
        writer.close()


def _children(parent: int) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                yield int(path.parent.name)


@asynccontextmanager
async def opened(folder: Path, form: str, collector: Collector) -> AsyncIterator[Meeting]:
    keys = folder / "keys"
    keys.write_text(f"{KEY}: {SECRET}\n")
    settings = {
        "http.host": "127.0.0.1", "rtc.include_loopback": "true", "auth.keys_file": keys, "log.level": "debug",
        "log.format": form, "traces.endpoint": collector.url, "traces.delay": 0.2, "turn.urls": "turn:turn.example.org",
        "egress.directory": folder / "recordings", "egress.rtmp_allow_private": "true",
        "outputs.renditions": "426x240@300", "outputs.hls.directory": folder / "hls",
    }  # fmt: skip
    if form == "json":  # recordings go to a storage that is not there, which takes a while
        settings |= {"egress.s3.bucket": "bucket", "egress.s3.endpoint": "http://127.0.0.1:1"}
    environment = {"SFU_TURN__SECRET": TURN_SECRET, "SFU_EGRESS__S3__SECRET_KEY": S3_SECRET}
    async with serve(folder / "log", settings, environment) as server, aiohttp.ClientSession() as http:
        yield Meeting(server, http)


@pytest.mark.parametrize("form", ["json", "text"])
async def test_a_meeting_leaves_nothing_private_behind(tmp_path: Path, form: str) -> None:
    async with collecting() as collector:
        async with opened(tmp_path, form, collector) as meeting:
            await meeting.happens()
            await asyncio.sleep(0.5)
        traces = "\n".join(str(span) for span in collector.spans)
    log = (tmp_path / "log").read_text()
    assert "session joined" in log
    assert "egress live" in log
    assert "admin operation" in log
    assert "sfu_joins_refused_total" in meeting.metrics
    assert 'name: "join"' in traces
    found = []
    for what, text in (("log", log), ("metrics", meeting.metrics), ("traces", traces)):
        # Verbatim, as JSON writes it, and as protobuf's text format does.
        readable = (
            text + json.dumps(text, ensure_ascii=False) + text.encode().decode("unicode_escape", errors="replace")
        )
        for secret in sorted(meeting.secrets):
            if len(secret) > 3 and (secret in readable or json.dumps(secret)[1:-1] in readable):
                line = next((line for line in text.splitlines() if secret in line), "")
                found.append((what, secret, line[:400]))
    assert found == []
