import itertools
from collections.abc import Callable

import pytest

from sfu.errors import NotAuthorized
from sfu.transport.relay_keys import NONCE_BYTES, KeyExchange, SessionKeys, key_id

OLD, NEW = "an old secret of 32 bytes, or more", "a new secret of 32 bytes, or more"


def numbered() -> Callable[[int], bytes]:
    """Random bytes that are different each time."""
    count = itertools.count(1)
    return lambda size: next(count).to_bytes(4, "big").ljust(size, b"\0")


RANDOM = numbered()


def node(name: str, remote: str, *secrets: str) -> KeyExchange:
    return KeyExchange(secrets or (OLD,), name, remote, RANDOM)


def keys(exchange: KeyExchange) -> SessionKeys:
    assert exchange.keys is not None
    return exchange.keys


def greet(asking: KeyExchange, asked: KeyExchange) -> None:
    """Requests until both have a session."""
    for _ in range(3):
        sent = asking.nonce
        asked.hello_received(sent, asking.key_id)
        _, again = asking.answer_received(sent, asked.nonce, asked.key_id)
        if not again:
            return
    raise AssertionError("no session after three requests")


def agree(one: KeyExchange, two: KeyExchange) -> bool:
    return (keys(one).session, keys(one).send, keys(one).receive) == (
        keys(two).session,
        keys(two).receive,
        keys(two).send,
    )


def test_both_nodes_derive_the_same_keys_and_each_direction_has_its_own() -> None:
    one, two = node("one", "two"), node("two", "one")
    greet(one, two)
    assert agree(one, two)
    assert keys(one).send.srtp != keys(one).receive.srtp
    assert keys(one).send.ufrag != keys(one).receive.ufrag
    assert len(keys(one).send.srtp) == 16 + 12


def test_both_may_begin_at_the_same_time() -> None:
    one, two = node("one", "two"), node("two", "one")
    from_one, from_two = one.nonce, two.nonce
    one.hello_received(from_two, two.key_id)
    two.hello_received(from_one, one.key_id)
    assert one.answer_received(from_one, two.nonce, two.key_id) == (False, False)
    assert two.answer_received(from_two, one.nonce, one.key_id) == (False, False)
    assert agree(one, two)


@pytest.mark.parametrize("first", [0, 1])
def test_a_restarted_node_gets_a_session_with_new_keys(first: int) -> None:
    one, two = node("one", "two"), node("two", "one")
    greet(one, two)
    before = keys(one)
    two = node("two", "one")
    greet(*((one, two) if first else (two, one)))
    assert agree(one, two)
    assert keys(one).send.srtp != before.send.srtp


def test_no_nonce_is_used_in_two_sessions() -> None:
    one, two = node("one", "two"), node("two", "one")
    seen: set[bytes] = set()
    for _ in range(5):
        greet(one, two)
        assert agree(one, two)
        assert not {keys(one).send.srtp, keys(one).receive.srtp} & seen
        seen |= {keys(one).send.srtp, keys(one).receive.srtp}
        one.restart()
    old = two.nonce
    greet(one, two)
    two.hello_received(b"r" * NONCE_BYTES, two.key_id)  # a request of an earlier process, sent again
    assert two.nonce != old
    assert keys(two).send.srtp not in seen


def test_a_repeated_request_changes_nothing() -> None:
    one, two = node("one", "two"), node("two", "one")
    greet(one, two)
    before = keys(two)
    assert two.hello_received(one.nonce, one.key_id) is False
    assert keys(two) is before


@pytest.mark.parametrize(
    ("ours", "theirs"), [((OLD,), (OLD, NEW)), ((OLD, NEW), (OLD, NEW)), ((OLD, NEW), (NEW, OLD)), ((NEW, OLD), (NEW,))]
)
def test_secrets_are_rotated_without_an_interruption(ours: tuple[str, ...], theirs: tuple[str, ...]) -> None:
    one, two = node("one", "two", *ours), node("two", "one", *theirs)
    greet(one, two)
    assert agree(one, two)


def test_keys_depend_on_secret_and_names() -> None:
    found = set()
    for secret, name in itertools.product((OLD, NEW), ("two", "tow")):
        random = numbered()
        one, two = KeyExchange([secret], "one", name, random), KeyExchange([secret], name, "one", random)
        greet(one, two)
        found.add(keys(one).send.srtp)
    assert len(found) == 4


@pytest.mark.parametrize(
    ("nonce", "secret"), [(b"n" * NONCE_BYTES, NEW), (b"short", OLD), (b"", OLD), (b"n" * 64, OLD)]
)
def test_other_secrets_and_wrong_nonces_are_refused(nonce: bytes, secret: str) -> None:
    one = node("one", "two")
    for call in (
        lambda: one.hello_received(nonce, key_id(secret)),
        lambda: one.answer_received(one.nonce, nonce, key_id(secret)),
    ):
        with pytest.raises(NotAuthorized):
            call()
    assert one.keys is None
    with pytest.raises(NotAuthorized):
        one.hello_received(one.nonce, key_id(OLD))  # our own, reflected
