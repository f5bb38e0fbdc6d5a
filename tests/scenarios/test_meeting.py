"""A whole server in this process, met over real sockets by participants without a browser."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from sfu.app import Server
from tests.support import admin
from tests.support.client import Client
from tests.support.running_server import running_server

Invite = Callable[..., Client]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with running_server({}, lambda server: (server.signaling,)) as (server, _):
        yield server
    assert not server.webrtc_server.connections
    assert not server.rooms.list()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def token(identity: str, room: str = "standup", **grants: Any) -> str:
    return admin.token(room, identity, room_join=True, **grants)


@pytest.fixture
async def invite(server: Server, http: aiohttp.ClientSession) -> AsyncIterator[Invite]:
    guests: list[Client] = []

    def make(identity: str, **grants: Any) -> Client:
        guests.append(Client(http, server.url, token(identity, **grants)))
        return guests[-1]

    yield make
    for guest in guests:
        await guest.close()


async def flowing(sender: Client, receiver: Client) -> None:
    """Sends until sound and picture of this sender reach the receiver."""
    kinds: set[int] = set()

    def step() -> bool:
        sender.send()
        kinds.update(packet.payload_type for packet in receiver.media())
        return len(kinds) == 2

    await receiver.until(step)


async def test_two_meet_and_hear_and_see_each_other(server: Server, invite: Invite) -> None:
    ada, bob = invite("ada"), invite("bob")
    joined = await ada.join()
    assert joined["participant"]["identity"] == "ada"
    await ada.publish()
    joined = await bob.join()
    assert [track["source"] for track in joined["participants"][0]["tracks"]] == ["microphone", "camera"]
    await bob.publish()
    await flowing(ada, bob)
    await flowing(bob, ada)
    published = [event for event in ada.events if event["type"] == "track_published"]
    assert {event["track"]["codec"] for event in published} == {"opus", "VP8"}

    def speaks() -> bool:
        ada.send()
        return any(event["type"] == "speakers" and event["dominant"] for event in bob.events)

    await bob.until(speaks)
    speakers = await bob.event("speakers")
    assert speakers["dominant"] in {joined["participant"]["id"], joined["participants"][0]["id"]}


async def test_a_kick_ends_the_session_and_its_token(
    server: Server, invite: Invite, http: aiohttp.ClientSession
) -> None:
    ada, bob = invite("ada", room_admin=True), invite("bob")
    await ada.join()
    bobs = (await bob.join())["participant"]["id"]
    await bob.publish()
    assert (await ada.request("kick", participant=bobs))["type"] == "ok"
    leave = await bob.event("leave")
    assert leave["reason"] == "kicked"
    assert "action" not in leave  # the default: do not come back
    await bob.closed.wait()
    assert not [each for each in server.webrtc_server.connections if each.peer.tracks]
    again = Client(http, server.url, bob._token)
    assert (await again.join())["code"] == "token_revoked"
    await again.close()


async def test_in_a_large_room_the_last_speakers_are_seen_and_the_loudest_heard(server: Server, invite: Invite) -> None:
    """Eight people, four cameras and two microphones: what is forwarded is counted, and who speaks comes in."""
    server.rooms.create("standup", last_n=4, loudest=2)
    names = "abcdefgh"
    people = {name: invite(name) for name in names}
    for person in people.values():
        await person.join()
        await person.publish()
    levels = dict.fromkeys(names, 70)
    came: dict[str, set[str]] = {}

    def got(viewer: str, mid: str) -> str:
        return "".join(name for name in names if people[name].tracks[mid] in came[viewer])

    def counts(mid: str) -> list[int]:
        return [len(got(viewer, mid)) for viewer in names]

    async def talk(seconds: float, done: Callable[[], bool] = lambda: False) -> float:
        """All participants send, 50 times a second. Returns the time at the end."""
        begun = time.monotonic()
        came.update((viewer, set()) for viewer in names)
        while time.monotonic() < begun + seconds and not done():
            for name, person in people.items():
                if person.publishing.tx:
                    person.send(levels[name])
                came[name] |= person.arrived()
                for peer in (person.publishing, person.subscribing):
                    if peer.dtls is not None:
                        peer.pump()
            await asyncio.sleep(0.02)
        return time.monotonic() - begun

    async def settled() -> None:
        """A busy machine takes longer to choose whose microphones are forwarded."""
        await talk(0.3)
        for _ in range(10):
            await talk(1.0)
            if sum(counts("0")) == 2 * 7 and counts("1") == [4] * 8:
                break

    await talk(20.0, lambda: sum(counts("1")) >= 8 * 4)  # all are connected and the first pictures are there
    await settled()
    assert counts("1") == [4] * 8
    assert sum(counts("0")) == 2 * 7  # all others receive the two speakers
    assert (got("a", "1"), got("h", "1")) == ("bcde", "abcd")
    assert (
        sum(
            down_track.current is not None
            for peer in server.webrtc_server.engine.peers.values()
            for down_track in set(peer.down_tracks.values())
        )
        == 8 * 4 + 2 * 7
    )
    levels["h"] = 20
    heard_after = await talk(5.0, lambda: "h" in got("g", "0"))
    assert heard_after < 1.0  # a tenth of a second and a busy machine
    await talk(5.0, lambda: all("h" in got(viewer, "1") for viewer in "abcdefg"))
    await settled()
    assert counts("1") == [4] * 8
    assert sum(counts("0")) == 2 * 7
    assert (got("g", "1"), got("h", "1")) == ("abch", "abcd")
    told = [event for event in people["g"].events if event["type"] == "subscription"]
    assert not {event["track"] for event in told} & {people[name].tracks["0"] for name in names}  # no news of sound
    state = {event["track"]: event for event in told}
    assert {name: state[people[name].tracks["1"]].get("reason", "") for name in "adefh"} == {
        "a": "", "d": "last_n", "e": "last_n", "f": "last_n", "h": "",
    }  # fmt: skip
    settings = {"track": people["e"].tracks["1"], "priority": 255}
    assert (await people["g"].request("subscribe", tracks=[settings]))["type"] == "ok"
    await talk(5.0, lambda: "e" in got("g", "1"))
    assert "e" in got("g", "1")


async def test_metrics_and_the_admin_api_see_the_meeting(
    server: Server, invite: Invite, http: aiohttp.ClientSession
) -> None:
    ada, bob = invite("ada"), invite("bob")
    for guest in (ada, bob):
        await guest.join()
    await ada.publish()
    await flowing(ada, bob)
    async with http.get(f"{server.url}/metrics") as answer:
        metrics = await answer.text()
    values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
    assert float(values["sfu_participants"]) == 2
    assert float(values['sfu_tracks{kind="video"}']) == 1
    assert float(values['sfu_subscriptions{kind="audio"}']) == 1
    assert float(values['sfu_packets_total{direction="sent"}']) >= 2
    assert "standup" not in metrics
    assert not re.search(r"\bada\b", metrics)
    headers = {"Authorization": f"Bearer {token('boss', room_list=True, room_admin=True)}"}
    async with http.get(f"{server.url}/api/v1/rooms", headers=headers) as answer:
        rooms = await answer.json()
    assert [room["name"] for room in rooms["rooms"]] == ["standup"]
    async with http.get(f"{server.url}/api/v1/rooms/standup/participants", headers=headers) as answer:
        people = (await answer.json())["participants"]
    assert {person["identity"] for person in people} == {"ada", "bob"}


async def test_a_participant_that_leaves_takes_everything_with_it(server: Server, invite: Invite) -> None:
    ada, bob = invite("ada"), invite("bob")
    for guest in (ada, bob):
        await guest.join()
    await ada.publish()
    await flowing(ada, bob)
    await ada._socket.send_json({"type": "leave"})
    left = await bob.event("participant_left")
    assert left["reason"] == "left"
    assert all(not peer.tracks for peer in server.webrtc_server.engine.peers.values())
    assert all(not peer.down_tracks for peer in server.webrtc_server.engine.peers.values())


async def test_a_drain_notifies_all_and_admits_none(
    server: Server, invite: Invite, http: aiohttp.ClientSession
) -> None:
    ada = invite("ada")
    await ada.join()
    await server.drain()
    leave = await ada.event("leave")
    assert (leave["reason"], leave["action"]) == ("draining", "reconnect")
    async with http.get(f"{server.url}/readyz") as answer:
        assert answer.status == 503
    async with http.get(f"{server.url}/healthz") as answer:
        assert answer.status == 200
    bob = invite("bob")
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await bob.join()
