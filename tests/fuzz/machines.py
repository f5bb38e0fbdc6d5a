"""Fuzz targets for what remembers: the frame assembler, the engine, an SCTP association, a signalling session.

Whatever order their packets come in, no other exception than their own may come out, and their books must balance.
"""

import asyncio
import logging
import struct
from contextlib import suppress

from aiortc import RTCDataChannel, RTCDataChannelParameters, RTCSctpCapabilities, RTCSctpTransport

from sfu.errors import MalformedPacket
from sfu.rtp.frames import FrameAssembler
from sfu.transport.sctp_association import SctpAssociation
from tests.fuzz.records import records, sealed_sctp
from tests.signaling.fakes import World
from tests.support.wire import Bench, Wire

CODECS = (("VP8", False), ("VP9", False), ("H264", False), ("AV1", False), ("opus", True), ("red", True))


def fuzz_frames(data: bytes) -> None:
    """Codec; then packets: step of the sequence number, flags, payload."""
    if not data:
        return
    codec, audio = CODECS[data[0] % len(CODECS)]
    assembler = FrameAssembler(codec, audio=audio)
    sequence, timestamp, now = 65_530, 4_294_960_000, 1.0
    for record in records(data[1:]):
        if len(record) < 2:
            now += 0.06
            assembler.handle_timer(now)
            continue
        step, flags = record[0], record[1]
        sequence += step if step < 8 else (step - 256) * (300 if step < 64 else 1)
        timestamp += 3000 * (flags & 1) + (flags >> 6) * 0x4000_0000
        head = struct.pack("!BBHII", 0x80, flags & 0x80, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, 1)
        with suppress(MalformedPacket):
            assembler.receive(head + record[2:], now)
        held = [*assembler._pending.values(), *assembler._parts]
        assert assembler._bytes == sum([len(each.payload) for each in held])
        now += 0.01


def fuzz_engine(data: bytes) -> None:
    """Opened packets of a publisher with a subscriber: media if they look so, else RTCP of either."""
    bench, wire = Bench(), Wire()
    tracks = bench.video(), bench.audio()
    subscriber = bench.peer(wire)
    for number, track in enumerate(tracks):
        down_track = bench.down_track(track, subscriber, number=number)
        bench.engine.set_target(down_track, next(iter(track.encodings.values())), bench.now)
    view = memoryview(bytearray(2048))
    for record in records(data):
        if len(record) < 12 or len(record) > 1440:
            bench.now += 0.1
        elif record[0] & 0xC0 == 0x80 and 191 < record[1] < 224:
            for peer in (bench.publisher, subscriber):
                bench.engine.receive_rtcp(peer, record, bench.now, 4e9)
        else:
            view[: len(record)] = record
            bench.engine.receive(bench.publisher, view, len(record), bench.now)
        bench.engine.flush(bench.now)
        for sent in wire.take():
            assert len(sent) < 1600


class _Link:
    """The slice of a DTLS transport that an association uses."""

    def __init__(self, role: str) -> None:
        self.state = "connected"
        self._role = role
        self.sent: list[bytes] = []

    def _register_data_receiver(self, receiver: object) -> None: ...

    def _unregister_data_receiver(self, receiver: object) -> None: ...

    async def _send_data(self, data: bytes) -> None:
        self.sent.append(data)


def fuzz_association(data: bytes) -> None:
    """Packets of a peer that has an association with a channel open. What passes the guard must not trip aiortc."""
    asyncio.run(_association(data))


async def _association(data: bytes) -> None:
    links = _Link("client"), _Link("server")
    client, server = RTCSctpTransport(links[0]), SctpAssociation(links[1])  # type: ignore[arg-type]  # links replace aiortc's transport
    for end in (client, server):
        await end.start(RTCSctpCapabilities(262_144), 5000)
    channel = RTCDataChannel(client, RTCDataChannelParameters(label="reliable"))

    async def carry() -> None:
        for _ in range(8):
            await asyncio.sleep(0)
            for packet in _taken(links[0]):
                await server._handle_data(server.check(packet))
            for packet in _taken(links[1]):
                await client._handle_data(packet)

    await carry()
    assert channel.readyState == "open"
    held = (server._remote_verification_tag, server._last_received_tsn, server._local_tsn)
    for record in records(data):
        packet = sealed_sctp(_placed(record, held), server._local_verification_tag)
        with suppress(MalformedPacket):
            await server._handle_data(server.check(packet))
        assert len(server._sack_misordered) <= 2 * server.guard.limits.ahead
        assert len(server._data_channels) <= server.guard.limits.streams
    links[1].state = "closed"
    await client.stop()
    await server.stop()


def _taken(link: _Link) -> list[bytes]:
    sent, link.sent = link.sent, []
    return sent


def _placed(chunks: bytes, held: tuple[int, int | None, int]) -> bytes:
    """The first chunk's TSN as if it counted from what the association knows: random ones would all be far away."""
    tag, received, local = held
    if len(chunks) < 8 or received is None:
        return chunks
    base = local - 1 if chunks[0] in (3, 7) else received if chunks[0] in (0, 192) else tag
    (said,) = struct.unpack_from("!i", chunks, 4)
    return chunks[:4] + struct.pack("!I", base + said & 0xFFFFFFFF) + chunks[8:]


def fuzz_session(data: bytes) -> None:
    """Messages of three people whose sockets come and go; the first byte says whose, its high bit that the socket breaks."""
    logging.disable(logging.CRITICAL)
    try:
        asyncio.run(_session(data))
    finally:
        logging.disable(logging.NOTSET)


async def _session(data: bytes) -> None:
    world = World()
    clients = [world.join(name) for name in ("ada", "bob", "cem")]
    for record in records(data):
        if not record:
            world.pass_time(1.0)
            continue
        index = record[0] % 3
        if record[0] & 0x80:
            clients[index].drop()
            clients[index] = world.client(("ada", "bob", "cem")[index])
        said = clients[index].say_text(record[1:].decode(errors="replace"))
        assert not [each for each in said if each.get("code") == "internal"], said
