"""Webhooks from rooms to a receiver that verifies and parses them with LiveKit's SDK."""

import asyncio
import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import web
from livekit.protocol.models import DisconnectReason, ParticipantInfo, TrackSource, TrackType

from sfu.errors import ConfigurationError
from sfu.events.event import EgressChanged
from sfu.events.http_client import WebhookClient
from sfu.events.settings import Endpoint, Webhooks
from sfu.rooms.room import Room
from tests.events.support import meetings, receiving, webhooks
from tests.support.certificate import self_signed


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not reached():  # noqa: ASYNC110  # conditions of several objects
            await asyncio.sleep(0.01)


async def test_a_join_reaches_a_livekit_receiver(tmp_path: Path) -> None:
    async with receiving() as receiver, meetings(webhooks(tmp_path, [receiver.url])) as server:
        server.join("hall", "ada")
        event = await receiver.wait_for("participant_joined")
        assert receiver.names() == ["room_started", "participant_joined"]
        assert (event.room.name, event.room.num_participants) == ("hall", 1)
        assert (event.participant.identity, event.participant.name) == ("ada", "Ada")
        assert event.participant.state == ParticipantInfo.State.ACTIVE
        assert event.id
        assert event.id != receiver.events[0].id
        assert event.created_at > 1_700_000_000


async def test_a_meeting_in_full(tmp_path: Path) -> None:
    async with receiving() as receiver, meetings(webhooks(tmp_path, [receiver.url])) as server:
        ada, bob = server.join("hall", "ada", admin=True), server.join("hall", "bob")
        server.join("hall", "recorder", hidden=True, recorder=True)
        server.publish(bob)
        room = server.rooms.find("hall")
        (track,) = bob.publications
        room.moderation.mute(ada, track, True)
        room.moderation.kick(ada, bob.id)
        room.leave(ada, "timeout")
        server.rooms.delete("hall")
        await receiver.wait_for("room_finished")
    assert receiver.names() == [
        "room_started",
        "participant_joined",
        "participant_joined",
        "track_published",
        "track_muted",
        "participant_removed",
        "track_unpublished",
        "participant_left",
        "participant_connection_aborted",
        "participant_left",
        "room_finished",
    ]
    published, left = receiver.events[3], receiver.events[7]
    assert (published.track.sid, published.track.name, published.track.mime_type) == (track, "mic", "audio/opus")
    assert (published.track.type, published.track.source) == (TrackType.AUDIO, TrackSource.MICROPHONE)
    assert left.participant.disconnect_reason == DisconnectReason.PARTICIPANT_REMOVED
    assert left.participant.state == ParticipantInfo.State.DISCONNECTED


async def test_egress_events_parse(tmp_path: Path) -> None:
    async with receiving() as receiver, meetings(webhooks(tmp_path, [receiver.url])) as server:
        change = EgressChanged(id="EG_1", room="hall", room_id="RM_1", status="EGRESS_ACTIVE", started_at=12.5)
        server.events.stream.observe_egress(change, started=True)
        event = await receiver.wait_for("egress_started")
        assert (event.egress_info.egress_id, event.egress_info.room_name) == ("EG_1", "hall")
        assert event.egress_info.started_at == 12_500_000_000


async def test_each_room_stays_in_order_while_attempts_fail(tmp_path: Path) -> None:
    rooms = [f"room-{number}" for number in range(8)]
    async with receiving() as receiver, meetings(webhooks(tmp_path, [receiver.url])) as server:
        receiver.answers.extend([500, 200, 200, 429, 200, 404, 200])
        for room in rooms:
            server.join(room, "ada")
        for room in rooms:
            server.rooms.find(room).leave(server.join(room, "bob"))
        await receiver.wait(lambda: len(receiver.events) == 4 * len(rooms))
        for room in rooms:
            assert receiver.names(room) == [
                "room_started",
                "participant_joined",
                "participant_joined",
                "participant_left",
            ]
        assert receiver.requests == 4 * len(rooms) + 3
        await until(lambda: server.events.webhook_states()[0].delivery.delivered == 4 * len(rooms))
        assert server.events.webhook_states()[0].delivery.failed == 3
        await until(lambda: server.events.webhook_states()[0].queued == 0)


