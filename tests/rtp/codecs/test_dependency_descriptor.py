"""Dependency descriptors: a hand-made one from the specification, mutations and random bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import MalformedPacket
from sfu.rtp.codecs.dependency_descriptor import (
    DecodeTargetIndication,
    DependencyDescriptorReader,
    Descriptor,
    describe,
)

NOT, DISCARDABLE, SWITCH, REQUIRED = DecodeTargetIndication


def packed(bits: str) -> bytes:
    bits = bits.replace(" ", "")
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


# L1T2 with one chain: two decode targets, three templates (key, T1, T0), 640 × 360.
STRUCTURE = (
    "000101"  # template_id_offset 5
    "00001"  # two decode targets
    "00 01 11"  # layers: (0,0), same again, (0,1), no more
    "10 10  11 11  00 01"  # indications per template and target
    "0  1 0001 0  1 0000 0"  # frame differences: none, 2, 1
    "10"  # chains: ns(3) = 1
    # protected_by: ns(1) takes no bits
    "0000 0010 0001"  # chain differences
    "1" + f"{639:016b}{359:016b}"
)
KEY = packed("10 000101" + f"{77:016b}" + "1 0 0 0 0" + STRUCTURE)


def test_key_frame() -> None:
    assert describe(KEY, 0, len(KEY)) == Descriptor(True, False, 5, 77, True)
    state = DependencyDescriptorReader()
    frame = state.read(KEY, 0, len(KEY))
    assert (frame.spatial, frame.temporal, frame.width, frame.height) == (0, 0, 640, 360)
    assert frame.indications == (SWITCH, SWITCH)
    assert (frame.frame_differences, frame.chain_differences) == ((), (0,))
    assert frame.active_decode_targets == 0b11
    structure = state.structure
    assert structure is not None
    assert [(template.spatial, template.temporal) for template in structure.templates] == [(0, 0), (0, 0), (0, 1)]
    assert structure.decode_targets == ((0, 0), (0, 1))
    assert (structure.chains, structure.protected_by, structure.resolutions) == (1, (0, 0), ((640, 360),))


@pytest.mark.parametrize(
    ("bits", "temporal", "indications", "frames", "chains", "active"),
    [
        ("11 000110" + f"{78:016b}", 0, (REQUIRED, REQUIRED), (2,), (2,), 0b11),
        ("11 000111" + f"{79:016b}", 1, (NOT, DISCARDABLE), (1,), (1,), 0b11),
        ("11 000111" + f"{79:016b}" + "0 1 0 0 0 01", 1, (NOT, DISCARDABLE), (1,), (1,), 0b01),
        ("11 000111" + f"{79:016b}" + "0 0 1 0 0 1011", 1, (SWITCH, REQUIRED), (1,), (1,), 0b11),
        (
            "11 000111" + f"{79:016b}" + "0 0 0 1 1 01 0010 10 00000001 11 000000000010 00 11111111",
            1, (NOT, DISCARDABLE), (3, 2, 3), (255,), 0b11,
        ),
    ],
)  # fmt: skip
def test_following_frames(
    bits: str,
    temporal: int,
    indications: tuple[DecodeTargetIndication, ...],
    frames: tuple[int, ...],
    chains: tuple[int, ...],
    active: int,
) -> None:
    state = DependencyDescriptorReader()
    state.read(KEY, 0, len(KEY))
    data = packed(bits)
    frame = state.read(memoryview(b"ab" + data + b"z"), 2, 2 + len(data))
    assert (frame.spatial, frame.temporal) == (0, temporal)
    assert (frame.indications, frame.frame_differences, frame.chain_differences) == (indications, frames, chains)
    assert frame.active_decode_targets == state.active_decode_targets == active


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\0",
        packed("11 000110" + f"{78:016b}" + "1 0 0 0 0 000000"),
        packed("11 000110" + f"{78:016b}" + "1 0 0 0 0 000000 00000" + "00" * 70),
        packed("11 000110" + f"{78:016b}" + "1 0 0 0 0 000000 00000" + "10" * 5 + "0" * 90),
        packed("11 000100" + f"{78:016b}"),
        packed("11 111111" + f"{78:016b}"),
        packed("11 000110" + f"{78:016b}" + "0 0 0 1 0 111"),
        KEY + bytes(256),
    ],
)
def test_malformed(data: bytes) -> None:
    state = DependencyDescriptorReader()
    state.read(KEY, 0, len(KEY))
    before = state.structure, state.active_decode_targets
    with pytest.raises(MalformedPacket):
        state.read(data, 0, len(data))
    assert (state.structure, state.active_decode_targets) == before


def test_before_the_structure() -> None:
    with pytest.raises(MalformedPacket):
        DependencyDescriptorReader().read(packed("11 000110" + f"{78:016b}"), 0, 3)


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_random_bytes(datas: list[bytes]) -> None:
    state = DependencyDescriptorReader()
    for data in [KEY, *datas]:
        try:
            frame = state.read(data, 0, len(data))
        except MalformedPacket:
            continue
        assert len(frame.chain_differences) == (state.structure.chains if state.structure else 0)


@given(st.data())
def test_mutations(data: st.DataObject) -> None:
    changed = bytearray(KEY)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    state = DependencyDescriptorReader()
    try:
        state.read(changed, 0, data.draw(st.integers(0, len(changed))))
    except MalformedPacket:
        return
    assert state.structure is not None
