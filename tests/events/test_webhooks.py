"""Webhooks from rooms to a receiver that verifies and parses them with LiveKit's SDK."""

from pathlib import Path

from tests.events.support import meetings, receiving, webhooks


async def test_a_join_reaches_a_livekit_receiver(tmp_path: Path) -> None:
    async with receiving() as receiver, meetings(webhooks(tmp_path, [receiver.url])) as server:
        server.join("hall", "ada")
        event = await receiver.wait_for("participant_joined")
        assert receiver.names() == ["room_started", "participant_joined"]
        assert (event.room.name, event.room.num_participants) == ("hall", 1)
        assert (event.participant.identity, event.participant.name) == ("ada", "Ada")
        assert event.id
        assert event.id != receiver.events[0].id
        assert event.created_at > 1_700_000_000
