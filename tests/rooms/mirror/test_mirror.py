"""A room on a home and two edges: joins, events, commands, the lobby, lost links and a lost home."""

import pytest

from sfu.errors import RemoteError
from sfu.rooms.events import DataPacket
from sfu.rooms.lobby import WaitingParticipant
from sfu.rooms.participant import Participant
from tests.rooms.fakes import FakeMedia, FakeSink, sink_of
from tests.rooms.mirror.nodes import MirroredRoom, texts, view


@pytest.fixture
def room() -> MirroredRoom:
    return MirroredRoom(edges=2)


@pytest.fixture
def ada(room: MirroredRoom) -> Participant:
    """An admin at the home."""
    return room.participant(room.home, "ada", admin=True)


@pytest.fixture
def bob(room: MirroredRoom, ada: Participant) -> Participant:
    return room.participant(room.edges["edge 1"], "bob")


def test_a_participant_of_an_edge_is_a_shadow_elsewhere(room: MirroredRoom, ada: Participant, bob: Participant) -> None:
    for node in (room.home, room.edges["edge 2"]):
        shadow = node.room.members.find(bob.id)
        assert shadow is not None
        assert shadow.shadow
    assert not bob.shadow
    assert texts(ada) == ["ParticipantJoined"]
    assert view(room.edges["edge 2"]) == view(room.home)


def test_a_publication_reaches_subscribers_of_other_nodes_only_through_their_own(
    room: MirroredRoom, ada: Participant, bob: Participant
) -> None:
    cleo = room.participant(room.edges["edge 2"], "cleo")
    media = {one.id: FakeMedia() for one in (ada, bob, cleo)}
    for one in (ada, bob, cleo):
        one.subscriptions.attach_sink(media[one.id])
    track = room.edges["edge 1"].publish(bob)
    room.deliver_all()
    assert [call[:2] for call in media[ada.id].calls] == [("subscribe", track.id)]
    assert [call[:2] for call in media[cleo.id].calls] == [("subscribe", track.id)]
    shadow = room.home.room.members.find(cleo.id)
    assert shadow is not None
    assert track.id not in shadow.subscriptions
    assert list(room.home.relay.open_tracks) == list(room.edges["edge 2"].relay.open_tracks) == [track.id]
    room.edges["edge 1"].room.publications.unpublish(track)
    room.deliver_all()
    assert not room.home.relay.open_tracks
    assert not room.edges["edge 2"].relay.open_tracks


def test_an_admin_mutes_a_track_of_another_node_and_the_owner_unmutes_it(
    room: MirroredRoom, ada: Participant, bob: Participant
) -> None:
    edge = room.edges["edge 1"]
    track = edge.publish(bob, "microphone")
    room.deliver_all()
    room.home.room.moderation.mute(ada, track.id, True)
    room.deliver_all()
    assert track.muted
    assert texts(bob)[-1] == "TrackMuted"
    edge.room.moderation.mute(bob, track.id, False)
    room.deliver_all()
    there = room.home.room.publications.find(track.id)
    assert there is not None
    assert not there.muted


def test_chat_passes_the_home_and_has_one_order(room: MirroredRoom, ada: Participant, bob: Participant) -> None:
    cleo = room.participant(room.edges["edge 2"], "cleo")
    room.edges["edge 1"].room.messages.send_chat(bob, "second")
    room.home.room.messages.send_chat(ada, "first")
    room.edges["edge 2"].room.messages.send_chat(cleo, "just for Bob", to=bob.id)
    room.deliver_all()
    orders = {tuple(entry.text for entry in node.room.messages.chat(bob)) for node in room.nodes}
    assert orders == {("first", "second", "just for Bob")}
    assert texts(ada).count("ChatSent") == 2
    assert texts(bob).count("ChatSent") == texts(cleo).count("ChatSent") == 3


def test_an_edge_refuses_what_the_home_would_refuse(room: MirroredRoom, ada: Participant, bob: Participant) -> None:
    with pytest.raises(RemoteError):
        room.edges["edge 1"].room.moderation.kick(bob, ada.id)
    assert not room.links["edge 1"].up


def test_a_kick_reaches_the_client(room: MirroredRoom, ada: Participant, bob: Participant) -> None:
    room.home.room.moderation.kick(ada, bob.id, "Time is up.")
    room.deliver_all()
    assert sink_of(bob).removal == ("kicked", "You were removed from the room: Time is up.")
    assert all(node.room.members.find(bob.id) is None for node in room.nodes)


def test_an_identity_joins_at_another_node(room: MirroredRoom, ada: Participant, bob: Participant) -> None:
    again = room.participant(room.edges["edge 2"], "bob")
    assert sink_of(bob).removal == ("duplicate_identity", "You joined from somewhere else.")
    assert all(node.room.members.find_by_identity("bob") is not None for node in room.nodes)
    assert not again.shadow


def test_a_locked_room_refuses_at_every_node(room: MirroredRoom, ada: Participant) -> None:
    room.home.room.moderation.update(ada, locked=True)
    room.deliver_all()
    with pytest.raises(RemoteError) as refusal:
        room.join(room.edges["edge 1"], "bob")
    assert refusal.value.code == "room_locked"


