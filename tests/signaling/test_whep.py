"""WHEP over real HTTP and media: the requests of the draft and their answers, and the viewer behind a session."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from sfu.rooms import Settings as RoomSettings
from sfu.signaling.settings import Settings
from sfu.transport.settings import Settings as TransportSettings
from tests.support.peer import RawPeer
from tests.support.whip import FRAGMENT, ORIGIN, Answer, WhipServer, encoder_token, until, whip_server
from tests.support.wire import Rtp, rtp, vp8

VIEWER = encoder_token("eve")
CAMERA = "/whep/standup/obs"
NEW = "a=ice-ufrag:new1\r\na=ice-pwd:new-password-of-22-chars\r\n"
TRICKLE = "a=ice-ufrag:raw1\r\na=ice-pwd:raw-password-of-22-chars\r\na=end-of-candidates\r\n"
H264 = "H264/90000\r\na=fmtp:96 packetization-mode=1;profile-level-id=42e01f"


@pytest.fixture
async def server() -> AsyncIterator[WhipServer]:
    async with whip_server() as running:
        yield running


def recvonly(peer: RawPeer | None = None) -> str:
    """An offer that receives audio and video. The ids differ from those of the server."""
    offering = peer or RawPeer()
    if peer is None:
        offering.close()
    return offering.offer().replace("a=sendonly", "a=recvonly").replace("extmap:4", "extmap:9")


class Encoder:
    """A participant `obs` that publishes over WHIP."""

    def __init__(self, server: WhipServer) -> None:
        self.server = server
        self.peer = server.peer()
        self.url = ""
        self.sequence = 0

    async def publish(self, identity: str = "obs") -> "Encoder":
        answer = await self.server.post(self.peer.offer(), token=encoder_token(identity))
        assert answer.status == 201, answer
        self.url = answer.headers["Location"]
        await self.server.connect(self.peer, answer.text)
        return self

    def send(self) -> None:
        """One keyframe and one audio packet."""
        self.sequence += 1
        time = 3000 * self.sequence
        self.peer.send(rtp(vp8(key=True), ssrc=2, sequence=self.sequence, timestamp=time, extensions={4: b"1"}))
        sound = rtp(b"sound", payload_type=111, ssrc=1, sequence=self.sequence, timestamp=time, extensions={4: b"0"})
        self.peer.send(sound)


class Viewer:
    def __init__(self, server: WhipServer, peer: RawPeer, answer: Answer) -> None:
        self.server, self.peer, self.answer = server, peer, answer
        self.url = answer.headers.get("Location", "")
        self.packets: list[Rtp] = []

    async def ask(self, method: str, path: str = "", body: str | None = None, **options: Any) -> Answer:
        return await self.server.ask(method, self.url + path, body, **{"token": VIEWER, **options})

    async def receives(self, encoder: Encoder, more: int = 3) -> list[Rtp]:
        """Waits for more packets of both kinds, and returns those of the video."""
        self.packets.clear()

        def enough() -> bool:
            encoder.send()
            self.packets += map(Rtp.parse, self.peer.media())
            return all(len(self.of(kind)) >= more for kind in (96, 111))

        await until(enough)
        return self.of(96)

    def of(self, payload_type: int) -> list[Rtp]:
        return [packet for packet in self.packets if packet.payload_type == payload_type and packet.payload]


async def watch(server: WhipServer, path: str = CAMERA, *, connect: bool = True, **options: Any) -> Viewer:
    peer = server.peer()
    answer = await server.ask("POST", path, recvonly(peer), **{"token": VIEWER, **options})
    assert answer.status == 201, answer
    if connect:
        await server.connect(peer, answer.text)
    return Viewer(server, peer, answer)


async def test_a_session_from_offer_to_delete(server: WhipServer) -> None:
    encoder = await Encoder(server).publish()
    viewer = await watch(server, Origin=ORIGIN)
    headers, sdp = viewer.answer.headers, viewer.answer.text
    assert headers["Content-Type"] == "application/sdp"
    assert headers["ETag"].startswith('"')
    assert headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "/sse>" in headers.getall("Link")[0]  # type: ignore[attr-defined]  # a multidict
    assert sdp.count("a=sendonly") == 2
    assert "a=extmap:9 urn:ietf:params:rtp-hdrext:sdes:mid" in sdp
    assert [one.identity for one in server.rooms.find("standup").members.visible()] == ["obs"]
    assert server.signaling.statistics().http_sessions == {"whip": 1, "whep": 1}

    video = await viewer.receives(encoder)
    assert {packet.extensions[9] for packet in video} == {b"1"}
    assert f"a=ssrc:{video[0].ssrc} " in sdp

    assert (await viewer.ask("DELETE")).status == 200
    assert (await viewer.ask("DELETE")).status == 404
    assert server.signaling.statistics().http_sessions == {"whip": 1, "whep": 0}
    assert len(server.rooms.find("standup").members) == 1


async def test_the_next_track_continues_the_stream(server: WhipServer) -> None:
    """The publisher leaves and comes back: the m-line keeps its SSRC, and sequence numbers continue, as SRTP requires."""
    encoder = await Encoder(server).publish()
    viewer = await watch(server)
    before = await viewer.receives(encoder)
    last = max(packet.sequence for packet in before)
    for _ in range(2):
        assert (await server.ask("DELETE", encoder.url)).status == 200
        encoder = await Encoder(server).publish()
        after = await viewer.receives(encoder)
        assert {packet.ssrc for packet in after} == {before[0].ssrc}
        assert last < after[0].sequence <= last + 20
        assert 0 < (after[0].timestamp - before[-1].timestamp) & 0xFFFFFFFF < 90_000 * 20
        before, last = after, max(packet.sequence for packet in after)


async def test_audio_alone_and_one_track(server: WhipServer) -> None:
    await Encoder(server).publish()
    one = await watch(server, f"{CAMERA}/camera", connect=False)
    assert "m=audio 0 " in one.answer.text
    assert "m=video 9 " in one.answer.text
    audio_only = recvonly().partition("m=video")[0].replace("BUNDLE 0 1", "BUNDLE 0")
    answer = await server.ask("POST", CAMERA, audio_only, token=VIEWER)
    assert answer.status == 201
    assert answer.text.count("m=") == 1


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("no token", {"token": ""}, 401, "token_missing"),
    ("expired", {"token": encoder_token("eve", later=-7200.0)}, 401, "token_expired"),
    ("another room's token", {"token": encoder_token("eve", room="other")}, 403, "not_authorized"),
    ("no join", {"token": encoder_token("eve", room_join=False)}, 403, "not_authorized"),
    ("no subscribing", {"token": encoder_token("eve", can_subscribe=False)}, 403, "not_authorized"),
    ("JSON", {"content_type": "application/json"}, 415, "unsupported_media"),
    ("other origin", {"Origin": "https://evil.example.org"}, 403, "origin_refused"),
    ("not SDP", {"offer": "hello"}, 400, "bad_request"),
    ("too long", {"offer": "v=0\r\n" + "a=x\r\n" * 20_000}, 413, "too_large"),
    ("sends", {"offer": recvonly().replace("recvonly", "sendonly")}, 422, "no_media"),
    ("no fingerprint", {"offer": recvonly().replace("a=fingerprint", "a=x")}, 422, "bad_request"),
    ("unknown source", {"path": f"{CAMERA}/window"}, 404, "not_found"),
    ("unknown participant", {"path": "/whep/standup/bob"}, 409, "not_live"),
    ("no screen", {"path": f"{CAMERA}/screen_share"}, 409, "not_live"),
    ("no mix", {"path": "/whep/standup"}, 409, "not_live"),
    ("no room", {"path": "/whep/other/obs", "token": encoder_token("eve", room="other")}, 409, "not_live"),
]


@pytest.mark.parametrize(("options", "status", "code"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_refused_offers(server: WhipServer, options: dict[str, Any], status: int, code: str) -> None:
    """A refused offer leaves no viewer, and the answer is a problem document with a reason."""
    await Encoder(server).publish()
    options = {"path": CAMERA, "offer": recvonly(), "token": VIEWER} | options
    answer = await server.ask("POST", options.pop("path"), options.pop("offer"), **options)
    assert (answer.status, answer.problem["status"], answer.problem["code"]) == (status, status, code), answer
    assert ("Retry-After" in answer.headers) == (status == 409)
    assert len(server.rooms.find("standup").members) == 1
    assert len(server.webrtc_server.connections) == 1


@pytest.mark.parametrize("path", [CAMERA, "/whep/standup", "session"])
async def test_other_methods(server: WhipServer, path: str) -> None:
    if path == "session":
        await Encoder(server).publish()
        path = (await watch(server, connect=False)).url
    for method in ("GET", "HEAD"):
        answer = await server.ask(method, path, token=VIEWER)
        assert (answer.status, answer.text) == (204 if "session" in path else 200, "")
        assert "session" in path or answer.headers["Content-Type"].startswith("application/sdp")
    assert (await server.ask("PUT", path, "x", token=VIEWER)).status == 405
    preflight = await server.ask("OPTIONS", path, token="", Origin=ORIGIN, Access_Control_Request_Method="POST")
    assert preflight.status == 200
    assert preflight.headers["Accept-Patch" if "session" in path else "Accept-Post"] == (
        FRAGMENT if "session" in path else "application/sdp"
    )


async def test_patch(server: WhipServer) -> None:
    await Encoder(server).publish()
    viewer = await watch(server, connect=False)
    etag = viewer.answer.headers["ETag"]

    async def patch(body: str, expected: int, content_type: str = FRAGMENT, **headers: str) -> Answer:
        answer = await viewer.ask("PATCH", "", body, content_type=content_type, **headers)
        assert answer.status == expected, answer
        return answer

    await patch(TRICKLE, 204, If_Match=etag)
    await patch(TRICKLE, 428)
    await patch(TRICKLE, 412, If_Match='"stale"')
    await patch("nonsense", 400, If_Match=etag)
    await patch("{}", 415, content_type="application/json", If_Match=etag)
    await patch("v=0\r\n", 409, content_type="application/sdp")  # there is no offer to answer
    restarted = await patch(NEW, 200, If_Match="*")
    assert restarted.headers["ETag"] != etag
    assert "a=ice-ufrag:" in restarted.text
    await patch(TRICKLE, 412, If_Match=etag)
    repeated = await patch(NEW, 200, If_Match="*")  # the answer was lost
    assert (repeated.text, repeated.headers["ETag"]) == (restarted.text, restarted.headers["ETag"])


NOT_CARRIED = {
    "no BUNDLE": lambda sdp: sdp.replace("a=group:BUNDLE 0 1\r\n", ""),
    "another codec": lambda sdp: sdp.replace("VP8/90000", H264),
}


@pytest.mark.parametrize("name", NOT_CARRIED)
async def test_the_server_offers_when_the_offer_cannot_carry_the_tracks(server: WhipServer, name: str) -> None:
    encoder = await Encoder(server).publish()
    peer = server.peer()
    answer = await server.ask("POST", CAMERA, NOT_CARRIED[name](recvonly(peer)), token=VIEWER)
    assert (answer.status, answer.headers["Content-Type"]) == (406, "application/sdp")
    viewer = Viewer(server, peer, answer)
    for wrong in ("hello", "v=0\r\n", recvonly(peer)):
        assert (await viewer.ask("PATCH", "", wrong)).status == 400
    assert (await viewer.ask("PATCH", "", NEW, content_type=FRAGMENT, If_Match="*")).status == 409
    assert (await viewer.ask("PATCH", "", peer.answer(answer.text))).status == 204
    assert (await viewer.ask("PATCH", "", peer.answer(answer.text))).status == 409
    await server.connect(peer, answer.text)
    numbers = {line.split(":")[1].split()[0] for line in answer.text.split("\r\n") if "VP8/" in line or "opus/" in line}
    received: list[Rtp] = []

    def both() -> bool:
        encoder.send()
        received.extend(map(Rtp.parse, peer.media()))
        return numbers <= {str(packet.payload_type) for packet in received}

    await until(both)


async def test_an_offer_of_the_server_without_an_answer_ends() -> None:
    transport = TransportSettings(udp_port=0, bind=("127.0.0.1",), include_loopback=True, connect_timeout=0.2)
    async with whip_server(transport=transport) as server:
        await Encoder(server).publish()
        answer = await server.ask("POST", CAMERA, recvonly().replace("VP8/90000", H264), token=VIEWER)
        assert answer.status == 406
        await until(lambda: server.signaling.statistics().http_sessions["whep"] == 0)
        assert (await server.ask("GET", answer.headers["Location"], token=VIEWER)).status == 404


async def test_a_session_answers_its_bearer_only(server: WhipServer) -> None:
    await Encoder(server).publish()
    viewer = await watch(server, connect=False)
    for method, path, body in (
        ("PATCH", "", TRICKLE),
        ("GET", "", None),
        ("POST", "/sse", "[]"),
        ("POST", "/layer", "{}"),
    ):
        for token, status in (("", 401), (encoder_token("mallory"), 404), (encoder_token("obs"), 404)):
            content_type = FRAGMENT if method == "PATCH" else "application/json" if body else None
            sent = await viewer.ask(method, path, body, token=token, content_type=content_type, If_Match="*")
            assert sent.status == status, (method, path, token)
    encoder_url = next(iter(server.signaling._http_sessions)).key
    assert (
        await server.ask("POST", f"/whep-session/{encoder_url}/sse", "[]", content_type="application/json")
    ).status == 404


async def test_lock_and_lobby(server: WhipServer) -> None:
    """A viewer is hidden, but does not pass a lock or a lobby."""
    await Encoder(server).publish()
    for lobby in (False, True):
        server.rooms.update("standup", locked=not lobby, lobby=lobby)
        answer = await server.ask("POST", CAMERA, recvonly(), token=VIEWER)
        assert (answer.status, answer.problem["code"]) == (409, "lobby" if lobby else "room_locked")
        admin = await server.ask("POST", CAMERA, recvonly(), token=encoder_token("eve", room_admin=True))
        assert admin.status == 201


async def test_a_kick_of_a_person_ends_what_it_watches(server: WhipServer) -> None:
    await Encoder(server).publish()
    await Encoder(server).publish("ada")
    await watch(server, token=encoder_token("ada"), connect=False)
    server.rooms.kick("standup", "ada")
    await until(lambda: server.signaling.statistics().http_sessions["whep"] == 0)


async def test_a_kick_of_a_viewer_revokes_its_token(server: WhipServer) -> None:
    await Encoder(server).publish()
    viewer = await watch(server, connect=False)
    hidden = next(one for one in server.rooms.find("standup").members if one.permissions.hidden)
    server.rooms.kick("standup", hidden.identity)
    assert (await viewer.ask("GET")).status == 404
    assert (await server.ask("POST", CAMERA, recvonly(), token=VIEWER)).status == 401


async def test_the_end_of_the_room_ends_its_viewers(server: WhipServer) -> None:
    await Encoder(server).publish()
    await watch(server)
    server.rooms.delete("standup")
    assert server.signaling.statistics().http_sessions == {"whip": 0, "whep": 0}
    assert not server.webrtc_server.connections


async def test_limits() -> None:
    settings = Settings(max_viewers_per_identity=2, message_rate=0.1, message_burst=20)
    async with whip_server(settings, RoomSettings(max_participants=4)) as server:
        await Encoder(server).publish()
        viewers = [await watch(server, connect=False) for _ in range(2)]
        more = await server.ask("POST", CAMERA, recvonly(), token=VIEWER)
        assert (more.status, more.problem["code"]) == (429, "too_many_viewers")
        await watch(server, token=encoder_token("other"), connect=False)
        full = await server.ask("POST", CAMERA, recvonly(), token=encoder_token("third"))
        assert (full.status, full.problem["code"]) == (503, "room_full")
        assert (await viewers[0].ask("DELETE")).status == 200
        await watch(server, connect=False)
        statuses = [(await viewers[1].ask("PATCH", "", TRICKLE, content_type=FRAGMENT)).status for _ in range(30)]
        assert set(statuses) == {428, 429}
        server.full = "the test says so"
        assert (await server.ask("POST", CAMERA, recvonly(), token=encoder_token("fourth"))).status == 503


async def test_a_crowd_of_one_address_is_limited() -> None:
    async with whip_server(Settings(http_session_burst=5, max_viewers_per_identity=100)) as server:
        await Encoder(server).publish()
        statuses = [(await server.ask("POST", CAMERA, recvonly(), token=VIEWER)).status for _ in range(8)]
        assert statuses == [201] * 4 + [429] * 4


class Events:
    """A reader of server-sent events."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self) -> tuple[str, Any]:
        name = ""
        async with asyncio.timeout(10):
            async for line in self._response.content:
                if line.startswith(b"event: "):
                    name = line[7:].strip().decode()
                elif line.startswith(b"data: "):
                    return name, json.loads(line[6:])
        raise AssertionError("the stream has ended")


