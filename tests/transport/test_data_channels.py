"""Data channels of one connection against aiortc's own association: labels, limits, slow readers, faults."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import pytest
from aiortc import RTCDataChannel, RTCDataChannelParameters, RTCSctpCapabilities, RTCSctpTransport

from sfu.sdp.capabilities import MAX_MESSAGE_BYTES
from sfu.transport.data_channels import FAILURES, OUTGOING_LIMIT, DataChannels
from tests.transport.test_sctp_guard import Link, chunk, data, sealed


@dataclass
class Listener:
    received: list[tuple[str, bytes | str]] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    def message_received(self, label: str, payload: bytes | str) -> None:
        self.received.append((label, payload))

    def message_refused(self, size: int) -> None:
        self.refused.append(size)


class Pair:
    """A client and the server's channels. `deaf`: no packet arrives in either direction."""

    def __init__(self, *, max_message_size: int = 262_144, buffer_bytes: int = 100_000) -> None:
        self.link = Link("client")
        self.client = RTCSctpTransport(self.link)  # type: ignore[arg-type]  # the slice of it that is used
        self.sent: list[bytes] = []
        self.listener, self.counts = Listener(), Counter[str]()
        self.server = DataChannels(
            self.sent.append,
            server=True,
            remote_port=5000,
            max_message_size=max_message_size,
            buffer_bytes=buffer_bytes,
            listener=self.listener,
            counts=self.counts,
        )
        self.deaf = False

    async def start(self) -> None:
        self.server.start()
        self.server.start()
        await self.client.start(RTCSctpCapabilities(262_144), 5000)
        await self.run()
        assert self.client.state == "connected"

    async def run(self) -> None:
        """Carries packets until both sides are quiet."""
        quiet = 0
        while quiet < 3:
            quiet += 1
            await asyncio.sleep(0)
            outbound, self.sent[:] = self.sent[:], []
            inbound, self.link.sent = self.link.sent, []
            if self.deaf:
                return
            for packet in outbound:
                quiet = 0
                await self.client._handle_data(packet)
            for packet in inbound:
                quiet = 0
                self.server.receive(packet)

    async def open(self, label: str) -> RTCDataChannel:
        channel = RTCDataChannel(self.client, RTCDataChannelParameters(label=label))
        await self.run()
        return channel

    async def stop(self) -> None:
        self.server.close()
        self.link.state = "closed"
        await self.client.stop()


@pytest.mark.parametrize("label", ["reliable", "lossy"])
async def test_messages_go_both_ways(label: str) -> None:
    pair, got = Pair(), list[bytes | str]()
    await pair.start()
    assert not pair.server.send(label, "too early")
    channel = await pair.open(label)
    channel.on("message", got.append)
    channel.send("text")
    channel.send(b"bytes")
    assert pair.server.send(label, "back")
    assert pair.server.send(label, b"more")
    await pair.run()
    assert pair.listener.received == [(label, "text"), (label, b"bytes")]
    assert got == ["back", b"more"]
    assert (pair.server.dropped, pair.server.failures, pair.counts) == (1, 0, {})
    await pair.stop()


async def test_other_labels_and_a_second_channel_are_closed() -> None:
    pair = Pair()
    await pair.start()
    first = await pair.open("reliable")
    second = await pair.open("reliable")
    other = await pair.open("chat")
    await pair.run()
    assert first.readyState == "open"
    assert second.readyState == other.readyState == "closed"
    assert not pair.server.send("chat", "x")
    assert pair.server.send("reliable", "x")
    await pair.stop()


async def test_a_closed_channel_may_be_opened_again() -> None:
    pair = Pair()
    await pair.start()
    channel = await pair.open("lossy")
    channel.close()
    await pair.run()
    assert not pair.server.send("lossy", "x")
    channel = await pair.open("lossy")
    assert pair.server.send("lossy", "x")
    await pair.stop()


