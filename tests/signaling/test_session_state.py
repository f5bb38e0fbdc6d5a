"""The life of a session: which states follow which, and what a client does at the end."""

import pytest

from sfu.signaling.session_state import ACTIONS, NEXT_STATES, State


def test_every_state_ends_and_none_comes_back() -> None:
    assert set(NEXT_STATES) == set(State)
    order = list(State)
    for state, following in NEXT_STATES.items():
        assert all(order.index(each) > order.index(state) for each in following)
        assert state is State.ENDED or State.ENDED in following


@pytest.mark.parametrize("state", [State.JOINED, State.ENDED])
def test_the_lobby_is_before_the_room(state: State) -> None:
    assert State.WAITING not in NEXT_STATES[state]


def test_clients_return_only_when_another_server_takes_them() -> None:
    assert ACTIONS == {"draining": "reconnect", "moved": "resume"}
