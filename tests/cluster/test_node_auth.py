"""Requests between nodes and messages of the bus: what a stranger, an old request or another cluster's node achieves."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing

import pytest

from sfu.cluster.memory_directory import MemoryBus
from sfu.cluster.node_auth import (
    CLIENT_HEADER,
    MESSAGE_AGE,
    NODE_HEADER,
    NONCE_HEADER,
    SIGNATURE_HEADER,
    STREAMED,
    TIME_HEADER,
    WINDOW,
    NodeAuthentication,
    SignedBus,
)
from sfu.cluster.ports import MESSAGE_LIMIT_BYTES
from sfu.errors import NotAuthorized

SECRET, NEXT, FOREIGN = "s" * 32, "n" * 32, "f" * 32


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def ns(self) -> int:
        return int(self.now * 1e9)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def a(clock: Clock) -> NodeAuthentication:
    return NodeAuthentication([SECRET], "a", clock)


@pytest.fixture
def b(clock: Clock) -> NodeAuthentication:
    return NodeAuthentication([SECRET], "b", clock)


def test_a_signed_request(a: NodeAuthentication, b: NodeAuthentication) -> None:
    headers = a.sign("POST", "/api/v1/rooms?x=1", to="b", client="203.0.113.5", body=b"{}")
    assert b.verify("POST", "/api/v1/rooms?x=1", headers, b"{}") == "a"
    streamed = a.sign("POST", "/whip/room", to="b", body=STREAMED)
    assert b.verify("POST", "/whip/room", streamed, STREAMED) == "a"


@pytest.mark.parametrize(
    "change",
    [
        lambda headers: headers | {NODE_HEADER: "c"},
        lambda headers: headers | {CLIENT_HEADER: "127.0.0.1"},
        lambda headers: {name: value for name, value in headers.items() if name != CLIENT_HEADER},
        lambda headers: headers | {TIME_HEADER: str(float(headers[TIME_HEADER]) + 1)},
        lambda headers: headers | {NONCE_HEADER: "0" * 32},
        lambda headers: headers | {SIGNATURE_HEADER: "0" * 64},
        lambda headers: headers | {SIGNATURE_HEADER: "x"},
        lambda headers: headers | {TIME_HEADER: "nan"},
        lambda _: {},
    ],
)
def test_altered_headers(
    a: NodeAuthentication, b: NodeAuthentication, change: Callable[[dict[str, str]], dict[str, str]]
) -> None:
    headers = a.sign("GET", "/", to="b", client="203.0.113.5")
    with pytest.raises(NotAuthorized, match="not signed"):
        b.verify("GET", "/", change(headers))


def test_altered_requests(a: NodeAuthentication, b: NodeAuthentication) -> None:
    headers = a.sign("GET", "/x", to="b")
    for method, target, body in [("POST", "/x", b""), ("GET", "/y", b""), ("GET", "/x", b"1"), ("GET", "/x", STREAMED)]:
        with pytest.raises(NotAuthorized, match="not signed"):
            b.verify(method, target, headers, body)
    assert b.verify("GET", "/x", headers) == "a"


def test_replays(a: NodeAuthentication, b: NodeAuthentication, clock: Clock) -> None:
    headers = a.sign("GET", "/", to="b")
    b.verify("GET", "/", headers)
    with pytest.raises(NotAuthorized, match="received before"):
        b.verify("GET", "/", headers)
    with pytest.raises(NotAuthorized, match="not signed"):  # signed for b
        NodeAuthentication([SECRET], "c", clock).verify("GET", "/", headers)
    late = a.sign("GET", "/", to="b")
    for offset in (WINDOW + 1, -WINDOW - 1):
        clock.now += offset
        with pytest.raises(NotAuthorized, match="Check the clocks"):
            b.verify("GET", "/", late)
        clock.now -= offset
    b.verify("GET", "/", late)


def test_nonces_are_forgotten(a: NodeAuthentication, b: NodeAuthentication, clock: Clock) -> None:
    for _ in range(100):
        b.verify("GET", "/", a.sign("GET", "/", to="b"))
        clock.now += 1
    assert len(b._nonces) == 2 * WINDOW


def test_rotation(clock: Clock) -> None:
    before, during, after = ([SECRET], [SECRET, NEXT], [NEXT, SECRET])
    for signing, verifying in [(before, during), (during, after), (after, during)]:
        headers = NodeAuthentication(signing, "a", clock).sign("GET", "/", to="b")
        assert NodeAuthentication(verifying, "b", clock).verify("GET", "/", headers) == "a"
    with pytest.raises(NotAuthorized):
        NodeAuthentication([FOREIGN], "b", clock).verify("GET", "/", headers)


class CapturedBus(MemoryBus):
    """Keeps what is published, for replays."""

    def __init__(self) -> None:
        super().__init__()
        self.captured: list[bytes] = []

    async def publish(self, stream: str, message: bytes) -> None:
        self.captured.append(message)
        await super().publish(stream, message)


async def delivered(bus: SignedBus, streams: Sequence[str], until: bytes) -> list[bytes]:
    found: list[bytes] = []
    messages: AsyncIterator[tuple[str, bytes]] = bus.read(streams)
    async with asyncio.timeout(10), aclosing(messages) as reader:  # type: ignore[type-var]
        async for _, message in reader:
            if message == until:
                return found
            found.append(message)
    raise AssertionError


async def test_hostile_messages(clock: Clock) -> None:
    inner = CapturedBus()
    bus = SignedBus(inner, [SECRET], clock.ns)
    await bus.publish("one", b"good")
    (good,) = inner.captured
    await inner.publish("one", good)  # replayed
    await inner.publish("two", good)  # copied to another stream
    await inner.publish("one", good[:-1] + bytes([good[-1] ^ 1]))
    await inner.publish("one", b"")
    await inner.publish("one", b"x" * 1000)
    await SignedBus(inner, [FOREIGN], clock.ns).publish("one", b"foreign")
    await inner.publish("one", bus._signer.sign(b"\xc1") + b"\xc1")
    clock.now -= MESSAGE_AGE + 60
    await SignedBus(inner, [SECRET], clock.ns).publish("one", b"old")
    clock.now += MESSAGE_AGE + 60
    # The limit of the inner bus does not protect: another driver's storage may hold anything.
    inner._streams["one"].append(bytes(MESSAGE_LIMIT_BYTES + 1))
    await bus.publish("one", b"end")
    reader = SignedBus(inner, [NEXT, SECRET], clock.ns)
    assert await delivered(reader, ["two", "one"], b"end") == [b"good"]
    assert reader.refused == {
        "oversized": 1, "malformed": 1, "forged": 4, "misplaced": 1, "old": 1, "replayed": 1,
    }  # fmt: skip


async def test_concurrent_messages_keep_their_order(clock: Clock) -> None:
    class SlowBus(MemoryBus):
        delays = iter([3, 0, 2, 1])

        async def publish(self, stream: str, message: bytes) -> None:
            for _ in range(next(self.delays, 0)):
                await asyncio.sleep(0)
            await super().publish(stream, message)

    bus = SignedBus(SlowBus(), [SECRET], clock.ns)
    await asyncio.gather(*(bus.publish("one", b"%d" % number) for number in range(5)))
    assert await delivered(bus, ["one"], b"4") == [b"0", b"1", b"2", b"3"]
    assert not any(bus.refused.values())


async def test_messages_have_a_size_limit(clock: Clock) -> None:
    with pytest.raises(ValueError, match="with its signature"):
        await SignedBus(MemoryBus(), [SECRET], clock.ns).publish("one", bytes(MESSAGE_LIMIT_BYTES - 8))
