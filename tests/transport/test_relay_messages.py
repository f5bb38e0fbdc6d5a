import pytest

from sfu.transport import relay_messages as messages
from sfu.transport.relay_messages import (
    ADDRESSES_LIMIT,
    ITEMS_LIMIT,
    MESSAGE_LIMIT_BYTES,
    Accepted,
    Batch,
    Ended,
    Hello,
    LayerDescription,
    LayerRequest,
    RelayStream,
    Subscribe,
    TrackDescription,
    UnknownSession,
    Unsubscribe,
)

HELLO = Hello(b"n" * 32, b"k" * 8, (("192.0.2.1", 7882), ("2001:db8::1", 7882)))
LAYERS = tuple(LayerDescription(rid, 160, 90) for rid in "qhf")
DESCRIPTION = TrackDescription("TR_1", 1, "video", "VP8", "x" * 512, "PA_1", False, False, LAYERS)
REQUEST = LayerRequest("TR_1", 1, tuple(RelayStream(rid, 2, 3) for rid in "qhf"), ("q", "h"))


@pytest.mark.parametrize("item", [Subscribe("TR_1"), Unsubscribe("TR_1"), Ended("TR_1"), DESCRIPTION, REQUEST])
def test_items_return_unchanged(item: messages.Item) -> None:
    batch = Batch(b"s" * 8, 7, (item,) * ITEMS_LIMIT)
    data = messages.encode(batch)
    assert len(data) < MESSAGE_LIMIT_BYTES
    assert messages.decode_request(data) == batch


def test_requests_and_answers_return_unchanged() -> None:
    assert messages.decode_request(messages.encode(HELLO)) == HELLO
    for answer in (HELLO, Accepted(), UnknownSession()):
        assert messages.decode_answer(messages.encode(answer)) == answer


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        messages.encode(Accepted()),
        messages.encode(HELLO)[:-3],
        messages.encode(Hello(b"", b"", (("192.0.2.1", 0),))),
        messages.encode(Hello(b"", b"", (("192.0.2.1", 70_000),))),
        messages.encode(Hello(b"", b"", (("192.0.2.1", 1),) * (ADDRESSES_LIMIT + 1))),
        messages.encode(Batch(b"", 1, (Subscribe("TR_1"),) * (ITEMS_LIMIT + 1))),
        messages.encode(Batch(b"", 1, ())) + bytes(MESSAGE_LIMIT_BYTES),
        messages.encode(["Batch", b"", 1, [["Unknown", "TR_1"]]]),
        messages.encode(["Batch", b"", 1, [["LayerRequest", "TR_1", 1, [["q", "x", 3]], []]]]),
    ],
)
def test_malformed_requests_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # msgspec has several subclasses
        messages.decode_request(data)


def test_malformed_answers_are_refused() -> None:
    for data in (b"", messages.encode(Batch(b"", 1, ())), bytes(MESSAGE_LIMIT_BYTES + 1)):
        with pytest.raises(ValueError):  # noqa: PT011
            messages.decode_answer(data)