@pytest.mark.parametrize(("announced", "limit"), [(1000, 1000), (0, OUTGOING_LIMIT)])
async def test_no_message_is_longer_than_the_client_accepts(announced: int, limit: int) -> None:
    pair = Pair(max_message_size=announced, buffer_bytes=1 << 20)
    await pair.start()
    await pair.open("reliable")
    assert pair.server.send("reliable", "é" * (limit // 2))
    assert not pair.server.send("reliable", "é" * (limit // 2) + "x")
    assert pair.server.send("reliable", bytes(limit))
    assert pair.server.dropped == 1
    await pair.stop()


@pytest.mark.parametrize(("label", "left"), [("lossy", {"lossy"}), ("reliable", set())])
async def test_a_slow_reader_loses_lossy_messages_or_its_reliable_channel(label: str, left: set[str]) -> None:
    pair = Pair(buffer_bytes=20_000)
    await pair.start()
    await pair.open(label)
    pair.deaf = True
    sent = 0
    for _ in range(100):
        sent += pair.server.send(label, bytes(1000))
        await pair.run()
    assert 10 <= sent <= 21, "the last message may exceed the buffer"
    assert pair.server.dropped == 100 - sent
    assert set(pair.server._channels) == left
    await pair.stop()


async def test_messages_that_are_too_long_are_reported_and_counted() -> None:
    pair = Pair()
    await pair.start()
    channel = await pair.open("reliable")
    channel.send(bytes(MAX_MESSAGE_BYTES + 1))
    for _ in range(50):  # more data than one flight
        await pair.run()
    channel.send("fits")
    await pair.run()
    assert pair.listener.refused
    assert min(pair.listener.refused) > 0
    assert ("reliable", "fits") in pair.listener.received
    assert pair.counts["sctp_refused"] > 0
    assert pair.server.failures == 0
    await pair.stop()


async def test_malformed_packets_close_the_association_after_a_while() -> None:
    pair = Pair()
    await pair.start()
    await pair.open("reliable")
    bad = sealed(chunk(4, b"\0\1"))
    for _ in range(FAILURES - 1):
        pair.server.receive(bad)
    assert not pair.server.closed
    assert pair.server.send("reliable", "x")
    pair.server.receive(bad)
    assert pair.server.closed
    assert pair.counts["sctp_malformed"] == FAILURES
    pair.server.receive(bad)
    assert pair.server.failures == FAILURES
    await pair.stop()


async def test_a_fault_in_aiortc_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair()
    await pair.start()
    channel = await pair.open("reliable")

    async def fault(self: object, packet: bytes) -> None:
        raise KeyError("a fault of the library")

    with monkeypatch.context() as patched:
        patched.setattr("aiortc.RTCSctpTransport._handle_data", fault)
        pair.server.receive(sealed(data(1, b"x")))  # refused before: its tag is wrong
        for packet in await packets_of(pair, channel):
            pair.server.receive(packet)
    assert pair.counts["sctp_fault"] == 1
    assert not pair.server.closed
    assert pair.server.send("reliable", "goes on")
    await pair.stop()


async def packets_of(pair: Pair, channel: RTCDataChannel) -> list[bytes]:
    """The packets of one message, not delivered."""
    channel.send("x")
    await asyncio.sleep(0)
    packets, pair.link.sent = pair.link.sent, []
    assert len(packets) == 1
    return packets


async def test_nothing_is_received_before_the_start_or_after_the_end() -> None:
    pair = Pair()
    pair.server.receive(b"junk")
    assert pair.counts == {}
    await pair.start()
    await pair.open("reliable")
    pair.server.close()
    pair.server.close()
    pair.server.receive(b"junk")
    assert not pair.server.send("reliable", "x")
    assert pair.counts == {}
    await pair.stop()


async def test_acknowledgements_are_distinguished_from_data() -> None:
    pair = Pair()
    await pair.start()
    channel = await pair.open("reliable")
    assert pair.server.send("reliable", "x")
    await pair.run()
    assert pair.server.acknowledged
    channel.send("y")
    await pair.run()
    assert not pair.server.acknowledged
    await pair.stop()


async def test_a_close_without_a_start_does_nothing() -> None:
    pair = Pair()
    pair.server.close()
    assert pair.server.closed
    assert pair.sent == []
