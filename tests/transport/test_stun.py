"""STUN Binding requests: RFC 5769's vector, aioice as the other side, and bytes from strangers."""

from struct import pack
from zlib import crc32

import pytest
from aioice import stun as reference
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import MalformedPacket
from sfu.transport.stun import (
    RepeatedCheck,
    binding_response,
    error_response,
    parse_binding_request,
    role_conflict,
    verify,
)

PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
RFC_5769 = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff80290008932ff9b1"
    "51263b36000600096576746a3a683676592020200008001 49aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf".replace(
        " ", ""
    )
)
TRANSACTION = bytes(range(12))


def request(
    *,
    role: str = "ICE-CONTROLLING",
    nominated: bool = True,
    password: bytes = PASSWORD,
    transaction: bytes = TRANSACTION,
    username: str = "ours:theirs",
) -> bytes:
    message = reference.Message(
        message_method=reference.Method.BINDING,
        message_class=reference.Class.REQUEST,
        transaction_id=transaction,
    )
    message.attributes["USERNAME"] = username
    message.attributes["PRIORITY"] = 1845501695
    message.attributes[role] = 77
    if nominated:
        message.attributes["USE-CANDIDATE"] = None
    message.add_message_integrity(password)
    return bytes(message)


def raw(*attributes: tuple[int, bytes], fingerprint: bool = False) -> bytes:
    body = b"".join(pack("!HH", kind, len(value)) + value + bytes(-len(value) & 3) for kind, value in attributes)
    length = len(body) + 8 * fingerprint
    data = pack("!HHI12s", 1, length, 0x2112A442, TRANSACTION) + body
    return data + pack("!HHI", 0x8028, 4, crc32(data) ^ 0x5354554E) if fingerprint else data


def test_rfc_5769_sample_request() -> None:
    parsed = parse_binding_request(RFC_5769)
    assert parsed.username == "evtj:h6vY"
    assert parsed.transaction_id.hex() == "b7e7a701bc34d686fa87dfae"
    assert (parsed.priority, parsed.use_candidate, parsed.controlling) == (0x6E0001FF, False, False)
    assert parsed.tie_breaker == 0x932FF9B151263B36
    assert verify(parsed, RFC_5769, PASSWORD)
    assert not verify(parsed, RFC_5769, PASSWORD + b"x")


@pytest.mark.parametrize("nominated", [True, False])
@pytest.mark.parametrize("role", ["ICE-CONTROLLING", "ICE-CONTROLLED"])
def test_a_client_s_request(role: str, nominated: bool) -> None:
    data = request(role=role, nominated=nominated)
    for view in (data, memoryview(data), bytearray(data)):
        parsed = parse_binding_request(view)
        assert parsed.transaction_id == TRANSACTION
        assert parsed.username == "ours:theirs"
        assert parsed.priority == 1845501695
        assert parsed.use_candidate is nominated
        assert parsed.controlling is (role == "ICE-CONTROLLING")
        assert parsed.tie_breaker == 77
        assert verify(parsed, view, PASSWORD)
        assert not verify(parsed, view, b"wrong")


def test_every_flipped_bit_is_noticed() -> None:
    data = request()
    for position in range(8 * (len(data) - 8)):  # FINGERPRINT itself is not covered; without it the rest still counts
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        try:
            parsed = parse_binding_request(flipped)
        except MalformedPacket:
            continue
        assert not verify(parsed, flipped, PASSWORD)


def test_attributes_after_the_integrity_do_not_count() -> None:
    covered = raw((0x0006, b"ours:theirs"), (0x0008, bytes(20)))
    smuggled = raw((0x0006, b"ours:theirs"), (0x0008, bytes(20)), (0x0025, b""), (0x0006, b"else"))
    parsed = parse_binding_request(smuggled)
    assert not parsed.use_candidate
    assert parsed.username == "ours:theirs"
    assert parsed.integrity_end == len(covered) - 24


def test_a_request_without_integrity_has_no_owner() -> None:
    data = raw((0x0006, b"ours:theirs"))
    parsed = parse_binding_request(data)
    assert parsed.integrity_end == 0
    assert not verify(parsed, data, PASSWORD)
    assert not verify(parsed, data, b"")


def test_unknown_required_attributes_are_named() -> None:
    parsed = parse_binding_request(raw((0x7F01, b"x"), (0x7F00, b""), (0x7F01, b""), (0xFF00, b"optional")))
    assert parsed.unknown == (0x7F01, 0x7F00)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "nothing"),
        (b"\0\1" + bytes(17), "less than a header"),
        (pack("!HHI12s", 1, 0, 0x2112A443, TRANSACTION), "no magic cookie"),
        (pack("!HHI12s", 0x0101, 0, 0x2112A442, TRANSACTION), "a response"),
        (pack("!HHI12s", 0x0011, 0, 0x2112A442, TRANSACTION), "an indication"),
        (pack("!HHI12s", 1, 4, 0x2112A442, TRANSACTION), "a length beyond the datagram"),
        (pack("!HHI12s", 1, 0, 0x2112A442, TRANSACTION) + b"more", "a datagram beyond the length"),
        (pack("!HHI12sH", 1, 2, 0x2112A442, TRANSACTION, 0), "half an attribute head"),
        (pack("!HHI12sHH", 1, 4, 0x2112A442, TRANSACTION, 6, 1), "an attribute beyond the end"),
        (raw((0x0006, b"x" * 514)), "a username of 514 bytes"),
        (raw((0x0006, b"\xff\xfe")), "a username that is not UTF-8"),
        (raw((0x0024, b"abc")), "a priority of 3 bytes"),
        (raw((0x0024, b"")), "a priority of 0 bytes"),
        (raw((0x802A, b"abcd")), "a tie-breaker of 4 bytes"),
        (raw((0x0008, b"abcd")), "an integrity of 4 bytes"),
        (raw((0x8028, b"abcd")), "a wrong fingerprint"),
        (raw((0x8028, b"ab")), "a short fingerprint"),
        (raw((0x8028, b"abcd"), (0x0025, b"")), "a fingerprint that is not last"),
        (raw(*[(0x8000, b"")] * 33), "33 attributes"),
    ],
)
def test_malformed(data: bytes, what: str) -> None:
    with pytest.raises(MalformedPacket):
        parse_binding_request(data)