async def test_events(server: WhipServer) -> None:
    encoder = await Encoder(server).publish()
    viewer = await watch(server)
    as_json = {"content_type": "application/json"}
    for wrong in ("{}", "[]", '["other"]', "[1]", "nonsense"):
        assert (await viewer.ask("POST", "/sse", wrong, **as_json)).status == 400
    created = await viewer.ask("POST", "/sse", '["active","inactive","viewercount","layers"]', **as_json)
    assert created.status == 201
    url = created.headers["Location"]
    assert (await server.ask("GET", f"{viewer.url}/sse/guess", token="")).status == 404
    async with server.http.get(url) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        events = Events(response)
        first = dict([await events.next() for _ in range(3)])
        assert (first["active"], first["viewercount"]) == ({}, {"viewercount": 1})
        assert set(first["layers"]) == {"1"}

        second = await watch(server, connect=False)
        while (event := await events.next())[0] != "viewercount":
            pass
        assert event[1] == {"viewercount": 2}
        await second.ask("DELETE")
        await server.ask("DELETE", encoder.url)
        while (await events.next())[0] != "inactive":
            pass
        encoder = await Encoder(server).publish()
        while (await events.next())[0] != "active":
            pass
        await viewer.receives(encoder)
        assert (await viewer.ask("DELETE", f"/sse/{url.rpartition('/')[2]}")).status == 200
    assert (await server.ask("GET", url, token="")).status == 404


async def test_layers(server: WhipServer) -> None:
    encoder = await Encoder(server).publish()
    viewer = await watch(server)
    await viewer.receives(encoder)
    hidden = next(one for one in server.rooms.find("standup").members if one.permissions.hidden)
    (camera,) = [one for one in server.rooms.find("standup").publications if one.media.kind == "video"]

    async def select(body: str) -> int:
        return (await viewer.ask("POST", "/layer", body, content_type="application/json")).status

    assert await select('{"mediaId": "1", "maxWidth": 320, "maxHeight": 180}') == 200
    assert hidden.subscriptions.settings(camera.id).width == 320
    for wrong in ('{"mediaId": "0"}', '{"encodingId": "x"}', '{"maxWidth": -1}', "[]"):
        assert await select(wrong) == 400
    assert await select("{}") == 200
    assert hidden.subscriptions.settings(camera.id).width == 0
