"""The SCTP guard: what two honest associations say passes untouched; what breaks aiortc does not reach it."""

import asyncio
from collections.abc import Callable
from struct import pack, pack_into
from typing import Any

import pytest
from aiortc import RTCDataChannel, RTCDataChannelParameters, RTCSctpCapabilities, RTCSctpTransport
from google_crc32c import value as crc32c
from hypothesis import given
from hypothesis import strategies as st

from sfu.errors import MalformedPacket
from sfu.sdp.capabilities import MAX_MESSAGE_BYTES
from sfu.transport.sctp_association import SctpAssociation
from sfu.transport.sctp_guard import SctpGuard, SctpLimits


class Link:
    """The slice of a DTLS transport that an association uses; packets wait in `sent`."""

    def __init__(self, role: str) -> None:
        self.state = "connected"
        self._role = role
        self.sent: list[bytes] = []

    def _register_data_receiver(self, receiver: object) -> None: ...

    def _unregister_data_receiver(self, receiver: object) -> None: ...

    async def _send_data(self, data: bytes) -> None:
        self.sent.append(data)


class Pair:
    """A client and a guarded server, and everything that they said."""

    def __init__(self, limits: SctpLimits | None = None) -> None:
        self.links = Link("client"), Link("server")
        self.client = RTCSctpTransport(self.links[0])  # type: ignore[arg-type]  # the slice of it that is used
        self.server = SctpAssociation(self.links[1], limits=limits)  # type: ignore[arg-type]  # links replace aiortc's transport
        self.channels: list[RTCDataChannel] = []
        self.received: list[bytes | str] = []
        self.said: tuple[list[bytes], list[bytes]] = [], []
        self.lose: Callable[[int], bool] = lambda number: False
        self.server.on("datachannel", self._opened)

    def _opened(self, channel: RTCDataChannel) -> None:
        self.channels.append(channel)
        channel.on("message", self.received.append)

    async def start(self) -> None:
        for end in (self.client, self.server):
            await end.start(RTCSctpCapabilities(262144), 5000)
        await self.run()
        assert self.client.state == self.server.state == "connected"

    async def run(self) -> None:
        """Carries packets until both sides are quiet."""
        quiet = 0
        while quiet < 3:
            quiet += 1
            await asyncio.sleep(0)
            for side in (0, 1):
                packets, self.links[side].sent = self.links[side].sent, []
                for packet in packets:
                    quiet = 0
                    self.said[side].append(packet)
                    if self.lose(len(self.said[side])):
                        continue
                    if side == 0:
                        await self.server._handle_data(self.server.check(packet))
                    else:
                        await self.client._handle_data(packet)

    def open(self, label: str, **options: Any) -> RTCDataChannel:
        return RTCDataChannel(self.client, RTCDataChannelParameters(label=label, **options))

    async def stop(self) -> None:
        await self.client.stop()
        await self.server.stop()


@pytest.fixture
async def pair() -> Pair:  # type: ignore[misc]  # an asynchronous generator
    made = Pair()
    await made.start()
    yield made
    await made.stop()


def sealed(*chunks: bytes, tag: int = 7) -> bytes:
    body = b"".join(chunk + bytes(-len(chunk) & 3) for chunk in chunks)
    packet = bytearray(pack("!HHII", 5000, 5000, tag, 0) + body)
    pack_into("<I", packet, 8, crc32c(bytes(packet)))
    return bytes(packet)


def chunk(kind: int, body: bytes, flags: int = 0) -> bytes:
    return pack("!BBH", kind, flags, 4 + len(body)) + body


def data(tsn: int, payload: bytes, *, stream: int = 1, sequence: int = 0, ppid: int = 53, flags: int = 3) -> bytes:
    return chunk(0, pack("!IHHI", tsn & 0xFFFFFFFF, stream, sequence, ppid) + payload, flags)