async def test_undelivered_events_survive_a_restart_of_both_sides(tmp_path: Path) -> None:
    async with receiving() as receiver:
        url = receiver.url
    port = int(url.rpartition(":")[2].partition("/")[0])
    async with meetings(webhooks(tmp_path, [url])) as server:
        server.join("hall", "ada")
        await until(lambda: server.events.webhook_states()[0].delivery.last_error != "")
        assert "no connection" in server.events.webhook_states()[0].delivery.last_error
    async with receiving(port) as receiver, meetings(webhooks(tmp_path, [url])):
        await receiver.wait_for("participant_joined")
        # `room_started`, `participant_joined` and what the end of the first server caused.
        assert receiver.names()[:2] == ["room_started", "participant_joined"]


async def test_a_receiver_that_hangs_does_not_delay_another(tmp_path: Path) -> None:
    released = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.Response()

    async with receiving() as slow, receiving() as quick:
        slow.answers.append(hang)
        async with meetings(webhooks(tmp_path, [slow.url, quick.url])) as server:
            server.join("hall", "ada")
            await quick.wait_for("participant_joined")
            assert slow.names() == []
            released.set()
            await slow.wait_for("participant_joined")


async def test_a_response_that_never_comes_times_out(tmp_path: Path) -> None:
    async def hang(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with receiving() as receiver:
        receiver.answers.append(hang)
        async with meetings(webhooks(tmp_path, [receiver.url], timeout=0.2)) as server:
            server.join("hall", "ada")
            await receiver.wait_for("participant_joined")
            assert server.events.webhook_states()[0].delivery.last_error == "no response in time"


async def test_an_endless_response_is_cut(tmp_path: Path) -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(b"x" * 65_536)
        return response

    async with receiving() as receiver:
        receiver.answers.append(flood)
        async with meetings(webhooks(tmp_path, [receiver.url])) as server:
            server.join("hall", "ada")
            await receiver.wait_for("participant_joined")


async def test_redirects_are_not_followed(tmp_path: Path) -> None:
    async def redirect(request: web.Request) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with receiving() as receiver:
        receiver.answers.append(redirect)
        async with meetings(webhooks(tmp_path, [receiver.url])) as server:
            server.join("hall", "ada")
            await receiver.wait_for("room_started")
            assert server.events.webhook_states()[0].delivery.last_error == "status 307; redirects are not followed"


async def test_a_refused_event_is_dropped_and_reported(tmp_path: Path) -> None:
    async with receiving() as receiver:
        receiver.answers.append(422)
        async with meetings(webhooks(tmp_path, [receiver.url])) as server:
            server.join("hall", "ada")
            event = await receiver.wait_for("participant_joined")
            assert receiver.names() == ["participant_joined"]
            assert event.num_dropped == 1
            assert server.events.webhook_states()[0].delivery.refused == 1


async def test_a_dead_receiver_keeps_its_newest_events(tmp_path: Path) -> None:
    settings = webhooks(tmp_path, ["http://127.0.0.1:1/hook"], max_queued=64)
    async with meetings(settings) as server:
        for number in range(100):
            server.rooms.create(f"room-{number}")
        await until(lambda: server.events.webhook_states()[0].delivery.dropped >= 36)
        await until(lambda: server.events.webhook_states()[0].delivery.failing)
        state = server.events.webhook_states()[0]
        assert state.queued + state.delivery.dropped == 100
        assert 60 <= state.queued <= 64


async def test_events_expire(tmp_path: Path) -> None:
    async with meetings(webhooks(tmp_path, ["http://127.0.0.1:1/hook"], retry=0.1)) as server:
        server.join("hall", "ada")
        await until(lambda: server.events.webhook_states()[0].delivery.expired == 2)
        await until(lambda: server.events.webhook_states()[0].queued == 0)


async def test_only_wanted_events_are_sent_and_the_key_is_chosen(tmp_path: Path) -> None:
    async with receiving() as receiver:
        endpoint = Endpoint(url=f"{receiver.url}?token=secret", key="web", events=("participant_joined",))
        async with meetings(webhooks(tmp_path, [endpoint])) as server:
            server.join("hall", "ada")
            await receiver.wait_for("participant_joined")
            assert receiver.names() == ["participant_joined"]
            assert server.events.webhook_states()[0].address == receiver.url


PRIVATE = (
    "http://127.0.0.1:{port}/hook", "http://[::1]:{port}/hook", "http://[::ffff:127.0.0.1]:{port}/hook",
    "http://localhost:{port}/hook", "http://169.254.169.254/latest", "http://10.0.0.1/", "http://0.0.0.0:{port}/hook",
    "http://2130706433:{port}/hook", "http://[64:ff9b::7f00:1]/", "http://[fe80::1]/", "http://0x7f.1:{port}/hook",
)  # fmt: skip


@pytest.mark.parametrize("url", PRIVATE)
async def test_private_addresses_are_refused(url: str) -> None:
    async with receiving() as receiver:
        port = receiver.url.rpartition(":")[2].partition("/")[0]
        client = WebhookClient(private=False, timeout=5, connections=1)
        try:
            response = await client.post(url.format(port=port), b"{}", "")
        finally:
            await client.close()
        assert response.status == 0
        assert response.problem in (
            "private address; events.webhooks.private is off",
            "the host name does not resolve",
            "the connection failed (InvalidUrlClientError)",
        )
        assert receiver.requests == 0


async def test_an_untrusted_certificate_is_refused(tmp_path: Path) -> None:
    certificate_path, key_path = self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate_path, key_path)
    accepted = asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0, ssl=context)
    async with await accepted as server:
        port = server.sockets[0].getsockname()[1]
        client = WebhookClient(private=True, timeout=5, connections=1)
        try:
            response = await client.post(f"https://localhost:{port}/", b"{}", "")
        finally:
            await client.close()
    assert response.problem == "the TLS certificate is not valid for this host"


