"""WebSocket framing (RFC 6455 5) without I/O."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.signaling.frames import (
    CLOSE_NO_CODE,
    CONTROL_BURST,
    SMALL_FRAGMENT,
    Frame,
    FrameReader,
    FrameViolation,
    Opcode,
    close_frame,
    frame_header,
)

LIMIT = 65_536
MASK = b"\x11\x22\x33\x44"


def masked(payload: bytes) -> bytes:
    return bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))


def frame(payload: bytes = b"", opcode: int = 1, *, final: bool = True, mask: bool = True, reserved: int = 0) -> bytes:
    first = (0x80 if final else 0) | reserved | opcode
    flag, length = 0x80 if mask else 0, len(payload)
    if length < 126:
        head = bytes((first, flag | length))
    elif length < 65_536:
        head = bytes((first, flag | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, flag | 127)) + length.to_bytes(8, "big")
    return head + (MASK + masked(payload) if mask else payload)


def reader(*data: bytes) -> FrameReader:
    made = FrameReader(LIMIT, 0.0)
    for each in data:
        made.receive_data(each)
    return made


def frames(made: FrameReader, now: float = 0.0) -> list[Frame]:
    found = []
    while (one := made.next_frame(now)) is not None:
        found.append(one)
    return found


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 125, 126, 127, 65_535, 65_536])
def test_messages_of_every_length_encoding(length: int) -> None:
    payload = bytes(at % 251 for at in range(length))
    assert frames(reader(frame(payload, 2))) == [Frame(Opcode.BINARY, payload)]


def test_byte_by_byte() -> None:
    made, found = reader(), []
    for byte in frame(b"hello") + frame(b"x" * 300) + frame(b"!", 9):
        made.receive_data(bytes((byte,)))
        found += frames(made)
    assert found == [Frame(Opcode.TEXT, b"hello"), Frame(Opcode.TEXT, b"x" * 300), Frame(Opcode.PING, b"!")]
    assert made.buffered == 0


def test_fragments_with_a_ping_between_them() -> None:
    made = reader(frame(b"ab", final=False), frame(b"", 9), frame(b"cd", 0, final=False), frame(b"ef", 0), frame(b"g"))
    assert frames(made) == [Frame(Opcode.PING, b""), Frame(Opcode.TEXT, b"abcdef"), Frame(Opcode.TEXT, b"g")]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(b"hello", mask=False), 1002),
        (frame(b"", 9, mask=False), 1002),
        (frame(b"hello", reserved=0x40), 1002),
        (frame(b"hello", reserved=0x20), 1002),
        (frame(b"hello", reserved=0x10), 1002),
        (frame(b"", 9, reserved=0x40), 1002),
        *((frame(b"hello", opcode), 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
        (frame(b"", 9, final=False), 1002),
        (frame(b"", 8, final=False), 1002),
        (frame(b"x" * 126, 9), 1002),
        (frame(b"x" * 126, 8), 1002),
        (frame(b"x", 0), 1002),
        (frame(b"x", 0, final=False), 1002),
        (frame(b"x", final=False) + frame(b"y"), 1002),
        (frame(b"x", final=False) + frame(b"y", 2), 1002),
        (frame(b"", final=False) + frame(b"y"), 1002),
        (b"\x81\xfe\x00\x05" + MASK + b"hello", 1002),
        (b"\x81\xff" + (200).to_bytes(8, "big") + MASK, 1002),
        (b"\x81\xff" + (LIMIT + 1).to_bytes(8, "big"), 1009),
        (b"\x81\xff" + b"\xff" * 8, 1009),
        (frame(b"x" * 40_000, final=False) + frame(b"x" * 30_000, 0), 1009),
    ],
)
def test_violations(sent: bytes, code: int) -> None:
    made = reader(sent)
    with pytest.raises(FrameViolation) as found:
        frames(made)
    assert found.value.code == code
    assert found.value.reason


def test_a_too_long_message_is_refused_before_its_payload() -> None:
    made = reader(frame(b"x" * 60_000, final=False), bytes((0x80, 0xFE)) + (10_000).to_bytes(2, "big"))
    with pytest.raises(FrameViolation) as found:
        frames(made)
    assert found.value.code == 1009


@pytest.mark.parametrize("payload", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"caf\xc3"])
def test_text_that_is_not_utf_8(payload: bytes) -> None:
    (found,) = frames(reader(frame(payload)))
    with pytest.raises(FrameViolation) as violation:
        _ = found.text
    assert violation.value.code == 1007


def test_a_character_cut_between_fragments_is_text() -> None:
    (found,) = frames(reader(frame(b"caf\xc3", final=False), frame(b"\xa9", 0)))
    assert found.text == "café"


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1012, 3000, 4999])
def test_close_codes(code: int) -> None:
    (found,) = frames(reader(frame(code.to_bytes(2, "big") + b"bye", 8)))
    assert found.close_code == code


def test_a_close_without_code() -> None:
    (found,) = frames(reader(frame(b"", 8)))
    assert found.close_code == CLOSE_NO_CODE


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        *((each.to_bytes(2, "big"), 1002) for each in (0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535)),
        (b"\x03", 1002),
        (b"\x03\xe8\xff", 1007),
    ],
)
def test_close_frames_that_must_not_be_sent(payload: bytes, code: int) -> None:
    (found,) = frames(reader(frame(payload, 8)))
    with pytest.raises(FrameViolation) as violation:
        _ = found.close_code
    assert violation.value.code == code


@pytest.mark.parametrize(
    ("first", "each"),
    [
        (b"", frame(b"", 9)),
        (b"", frame(b"x" * 125, 10)),
        (b"", frame(b"", 1)),
        (b"", frame(b"", 2)),
        (frame(b"", final=False), frame(b"", 0, final=False)),
        (frame(b"x", final=False), frame(b"x" * (SMALL_FRAGMENT - 1), 0, final=False)),
    ],
    ids=["pings", "pongs", "empty text", "empty binary", "empty fragments", "small fragments"],
)
def test_frames_that_carry_little_are_limited(first: bytes, each: bytes) -> None:
    made = reader(first, each * (CONTROL_BURST - bool(first)))
    frames(made)
    made.receive_data(each)
    with pytest.raises(FrameViolation) as found:
        frames(made)
    assert found.value.code == 1008


def test_the_limit_refills() -> None:
    made = reader()
    for second in range(0, 600, 10):
        made.receive_data(frame(b"", 9) * CONTROL_BURST)
        assert len(frames(made, float(second))) == CONTROL_BURST


def test_the_largest_message_in_fragments_is_taken() -> None:
    pieces = [frame(b"x" * SMALL_FRAGMENT, 0, final=False)] * (LIMIT // SMALL_FRAGMENT - 2)
    start, end = frame(b"x" * SMALL_FRAGMENT, final=False), frame(b"x" * SMALL_FRAGMENT, 0)
    (found,) = frames(reader(start, *pieces, end))
    assert len(found.payload) == LIMIT


def test_encoded_frames() -> None:
    assert frame_header(Opcode.PONG, 3) == b"\x8a\x03"
    assert close_frame(1008, "too many") == b"\x88\x0a\x03\xf0too many"
    assert close_frame(CLOSE_NO_CODE) == b"\x88\x00"
    long = close_frame(1008, "é" * 100)
    assert long[1] == 124  # whole characters only
    assert long[4:].decode() == "é" * 61
    assert close_frame(1000) == b"\x88\x02\x03\xe8"


def outcome(made: FrameReader, chunks: list[bytes]) -> tuple[list[Frame], int]:
    """All frames, and the code of the violation that ended them (0: none)."""
    found: list[Frame] = []
    try:
        for chunk in chunks:
            made.receive_data(chunk)
            while (one := made.next_frame(0.0)) is not None:
                found.append(one)
    except FrameViolation as violation:
        return found, violation.code
    return found, 0


PIECES = st.one_of(
    st.binary(max_size=20),
    st.builds(
        frame,
        st.binary(max_size=300),
        st.sampled_from([0, 1, 2, 8, 9, 10]),
        final=st.booleans(),
        mask=st.sampled_from([True, True, True, False]),
    ),
)


@given(st.lists(PIECES, max_size=8), st.lists(st.integers(1, 400), max_size=8))
def test_any_bytes_in_any_chunks_give_the_same(pieces: list[bytes], sizes: list[int]) -> None:
    data = b"".join(pieces)
    chunks, at = [], 0
    for size in sizes:
        chunks.append(data[at : at + size])
        at += size
    chunks.append(data[at:])
    assert outcome(reader(), chunks) == outcome(reader(), [data])
