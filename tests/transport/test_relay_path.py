from sfu.forwarding.peer_transport import Address
from sfu.transport import stun
from sfu.transport.relay_keys import KeyExchange
from sfu.transport.relay_path import (
    ADDRESSES_LIMIT,
    LOST_AFTER,
    PENDING_LIMIT,
    SEARCH_INTERVAL,
    WATCH_INTERVAL,
    RelayPath,
    socket_address,
)

ONE, TWO, WRONG, NAT = ("192.0.2.1", 1), ("192.0.2.2", 2), ("192.0.2.3", 3), ("192.0.2.4", 4)
SECRET = "a secret of the cluster with 32 bytes"


def paths(one_knows: list[Address], two_knows: list[Address]) -> tuple[RelayPath, RelayPath]:
    one, two = KeyExchange([SECRET], "one", "two"), KeyExchange([SECRET], "two", "one")
    two.hello_received(one.nonce, one.key_id)
    one.answer_received(one.nonce, two.nonce, two.key_id)
    assert one.keys is not None
    assert two.keys is not None
    return RelayPath(one.keys, one_knows, 0.0), RelayPath(two.keys, two_knows, 0.0)


def answer(path: RelayPath, check: bytes, source: Address, now: float) -> bytes | None:
    """The response of `path` to a check that comes from `source`."""
    request = stun.parse_binding_request(check)
    password = path.check_received(request, memoryview(check), source, now)
    return stun.binding_response(request.transaction_id, source, password) if password is not None else None


def test_the_first_address_that_answers_is_selected() -> None:
    one, two = paths([WRONG, TWO], [ONE])
    checks = dict(one.checks(0.0))
    assert list(checks) == [WRONG, TWO]
    response = answer(two, checks[TWO], ONE, 0.01)
    assert response is not None
    assert one.answer_received(memoryview(response), TWO, 0.02)
    assert one.selected == TWO
    assert one.is_open(0.02)
    assert one.rtt == 0.02
    assert one.checks(0.05) == []
    assert [address for address, _ in one.checks(WATCH_INTERVAL)] == [TWO]


def test_a_node_behind_nat_is_reached_at_the_address_that_it_checks_from() -> None:
    one, two = paths([TWO], [ONE])
    ((_, check),) = one.checks(0.0)
    two.checks(0.0)
    assert answer(two, check, NAT, 0.01) is not None
    checks = dict(two.checks(0.01))
    assert set(checks) == {ONE, NAT}  # at once
    response = answer(one, checks[NAT], TWO, 0.02)
    assert response is not None
    assert two.answer_received(memoryview(response), NAT, 0.03)
    assert two.selected == NAT


def test_a_path_without_answers_is_lost_and_searched_again() -> None:
    one, two = paths([WRONG, TWO], [ONE])
    response = answer(two, dict(one.checks(0.0))[TWO], ONE, 0.0)
    assert response is not None
    one.answer_received(memoryview(response), TWO, 0.0)
    assert not one.is_lost(LOST_AFTER)
    now = LOST_AFTER + 0.1
    assert one.is_lost(now)
    checks = dict(one.checks(now))
    assert list(checks) == [WRONG, TWO]
    response = answer(two, checks[WRONG], ONE, now)
    assert response is not None
    one.answer_received(memoryview(response), WRONG, now)
    assert one.selected == WRONG
    assert one.is_open(now)
    assert list(dict(one.checks(now + SEARCH_INTERVAL))) == [WRONG]


def test_a_check_is_accepted_once() -> None:
    one, two = paths([TWO], [ONE])
    ((_, check),) = one.checks(0.0)
    assert answer(two, check, ONE, 0.0) is not None
    assert answer(two, check, WRONG, 0.1) is None
    assert WRONG not in dict(two.checks(0.2))


def test_checks_of_another_session_and_altered_ones_are_refused() -> None:
    one, two = paths([TWO], [ONE])
    stranger, _ = paths([TWO], [ONE])
    ((_, foreign),) = stranger.checks(0.0)
    assert answer(two, foreign, ONE, 0.0) is None
    ((_, check),) = one.checks(0.0)
    request = stun.parse_binding_request(check)
    altered = bytearray(check)
    altered[8] ^= 1
    assert two.check_received(request, memoryview(altered), ONE, 0.0) is None
    username = request.username
    forged = stun.binding_request(b"\xff" * 12, username, b"guessed")
    assert answer(two, forged, ONE, 0.0) is None
    assert answer(two, check, ONE, 0.0) is not None


def test_answers_count_only_from_the_address_that_was_asked() -> None:
    one, two = paths([TWO], [ONE])
    ((_, check),) = one.checks(0.0)
    response = answer(two, check, ONE, 0.0)
    assert response is not None
    assert one.answer_received(memoryview(response), WRONG, 0.1)
    assert one.selected is None
    assert not one.answer_received(memoryview(check), TWO, 0.1)
    forged = stun.binding_response(check[8:20], ONE, b"guessed")
    assert not one.answer_received(memoryview(forged), TWO, 0.1)
    assert one.selected is None


def test_addresses_and_unanswered_checks_are_bounded() -> None:
    one, _ = paths([(f"192.0.2.{number}", 9) for number in range(100)], [])
    one.add([(f"198.51.100.{number}", 9) for number in range(100)])
    now = 0.0
    for _ in range(20):
        now += SEARCH_INTERVAL
        checks = one.checks(now)
    assert len(checks) == ADDRESSES_LIMIT
    assert len(one._pending) <= PENDING_LIMIT


def test_socket_addresses() -> None:
    assert socket_address("192.0.2.1", 5) == ("192.0.2.1", 5)
    assert socket_address("2001:db8:0::1", 5) == ("2001:db8::1", 5, 0, 0)
    assert socket_address("example.org", 5) is None