def sack(cumulative: int, *gaps: tuple[int, int], duplicates: int = 0) -> bytes:
    body = pack("!IIHH", cumulative & 0xFFFFFFFF, 1 << 20, len(gaps), duplicates)
    return chunk(3, body + b"".join(pack("!HH", *gap) for gap in gaps) + bytes(4 * duplicates))


def dcep_open(label: bytes, protocol: bytes = b"", *, kind: int = 0) -> bytes:
    return pack("!BBHIHH", 3, kind, 0, 0, len(label), len(protocol)) + label + protocol


INIT = pack("!IIHHI", 1, 1 << 20, 10, 10, 100)
PARAMETER = pack("!HH4s", 0x8008, 8, b"\xc0\x82\0\0")

ROWS = {
    "a parameter of length 0 (HEARTBEAT)": sealed(chunk(4, pack("!HH", 1, 0))),
    "a parameter of length 0 (INIT)": sealed(chunk(1, INIT + pack("!HH", 1, 0)), tag=0),
    "a parameter of length 3": sealed(chunk(4, pack("!HH", 1, 3))),
    "a parameter beyond its chunk": sealed(chunk(4, pack("!HH", 1, 9))),
    "half a parameter": sealed(chunk(4, b"\0\1")),
    "33 parameters": sealed(chunk(4, pack("!HH", 1, 4) * 33)),
    "inverted SACK gaps": sealed(sack(1, (5, 4))),
    "overlapping SACK gaps": sealed(sack(1, (2, 4), (4, 6))),
    "SACK gaps out of order": sealed(sack(1, (5, 6), (2, 3))),
    "a SACK gap of 0": sealed(sack(1, (0, 3))),
    "a truncated SACK": sealed(chunk(3, bytes(11))),
    "a SACK without body": sealed(chunk(3, b"")),
    "a SACK that claims 320 gaps": sealed(chunk(3, pack("!IIHH", 1, 1, 320, 0))),
    "a truncated INIT": sealed(chunk(1, INIT[:15]), tag=0),
    "an INIT without body": sealed(chunk(1, b""), tag=0),
    "an INIT without tag": sealed(chunk(1, bytes(4) + INIT[4:]), tag=0),
    "an INIT without streams": sealed(chunk(1, INIT[:8] + bytes(4) + INIT[12:]), tag=0),
    "an INIT in company": sealed(chunk(1, INIT), data(1, b"x"), tag=0),
    "two INITs": sealed(chunk(1, INIT), chunk(1, INIT), tag=0),
    "truncated DATA": sealed(chunk(0, bytes(11))),
    "DATA without data": sealed(data(1, b"")),
    "DATA without body": sealed(chunk(0, b"")),
    "DATA on stream 65535": sealed(data(1, b"x", stream=65535)),
    "a truncated RE-CONFIG": sealed(chunk(130, pack("!HHII", 13, 12, 1, 2))),
    "an odd RE-CONFIG": sealed(chunk(130, pack("!HHIIIBx", 13, 17, 1, 2, 3, 4))),
    "a truncated reset response": sealed(chunk(130, pack("!HHI", 16, 8, 1))),
    "a truncated stream addition": sealed(chunk(130, pack("!HHI", 17, 8, 1))),
    "three RE-CONFIG parameters": sealed(chunk(130, pack("!HHII", 16, 12, 1, 2) * 3)),
    "an odd FORWARD TSN": sealed(chunk(192, pack("!IH", 1, 2))),
    "a truncated FORWARD TSN": sealed(chunk(192, b"\0\0")),
    "a FORWARD TSN of 65 streams": sealed(chunk(192, bytes(4 + 65 * 4))),
    "a truncated SHUTDOWN": sealed(chunk(7, b"\0")),
    "200 SHUTDOWNs": sealed(*[chunk(7, bytes(4))] * 200),
    "200 HEARTBEATs": sealed(*[chunk(4, b"")] * 200),
    "a label that is not UTF-8": sealed(data(1, dcep_open(b"\xff\xfe"), ppid=50)),
    "a protocol that is not UTF-8": sealed(data(1, dcep_open(b"x", b"\xff"), ppid=50)),
    "a label of 257 bytes": sealed(data(1, dcep_open(b"x" * 257), ppid=50)),
    "a label beyond its message": sealed(data(1, dcep_open(b"xx")[:-1], ppid=50)),
    "an unknown channel type": sealed(data(1, dcep_open(b"x", kind=3), ppid=50)),
    "an unknown DCEP message": sealed(data(1, b"\x09", ppid=50)),
    "a DCEP message in fragments": sealed(data(1, dcep_open(b"x"), ppid=50, flags=2)),
    "a chunk of length 3": sealed(pack("!BBH", 4, 0, 3)),
    "a chunk beyond the packet": sealed(pack("!BBH", 4, 0, 9)),
    "half a chunk": sealed(chunk(4, b""), b"")[:-2],
    "a wrong checksum": sealed(data(1, b"x"))[:-1] + b"\1",
    "no chunk": sealed(),
    "nothing": b"",
    "5 KB": sealed(data(1, bytes(5000))),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows(name: str) -> None:
    with pytest.raises(MalformedPacket):
        SctpGuard().check(ROWS[name])


VALID = [
    sealed(chunk(1, INIT + PARAMETER), tag=0),
    sealed(chunk(10, bytes(24)), data(1, dcep_open("größe".encode(), b"p"), ppid=50)),
    sealed(sack(1, (2, 3), (5, 900), duplicates=3), data(5, b"hello")),
    sealed(chunk(4, pack("!HH3s", 1, 7, b"abc"))),
    sealed(chunk(4, b"")),
    sealed(chunk(6, pack("!HH", 12, 4))),
    sealed(chunk(6, b"")),
    sealed(chunk(130, pack("!HHIIIHxx", 13, 18, 1, 2, 3, 4))),
    sealed(chunk(130, pack("!HHIII", 13, 16, 1, 2, 3) + pack("!HHIIII", 16, 20, 1, 1, 2, 3))),
    sealed(chunk(192, pack("!IHH", 1, 2, 3)), data(3, b"x")),
    sealed(chunk(0x80 | 64, b"unknown kind")),
    sealed(data(1, b"\x02", ppid=50)),
]


@pytest.mark.parametrize("packet", VALID)
def test_valid_packets_pass_untouched(packet: bytes) -> None:
    assert SctpGuard().check(packet) == packet


def test_surplus_gaps_are_cut() -> None:
    gaps = [(n, n) for n in range(2, 642, 2)]
    checked = SctpGuard().check(sealed(sack(1, *gaps, duplicates=2), data(5, b"hello")))
    assert checked == sealed(sack(1, *gaps[:64]), data(5, b"hello"))


@given(st.binary(max_size=200))
def test_random_chunks(body: bytes) -> None:
    try:
        SctpGuard().check(sealed(body))
    except MalformedPacket:
        return


@given(st.sampled_from(VALID), st.data())
def test_mutations(packet: bytes, draw: st.DataObject) -> None:
    changed = bytearray(packet)
    for _ in range(draw.draw(st.integers(1, 4))):
        changed[draw.draw(st.integers(12, len(changed) - 1))] = draw.draw(st.integers(0, 255))
    cut = bytes(changed[12 : draw.draw(st.integers(12, len(changed)))])
    try:
        SctpGuard().check(sealed(cut))
    except MalformedPacket:
        return


# -- the association --------------------------------------------------------------------------------------------------


async def test_an_honest_conversation_passes_untouched(pair: Pair) -> None:
    reliable = pair.open("reliable")
    lossy = pair.open("lossy", ordered=False, maxRetransmits=0)
    await pair.run()
    assert [channel.label for channel in pair.channels] == ["reliable", "lossy"]
    messages: list[bytes | str] = ["hello", "", b"", b"x", "größe", bytes(MAX_MESSAGE_BYTES), *map(str, range(200))]
    for message in messages:
        reliable.send(message)
        if len(message) < 1000:
            lossy.send(message)
    await pair.run()
    assert [len(message) for message in pair.received if len(message) > 1000] == [MAX_MESSAGE_BYTES]
    assert len(pair.received) == 2 * len(messages) - 1
    for channel in pair.channels:
        channel.send("back")
    reliable.close()
    await pair.run()
    assert reliable.readyState == "closed"
    again = pair.open("again")
    await pair.run()
    assert again.readyState == "open"
    assert pair.server.refused == 0
    guard = SctpGuard()
    for packet in pair.said[0] + pair.said[1]:
        assert guard.check(packet) == packet


async def test_loss_is_mended(pair: Pair) -> None:
    channel = pair.open("reliable")
    await pair.run()
    lost = set(range(len(pair.said[0]) + 10, len(pair.said[0]) + 200, 9))
    pair.lose = lambda number: number in lost
    sent = [bytes([n]) * 3000 for n in range(100)]
    for message in sent:
        channel.send(message)
    for _ in range(60):
        await pair.run()
        if len(pair.received) == len(sent):
            break
        await asyncio.sleep(0.1)
    assert pair.received == sent


def next_tsn(pair: Pair) -> int:
    assert pair.server._last_received_tsn is not None
    return pair.server._last_received_tsn + 1


async def inject(pair: Pair, *chunks: bytes) -> bytes:
    packet = pair.server.check(sealed(*chunks, tag=pair.server._local_verification_tag))
    await pair.server._handle_data(packet)
    pair.links[1].sent.clear()
    return packet


async def test_dcep_acknowledgement_on_an_unknown_stream_is_not_delivered(pair: Pair) -> None:
    await inject(pair, data(next_tsn(pair), b"\x02", stream=9, ppid=50))
    assert pair.server.refused == 1
    assert pair.server.state == "connected"


async def test_a_second_open_on_a_stream_is_not_delivered(pair: Pair) -> None:
    tsn = next_tsn(pair)
    await inject(
        pair,
        data(tsn, dcep_open(b"one"), stream=4, ppid=50),
        data(tsn + 1, dcep_open(b"two"), stream=4, sequence=1, ppid=50),
    )
    assert [channel.label for channel in pair.channels] == ["one"]
    assert pair.server.refused == 1


async def test_text_that_is_not_utf_8_is_not_delivered(pair: Pair) -> None:
    tsn = next_tsn(pair)
    await inject(pair, data(tsn, dcep_open(b"one"), stream=4, ppid=50))
    await inject(pair, data(tsn + 1, b"\xff", stream=4, sequence=1, ppid=51))
    assert pair.received == []
    assert pair.server.refused == 1


async def test_streams_are_bounded(pair: Pair) -> None:
    tsn = next_tsn(pair)
    for stream in range(64):
        await inject(pair, data(tsn + stream, dcep_open(b"x"), stream=stream, ppid=50))
    assert len(pair.channels) == 64
    with pytest.raises(MalformedPacket):
        await inject(pair, data(tsn + 64, dcep_open(b"x"), stream=64, ppid=50))
    with pytest.raises(MalformedPacket):
        await inject(pair, chunk(192, pack("!IHH", tsn + 65, 77, 0)))


@pytest.mark.parametrize("size", [1, 100, 1100])
async def test_a_message_that_never_ends(pair: Pair, size: int) -> None:
    tsn = next_tsn(pair)
    await inject(pair, data(tsn, bytes(size), flags=2))

    async def endless() -> None:
        for number in range(1, 5000):
            await inject(pair, data(tsn + number, bytes(size), flags=0))

    with pytest.raises(MalformedPacket):
        await endless()
    held = [part for stream in pair.server._inbound_streams.values() for part in stream.reassembly]
    assert len(held) <= 1024
    assert sum(len(part.user_data) for part in held) < 1_400_000


async def test_a_message_above_the_limit_is_not_delivered(pair: Pair) -> None:
    tsn = next_tsn(pair)
    await inject(pair, data(tsn, dcep_open(b"one"), ppid=50))
    for number in range(300):
        flags = 2 if number == 0 else 1 if number == 299 else 0
        await inject(pair, data(tsn + 1 + number, bytes(1000), sequence=1, flags=flags))
    assert pair.received == []
    assert pair.server.refused == 1


async def test_data_far_ahead_is_taken_out(pair: Pair) -> None:
    tsn = next_tsn(pair)
    assert len(await inject(pair, data(tsn + 5000, b"x"))) == 12
    for number in range(1000):
        await inject(pair, data(tsn + 1 + number, b"x", flags=7))
    assert len(pair.server._sack_misordered) <= 256
    packet = await inject(pair, sack(pair.server._last_sacked_tsn), data(tsn + 900, b"x"))
    assert packet == sealed(sack(pair.server._last_sacked_tsn), tag=pair.server._local_verification_tag)
    await inject(pair, data(tsn, b"x", flags=7))
    assert not pair.server._sack_misordered


async def test_sacks_cover_what_was_sent(pair: Pair) -> None:
    last = pair.server._local_tsn - 1
    with pytest.raises(MalformedPacket):
        await inject(pair, sack(last + 1))
    with pytest.raises(MalformedPacket):
        await inject(pair, sack(last, (2, 65535)))
    await inject(pair, sack(last))
    await inject(pair, sack(last - 5, (2, 60000)))  # old: aiortc does not look at it


async def test_late_and_repeated_inits_do_not_set_the_association_back(pair: Pair) -> None:
    before = pair.server._last_received_tsn
    channel = pair.open("reliable")
    await pair.run()
    first_init = pair.said[0][0]
    assert len(pair.server.check(first_init)) == 12
    await inject(pair, chunk(4, b""))
    assert len(pair.server.check(sealed(chunk(1, INIT), tag=0))) == 12
    assert pair.server._last_received_tsn != before
    channel.send("still there")
    await pair.run()
    assert pair.received == ["still there"]


async def test_before_the_peer_is_known() -> None:
    pair = Pair()
    await pair.server.start(RTCSctpCapabilities(262144), 5000)
    for early in (data(1, b"x"), sack(1), chunk(192, pack("!I", 9)), chunk(7, bytes(4))):
        assert len(await inject(pair, early)) == 12
    await pair.server.stop()
    assert len(pair.server.check(sealed(chunk(1, INIT), tag=0))) == 12


async def test_a_wrong_tag(pair: Pair) -> None:
    with pytest.raises(MalformedPacket):
        pair.server.check(sealed(chunk(4, b""), tag=pair.server._local_verification_tag ^ 1))


KINDS = [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 130, 192]


@given(st.lists(st.lists(st.tuples(st.sampled_from(KINDS), st.binary(max_size=40)), max_size=4)))
def test_nothing_but_malformed_packet_comes_out(packets: list[list[tuple[int, bytes]]]) -> None:
    async def scenario() -> None:
        pair = Pair()
        await pair.start()
        tag = pair.server._local_verification_tag
        for chunks in packets:
            near = []
            for kind, body in chunks:
                if kind == 0:  # near enough to be looked at
                    flags = body[0] & 7 if body else 3
                    ppid = 50 + (body[1] % 8 if len(body) > 1 else 0)
                    tsn = next_tsn(pair) + (body[2] % 4 if len(body) > 2 else 0)
                    near.append(data(tsn, body[3:] or b"\x02", stream=len(body), ppid=ppid, flags=flags))
                else:
                    near.append(chunk(kind, body))
            try:
                beginning = bool(chunks) and chunks[0][0] == 1
                checked = pair.server.check(sealed(*near, tag=0 if beginning else tag))
            except MalformedPacket:
                continue
            await pair.server._handle_data(checked)
        await pair.stop()

    asyncio.run(scenario())