def test_settings_are_checked() -> None:
    for url in ("ftp://example.org", "https://", "https://user:pw@example.org/", "http://example.org:0x/", "x"):
        with pytest.raises(ConfigurationError, match="entry 1 is not"):
            Webhooks(endpoints=(Endpoint(url=url),))
    with pytest.raises(ConfigurationError, match="unknown event 'joined'"):
        Webhooks(endpoints=(Endpoint(url="http://a.example", events=("joined",)),))
    with pytest.raises(ConfigurationError, match="twice"):
        Webhooks(endpoints=(Endpoint(url="http://a.example"), Endpoint(url="http://a.example")))


async def test_a_missing_key_is_a_configuration_error(tmp_path: Path) -> None:
    settings = webhooks(tmp_path, [Endpoint(url="https://example.org/", key="other")])
    with pytest.raises(ConfigurationError, match=r"entry 1 needs the key 'other', which is not in auth.keys"):
        async with meetings(settings):
            raise AssertionError


async def test_two_servers_do_not_share_an_outbox(tmp_path: Path) -> None:
    settings = webhooks(tmp_path, ["http://127.0.0.1:1/hook"])
    async with meetings(settings):
        with pytest.raises(ConfigurationError, match="another server uses it"):
            async with meetings(settings):
                raise AssertionError


async def test_a_damaged_outbox_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "outbox.sqlite").write_bytes(b"not a database" * 1000)
    async with receiving() as receiver, meetings(webhooks(tmp_path, [receiver.url])) as server:
        server.join("hall", "ada")
        await receiver.wait_for("participant_joined")
    assert [name.partition("-")[0] for name in os.listdir(tmp_path) if "damaged" in name] == ["outbox.sqlite.damaged"]


async def test_a_sink_that_fails_disturbs_neither_the_room_nor_the_others(tmp_path: Path) -> None:
    class Broken:
        def accept(self, event: object) -> None:
            raise RuntimeError("broken")

    async with receiving() as receiver, meetings(webhooks(tmp_path, [receiver.url])) as server:
        server.events.stream.sinks = [Broken(), *server.events.stream.sinks]
        assert isinstance(server.rooms.create("hall"), Room)
        await receiver.wait_for("room_started")