def test_a_right_fingerprint_without_integrity() -> None:
    assert parse_binding_request(raw((0x0025, b""), fingerprint=True)).use_candidate


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (("192.0.2.1", 32853), ("192.0.2.1", 32853)),
        (("::ffff:192.0.2.1", 32853, 0, 0), ("192.0.2.1", 32853)),
        (("2001:db8:1234:5678:11:2233:4455:6677", 32853, 0, 0), ("2001:db8:1234:5678:11:2233:4455:6677", 32853)),
        (("fe80::1%eth0", 9, 0, 2), ("fe80::1", 9)),
        (("::1", 65535, 0, 0), ("::1", 65535)),
    ],
)
def test_responses(address: tuple[str, int] | tuple[str, int, int, int], told: tuple[str, int]) -> None:
    data = binding_response(TRANSACTION, address, PASSWORD)
    message = reference.parse_message(data)
    assert message.check_message_integrity(PASSWORD)
    assert message.message_class == reference.Class.RESPONSE
    assert message.transaction_id == TRANSACTION
    assert message.attributes["XOR-MAPPED-ADDRESS"] == told
    assert len(data) < len(request())


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (role_conflict(TRANSACTION, PASSWORD), (487, "Role Conflict")),
        (error_response(TRANSACTION, 420, "Unknown Attribute", PASSWORD, (0x7F00, 0x7F01, 0x7F02)), (420, None)),
    ],
)
def test_errors(data: bytes, code: tuple[int, str | None]) -> None:
    message = reference.parse_message(data)
    assert message.check_message_integrity(PASSWORD)
    assert message.message_class == reference.Class.ERROR
    number, reason = message.attributes["ERROR-CODE"]
    assert number == code[0]
    assert code[1] in (None, reason)


@given(st.binary(max_size=300))
def test_random_bytes(data: bytes) -> None:
    try:
        parsed = parse_binding_request(b"\0\1" + data)
    except MalformedPacket:
        return
    assert not verify(parsed, b"\0\1" + data, PASSWORD)


ATTRIBUTES = st.sampled_from([0x0006, 0x0008, 0x0024, 0x0025, 0x8028, 0x8029, 0x802A]) | st.integers(0, 0xFFFF)


@given(st.lists(st.tuples(ATTRIBUTES, st.binary(max_size=24)), max_size=12), st.booleans())
def test_random_attributes(attributes: list[tuple[int, bytes]], fingerprint: bool) -> None:
    data = raw(*attributes, fingerprint=fingerprint)
    try:
        parsed = parse_binding_request(data)
    except MalformedPacket:
        return
    assert not verify(parsed, data, PASSWORD)


@given(st.data())
def test_mutations(data: st.DataObject) -> None:
    packet = bytearray(request())
    for _ in range(data.draw(st.integers(1, 4))):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(packet[: data.draw(st.integers(0, len(packet)))])
    try:
        parsed = parse_binding_request(cut)
    except MalformedPacket:
        return
    assert verify(parsed, cut, PASSWORD) is (cut == request())


@pytest.mark.parametrize(
    "address",
    [("192.0.2.1", 32853), ("::ffff:192.0.2.1", 32853, 0, 0), ("2001:db8::1", 32853, 0, 0)],
)
@pytest.mark.parametrize("password", [PASSWORD, PASSWORD * 4])
def test_a_repeated_check_is_answered_like_the_first(
    address: tuple[str, int] | tuple[str, int, int, int], password: bytes
) -> None:
    first = request(password=password)
    repeated = RepeatedCheck(parse_binding_request(first), memoryview(first), address, password)
    for transaction in (TRANSACTION, bytes(range(12, 24))):
        again = request(password=password, transaction=transaction)
        assert repeated.answer(memoryview(again)) == binding_response(transaction, address, password)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (request(nominated=False), "another length"),
        (request(username="ours:thetrs"), "another name"),
        (request(role="ICE-CONTROLLED"), "another role"),
        (request(password=b"wrong"), "another password"),
        (b"", "nothing"),
        (request()[:-8], "no fingerprint"),
        *[
            (request()[:at] + bytes([request()[at] ^ 1]) + request()[at + 1 :], f"byte {at}")
            for at in range(len(request()))
        ],
    ],
)
def test_a_datagram_that_repeats_no_check_is_not_answered(data: bytes, what: str) -> None:
    first = request()
    assert RepeatedCheck(parse_binding_request(first), first, ("192.0.2.1", 1), PASSWORD).answer(data) is None
