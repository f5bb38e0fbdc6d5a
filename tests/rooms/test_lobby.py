"""The lobby as a table of waiting participants."""

from sfu.ids import Identity, ParticipantId, RoomName
from sfu.rooms.lobby import Lobby, WaitingParticipant
from sfu.rooms.state import WaitingState
from tests.rooms.fakes import FakeSink, profile


def waiting(identity: str) -> WaitingParticipant:
    return WaitingParticipant(ParticipantId(f"PA_{identity}"), profile(identity), RoomName("standup"), FakeSink())


def test_participants_wait_in_the_order_of_arrival() -> None:
    lobby = Lobby()
    for identity in ("eve", "ada", "bob"):
        lobby.add(waiting(identity))
    assert [one.profile.identity for one in lobby] == ["eve", "ada", "bob"]
    assert len(lobby) == 3


def test_participants_are_found_by_identity_and_removed_by_id() -> None:
    lobby, eve = Lobby(), waiting("eve")
    lobby.add(eve)
    assert lobby.find_by_identity("eve") is eve
    assert lobby.find_by_identity("PA_eve") is None
    assert lobby.remove("eve") is None
    assert lobby.remove("PA_eve") is eve
    assert lobby.remove("PA_eve") is None
    assert lobby.find_by_identity("eve") is None
    assert len(lobby) == 0


def test_the_lobby_may_change_while_it_is_iterated() -> None:
    lobby = Lobby()
    for identity in ("eve", "ada", "bob"):
        lobby.add(waiting(identity))
    for one in lobby:
        assert lobby.remove(one.id) is one
    assert list(lobby) == []


def test_the_state_names_the_participant() -> None:
    assert waiting("eve").state == WaitingState(ParticipantId("PA_eve"), Identity("eve"), "eve")
