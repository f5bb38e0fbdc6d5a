"""WHIP over real HTTP and media: the requests of RFC 9725 and their answers, and the participant behind a session."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from sfu.rooms import Settings as RoomSettings
from sfu.rooms.participant import Participant
from sfu.signaling.messages import IceServer
from sfu.signaling.settings import Settings
from sfu.transport.dtls import Identity
from sfu.transport.settings import Settings as TransportSettings
from tests.support.peer import RawPeer
from tests.support.whip import FRAGMENT, ORIGIN, Answer, WhipServer, encoder_token, until, whip_server
from tests.support.wire import rtp, vp8

NEW = "a=ice-ufrag:new1\r\na=ice-pwd:new-password-of-22-chars\r\n"
CANDIDATE = (
    "a=ice-ufrag:raw1\r\na=ice-pwd:raw-password-of-22-chars\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
    "a=candidate:1 1 udp 2130706431 7f2e.local 50000 typ host\r\n"
    "a=candidate:2 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active\r\na=end-of-candidates\r\n"
)


@pytest.fixture
async def server() -> AsyncIterator[WhipServer]:
    async with whip_server() as running:
        yield running


def offer(**options: Any) -> str:
    peer = RawPeer()
    peer.close()
    return peer.offer(**options)


def member(server: WhipServer, identity: str = "obs") -> Participant:
    return server.rooms.participant("standup", identity)


async def opened(server: WhipServer, **options: Any) -> tuple[str, Answer]:
    answer = await server.post(offer(), **options)
    assert answer.status == 201, answer
    return answer.headers["Location"], answer


async def test_a_session_from_offer_to_delete(server: WhipServer) -> None:
    peer = server.peer()
    answer = await server.post(peer.offer(), Origin=ORIGIN)
    assert answer.status == 201
    assert answer.headers["Content-Type"] == "application/sdp"
    assert answer.headers["ETag"].startswith('"')
    assert {"Location", "ETag", "Link"} <= set(answer.headers["Access-Control-Expose-Headers"].split(", "))
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.text.count("a=recvonly") == 2
    assert "a=sendonly" not in answer.text
    assert server.sources == {"obs": ["microphone", "camera"]}
    url = answer.headers["Location"]
    assert len(url.rpartition("/")[2]) >= 22

    await server.connect(peer, answer.text)
    peer.send(rtp(vp8(key=True), ssrc=2, sequence=1, timestamp=3000, extensions={4: b"1"}))
    camera = next(one for one in member(server).publications.values() if one.media.kind == "video")
    await until(lambda: any(one.packets for one in camera.media.track.encodings.values()))
    assert server.signaling.statistics().http_sessions["whip"] == 1
    assert member(server).sink.links()

    assert (await server.ask("DELETE", url)).status == 200
    assert server.sources == {}
    assert (await server.ask("DELETE", url)).status == 404
    assert server.signaling.statistics().http_sessions["whip"] == 0


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("no token", {"token": ""}, 401, "token_missing"),
    ("not a token", {"token": "x.y.z"}, 401, "token_malformed"),
    ("expired", {"token": encoder_token(later=-7200.0)}, 401, "token_expired"),
    ("another room's token", {"token": encoder_token(room="other")}, 403, "not_authorized"),
    ("no join", {"token": encoder_token(room_join=False)}, 403, "not_authorized"),
    ("no publishing", {"token": encoder_token(can_publish=False)}, 403, "not_authorized"),
    ("hidden", {"token": encoder_token(hidden=True)}, 403, "not_authorized"),
    ("no camera", {"token": encoder_token(can_publish_sources=("microphone",))}, 403, "not_authorized"),
    ("no identity", {"token": encoder_token(identity="")}, 403, "not_authorized"),
    ("JSON", {"content_type": "application/json"}, 415, "unsupported_media"),
    ("compressed", {"Content_Encoding": "gzip"}, 415, "unsupported_media"),
    ("other origin", {"Origin": "https://evil.example.org"}, 403, "origin_refused"),
    ("unknown source", {"query": "?source=window"}, 400, "bad_request"),
    ("empty", {"offer": ""}, 400, "bad_request"),
    ("not SDP", {"offer": "hello"}, 400, "bad_request"),
    ("not text", {"offer": b"v=0\r\n\xff"}, 400, "bad_request"),
    ("too long", {"offer": "v=0\r\n" + "a=x\r\n" * 20_000}, 413, "too_large"),
    ("receives", {"offer": offer().replace("sendonly", "recvonly")}, 422, "no_media"),
    ("no fingerprint", {"offer": offer().replace("a=fingerprint", "a=x")}, 422, "bad_request"),
    ("ICE-lite", {"offer": offer().replace("t=0 0", "t=0 0\r\na=ice-lite")}, 422, "bad_request"),
    ("no group", {"offer": offer().replace("a=group", "a=x")}, 422, "bundle_required"),
    ("one outside", {"offer": offer().replace("BUNDLE 0 1", "BUNDLE 0")}, 422, "bundle_required"),
    ("unknown codec", {"offer": offer().replace("VP8/90000", "H265/90000")}, 422, "unsupported_codec"),
]


@pytest.mark.parametrize(("options", "status", "code"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_refused_offers(server: WhipServer, options: dict[str, Any], status: int, code: str) -> None:
    """A refused offer leaves no participant, and the answer is a problem document with a reason."""
    answer = await server.post(options.pop("offer", offer()), **options)
    assert (answer.status, answer.problem["status"], answer.problem["code"]) == (status, status, code), answer
    assert answer.problem["detail"].endswith(".")
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    assert len(server.rooms) == 0
    assert not server.webrtc_server.connections


async def test_too_many_tracks(server: WhipServer) -> None:
    video = offer().partition("m=video")[2]
    more = "".join(f"m=video{video.replace('a=mid:1', f'a=mid:{mid}')}" for mid in (2, 3))
    answer = await server.post(offer().replace("BUNDLE 0 1", "BUNDLE 0 1 2 3") + more)
    assert (answer.status, answer.problem["code"]) == (422, "too_many_tracks")


@pytest.mark.parametrize("path", ["/whip/standup", "session"])
async def test_other_methods(server: WhipServer, path: str) -> None:
    if path == "session":
        path, _ = await opened(server)
    for method in ("GET", "HEAD"):
        answer = await server.ask(method, path)
        assert (answer.status, answer.text) == (204, "")
    put = await server.ask("PUT", path, "x")
    assert put.status == 405
    assert put.headers["Allow"]
    preflight = await server.ask("OPTIONS", path, token="", Origin=ORIGIN, Access_Control_Request_Method="POST")
    assert preflight.status == 200
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    assert "If-Match" in preflight.headers["Access-Control-Allow-Headers"]
    if path == "/whip/standup":
        assert preflight.headers["Accept-Post"] == "application/sdp"
        assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    else:
        assert preflight.headers["Accept-Patch"] == FRAGMENT
        assert {"PATCH", "DELETE"} <= set(preflight.headers["Access-Control-Allow-Methods"].split(", "))


async def test_patch(server: WhipServer) -> None:
    """Trickle and restart with their preconditions; a refused PATCH does not end the session."""
    url, created = await opened(server)
    etag = created.headers["ETag"]

    async def patch(body: str, expected: int, content_type: str = FRAGMENT, **headers: str) -> Answer:
        answer = await server.ask("PATCH", url, body, content_type=content_type, **headers)
        assert answer.status == expected, answer
        return answer

    trickled = await patch(CANDIDATE, 204, If_Match=etag)
    assert "ETag" not in trickled.headers
    await patch(CANDIDATE, 204, If_Match=f'"x", {etag}')
    await patch("a=end-of-candidates\r\n", 204, If_Match=etag)
    await patch(CANDIDATE, 428)
    await patch(CANDIDATE, 412, If_Match='"stale"')
    await patch(CANDIDATE, 412, If_Match=f"W/{etag}")
    await patch(CANDIDATE, 415, content_type="application/sdp", If_Match=etag)
    await patch("a=candidate:nonsense\r\n", 400, If_Match=etag)
    await patch("", 400, If_Match=etag)
    await patch("a=ice-ufrag:new1\r\n", 400, If_Match="*")
    await patch(CANDIDATE * 100, 413, If_Match=etag)
    await patch(NEW, 204, If_Match=etag)  # another ICE session's, and not a restart
    assert server.sources == {"obs": ["microphone", "camera"]}

    restarted = await patch(NEW, 200, If_Match="*")
    assert restarted.headers["Content-Type"] == FRAGMENT
    renewed = restarted.headers["ETag"]
    assert renewed != etag
    lines = restarted.text.split("\r\n")
    for name in ("a=ice-ufrag:", "a=ice-pwd:"):
        fresh = next(line for line in lines if line.startswith(name))
        assert fresh not in created.text
    assert any(line.startswith("a=candidate:") for line in lines)
    await patch(CANDIDATE, 412, If_Match=etag)
    await patch(CANDIDATE, 204, If_Match=renewed)
    repeated = await patch(NEW, 200, If_Match="*")  # the answer was lost
    assert (repeated.text, repeated.headers["ETag"]) == (restarted.text, renewed)


async def test_media_continues_after_a_restart(server: WhipServer) -> None:
    peer = server.peer()
    answer = await server.post(peer.offer())
    await server.connect(peer, answer.text)
    restarted = await server.ask("PATCH", answer.headers["Location"], NEW, content_type=FRAGMENT, If_Match="*")
    peer.ufrag, peer.pwd = "new1", "new-password-of-22-chars"
    attributes = dict(
        line[2:].split(":", 1) for line in restarted.text.split("\r\n") if line[:2] == "a=" and ":" in line
    )
    peer.remote_ufrag, peer.remote_pwd = attributes["ice-ufrag"], attributes["ice-pwd"]
    peer.check()
    connection = next(iter(server.webrtc_server.connections))
    await until(lambda: connection.ice.agent.settled)
    peer.send(rtp(vp8(key=True), ssrc=2, sequence=1, timestamp=3000, extensions={4: b"1"}))
    camera = next(one for one in member(server).publications.values() if one.media.kind == "video")
    await until(lambda: any(one.packets for one in camera.media.track.encodings.values()))


async def test_a_session_answers_its_bearer_only(server: WhipServer) -> None:
    url, _ = await opened(server)
    for method, body in (("PATCH", CANDIDATE), ("DELETE", None), ("GET", None)):
        for token, status in (
            ("", 401),
            ("x.y.z", 401),
            (encoder_token("eve"), 404),
            (encoder_token("obs", room="other"), 404),
            (encoder_token("obs", later=1.0), 204),
        ):
            if method == "DELETE" and status == 204:
                continue
            sent = await server.ask(
                method, url, body, token=token, content_type=FRAGMENT if body else None, If_Match="*"
            )
            assert sent.status == status, (method, token)
        guessed = await server.ask(method, f"/whip/standup/{'A' * 22}", body, content_type=FRAGMENT if body else None)
        assert guessed.status == 404
    assert server.sources == {"obs": ["microphone", "camera"]}


async def test_a_kick_ends_the_session_and_its_token(server: WhipServer) -> None:
    url, _ = await opened(server)
    server.rooms.kick("standup", "obs")
    assert (await server.ask("DELETE", url)).status == 404
    assert (await server.post(offer())).status == 401
    assert not server.webrtc_server.connections


async def test_a_mute_stops_the_media_at_the_server(server: WhipServer) -> None:
    peer = server.peer()
    await server.connect(peer, (await server.post(peer.offer())).text)
    camera = next(one for one in member(server).publications.values() if one.media.kind == "video")
    server.rooms.mute("standup", camera.id)
    assert camera.media.track.muted


async def test_a_second_session_of_an_identity_replaces_the_first(server: WhipServer) -> None:
    first, _ = await opened(server)
    second, _ = await opened(server)
    assert (await server.ask("GET", first)).status == 404
    assert (await server.ask("GET", second)).status == 204
    assert len(server.webrtc_server.connections) == 1


@pytest.mark.parametrize("query", ["", "?source=camera", "?source=screen"])
async def test_sources(server: WhipServer, query: str) -> None:
    await opened(server, query=query)
    expected = ["screen_share_audio", "screen_share"] if "screen" in query else ["microphone", "camera"]
    assert server.sources == {"obs": expected}


async def test_names_lobby_and_lock(server: WhipServer) -> None:
    await opened(server)
    assert (member(server).name, member(server).kind) == ("obs", "ingress")
    assert not member(server).subscriptions.auto_subscribe
    server.rooms.update("standup", lobby=True)
    waiting = await server.post(offer(), token=encoder_token("second"))
    assert (waiting.status, waiting.problem["code"]) == (409, "lobby")
    assert len(server.rooms.find("standup").lobby) == 0
    assert (await server.post(offer(), token=encoder_token("second", room_admin=True))).status == 201
    server.rooms.update("standup", lobby=False, locked=True)
    locked = await server.post(offer(), token=encoder_token("third"))
    assert (locked.status, locked.problem["code"]) == (409, "room_locked")


async def test_capacity(server: WhipServer) -> None:
    server.full = "This server is full."
    answer = await server.post(offer())
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    server.full = ""
    await opened(server)
    await server.signaling.close()
    draining = await server.post(offer())
    assert (draining.status, draining.problem["code"], draining.headers["Retry-After"]) == (503, "draining", "5")
    assert server.sources == {}


async def test_limits_per_address() -> None:
    async with whip_server(Settings(unjoined_per_address=3, max_http_sessions=4, trust_forwarded_for=True)) as server:
        for number in range(3):
            await opened(server, token=encoder_token(f"obs-{number}"))
        refused = await server.post(offer(), token=encoder_token("obs-3"))
        assert (refused.status, refused.headers["Retry-After"]) == (429, "5")
        other = {"X_Forwarded_For": "198.51.100.7"}
        assert (await server.post(offer(), token=encoder_token("obs-3"), **other)).status == 201
        assert (await server.post(offer(), token=encoder_token("obs-4"), **other)).status == 503
    async with whip_server(Settings(http_session_burst=2, http_session_rate=0.001)) as server:
        assert [(await server.post(offer())).status for _ in range(3)] == [201, 201, 429]


async def test_a_flood_of_patches_is_limited() -> None:
    async with whip_server(Settings(message_burst=5, message_rate=0.001)) as server:
        url, created = await opened(server)
        etag = created.headers["ETag"]
        statuses = [
            (await server.ask("PATCH", url, CANDIDATE, content_type=FRAGMENT, If_Match=etag)).status for _ in range(7)
        ]
        assert statuses == [204] * 5 + [429] * 2


@pytest.mark.parametrize("connects", [False, True])
async def test_a_session_without_media_ends(connects: bool) -> None:
    """Nothing follows the POST, or the checks stop."""
    settings = TransportSettings(
        udp_port=0, bind=("127.0.0.1",), include_loopback=True, connect_timeout=0.5, consent_timeout=0.5
    )
    if connects:
        settings = TransportSettings(udp_port=0, bind=("127.0.0.1",), include_loopback=True, consent_timeout=0.2)
    async with whip_server(transport=settings) as server:
        peer = server.peer()
        answer = await server.post(peer.offer())
        if connects:
            await server.connect(peer, answer.text)
        await until(lambda: server.sources == {})
        assert (await server.ask("DELETE", answer.headers["Location"])).status == 404


async def test_a_slow_body_holds_nothing(server: WhipServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfu.signaling.http_resources.BODY_TIMEOUT", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        f"POST /whip/standup HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {encoder_token()}\r\n"
        "Content-Type: application/sdp\r\nContent-Length: 900\r\n\r\nv=0\r\n".encode()
    )
    assert b" 408 " in await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    assert len(server.rooms) == 0


async def test_ice_servers_are_links() -> None:
    servers = (
        IceServer(
            urls=["turn:turn.example.org?transport=udp", "turns:turn.example.org"], username="7:u", credential="pw"
        ),
        IceServer(urls=["stun:stun.example.org"]),
    )
    async with whip_server(ice_servers=servers) as server:
        _, created = await opened(server)
        rest = '; rel="ice-server"; username="7:u"; credential="pw"; credential-type="password"'
        assert created.headers.getall("Link") == [  # type: ignore[attr-defined]  # a multidict
            f"<turn:turn.example.org?transport=udp>{rest}",
            f"<turns:turn.example.org>{rest}",
            '<stun:stun.example.org>; rel="ice-server"',
        ]


async def test_the_location_has_the_base_path_and_a_quoted_room() -> None:
    async with whip_server(base_path="/meet") as server:
        for path in ("/meet/whip/a%2Fb%20c", "/whip/a%2Fb%20c"):
            answer = await server.ask("POST", path, offer(), token=encoder_token(room="a/b c"))
            assert answer.status == 201, answer
            url = answer.headers["Location"]
            assert url.startswith("/meet/whip/a%2Fb%20c/")
            assert (await server.ask("DELETE", url, token=encoder_token(room="a/b c"))).status == 200


async def test_room_limits_of_tracks() -> None:
    async with whip_server(rooms=RoomSettings(max_room_tracks=2)) as server:
        await opened(server)
        answer = await server.post(offer(), token=encoder_token("second"))
        assert answer.status == 503
        assert server.sources == {"obs": ["microphone", "camera"]}
        assert len(server.webrtc_server.connections) == 1


RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2048)


def bare(sdp: str) -> str:
    """Without header extensions: packets are assigned by payload type."""
    return re.sub(r"a=extmap:.*\r\n", "", sdp)


def alone(sdp: str) -> str:
    """Video only, without a BUNDLE group and a mid, as a minimal encoder offers it."""
    session, _, rest = bare(sdp).partition("m=audio")
    session = re.sub(r"a=group:.*\r\n", "", session)
    return session + "m=video" + rest.partition("m=video")[2].replace("a=mid:1\r\n", "")


@pytest.mark.parametrize("adapt", [str, bare, alone])
@pytest.mark.parametrize("setup", ["actpass", "active", "passive"])
@pytest.mark.parametrize("key", [None, RSA], ids=["P-256", "RSA"])
async def test_kinds_of_encoders(
    server: WhipServer, adapt: Callable[[str], str], setup: str, key: rsa.RSAPrivateKey | None
) -> None:
    """Both DTLS roles and kinds of certificates, with and without header extensions, mids and groups."""
    peer = server.peer(Identity(key))
    answer = await server.post(adapt(peer.offer(setup=setup)))
    assert answer.status == 201, answer
    assert f"a=setup:{'active' if setup == 'passive' else 'passive'}" in answer.text
    await server.connect(peer, answer.text)
    camera = next(one for one in member(server).publications.values() if one.media.kind == "video")
    extensions = {4: b"1"} if adapt is str else None
    peer.send(rtp(vp8(key=True), ssrc=2, sequence=1, timestamp=3000, extensions=extensions))
    await until(lambda: any(one.packets for one in camera.media.track.encodings.values()))