def test_a_client_of_an_edge_waits_in_the_lobby_of_the_room(room: MirroredRoom, ada: Participant) -> None:
    room.home.room.moderation.update(ada, lobby=True)
    room.deliver_all()
    waiting = room.join(room.edges["edge 1"], "bob")
    assert isinstance(waiting, WaitingParticipant)
    room.attach(room.edges["edge 1"])  # the link was lost
    room.deliver_all()
    room.home.room.moderation.admit(ada, waiting.id)
    room.deliver_all()
    admitted = sink_of(waiting).participant
    assert admitted is not None
    assert admitted.id == waiting.id
    assert room.edges["edge 1"].room.members.find(waiting.id) is admitted


def test_a_participant_kicked_while_the_link_is_cut_does_not_come_back(
    room: MirroredRoom, ada: Participant, bob: Participant
) -> None:
    room.home.room.moderation.kick(ada, bob.id)
    room.links["edge 1"].down.clear()  # lost
    node = room.edges["edge 1"]
    assert node.mirror is not None
    node.mirror.attach()
    room.deliver_all()
    assert sink_of(bob).removal is not None
    assert room.home.room.members.find(bob.id) is None


def test_participants_of_a_failed_edge_are_away(room: MirroredRoom, ada: Participant, bob: Participant) -> None:
    track = room.edges["edge 1"].publish(bob)
    room.deliver_all()
    room.fail_edge("edge 1")
    assert [one.id for one in room.home.room.away] == [bob.id]
    publication = room.home.room.publications.find(track.id)
    assert publication is not None
    assert not publication.bound
    assert texts(ada) == ["ParticipantJoined", "TrackPublished"]


def test_an_edge_continues_the_room_of_a_failed_home(room: MirroredRoom, ada: Participant, bob: Participant) -> None:
    cleo = room.participant(room.edges["edge 2"], "cleo")
    before = view(room.edges["edge 2"])
    seen = texts(cleo)
    room.fail_home("edge 1")
    room.deliver_all()
    assert [one.id for one in room.home.room.away] == [ada.id]
    assert view(room.edges["edge 2"]) == view(room.home) == before
    assert texts(cleo) == seen, "no one has left or joined"
    room.edges["edge 2"].room.messages.send_chat(cleo, "Is Ada back?")
    room.deliver_all()
    assert texts(bob)[-1] == "ChatSent"


def test_a_client_that_leaves_before_its_join_is_answered(room: MirroredRoom, ada: Participant) -> None:
    node = room.edges["edge 1"]
    assert node.mirror is not None
    node.mirror.abandon(room.request(node, "bob"))
    room.deliver_all()
    assert room.home.room.members.find_by_identity("bob") is None
    assert texts(ada) == ["ParticipantJoined", "ParticipantLeft"]


def test_a_data_channel_message_crosses_a_link_once(room: MirroredRoom, ada: Participant, bob: Participant) -> None:
    dora = room.participant(room.edges["edge 1"], "dora")
    room.home.room.messages.relay_data(ada, DataPacket(ada.id, "pointer", b"[1]"), reliable=False)
    assert len(room.links["edge 1"].down) == 1
    room.deliver_all()
    for one in (bob, dora):
        sink = one.sink
        assert isinstance(sink, FakeSink)
        assert [packet.payload for packet in sink.relayed] == [b"[1]"]


def test_a_command_that_the_home_did_not_execute_is_sent_to_the_next_one(
    room: MirroredRoom, ada: Participant, bob: Participant
) -> None:
    cleo = room.participant(room.edges["edge 2"], "cleo")
    room.edges["edge 1"].room.messages.send_chat(bob, "by the next home itself")
    room.edges["edge 2"].room.messages.send_chat(cleo, "by another edge")
    room.fail_home("edge 1")
    room.deliver_all()
    for node in room.nodes:
        assert sorted(entry.text for entry in node.room.messages.chat(bob)) == [
            "by another edge",
            "by the next home itself",
        ]


def test_a_command_is_executed_once_although_the_link_was_lost(
    room: MirroredRoom, ada: Participant, bob: Participant
) -> None:
    node = room.edges["edge 1"]
    node.room.messages.send_chat(bob, "once")
    while room.deliver("edge 1", "up"):
        pass
    room.links["edge 1"].down.clear()  # lost, with the answer to the command
    assert node.mirror is not None
    node.mirror.attach()
    room.deliver_all()
    assert [entry.text for entry in room.home.room.messages.chat(bob)] == ["once"]
    assert texts(ada).count("ChatSent") == 1


def test_a_client_that_left_the_lobby_while_the_link_was_cut_does_not_wait(
    room: MirroredRoom, ada: Participant
) -> None:
    room.home.room.moderation.update(ada, lobby=True)
    room.deliver_all()
    node = room.edges["edge 1"]
    waiting = room.join(node, "bob")
    assert isinstance(waiting, WaitingParticipant)
    node.room.leave_lobby(waiting)
    room.links["edge 1"].up.clear()  # lost
    assert node.mirror is not None
    node.mirror.attach()
    room.deliver_all()
    assert len(room.home.room.lobby) == 0
