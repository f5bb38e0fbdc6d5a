"""An SCTP association by hand over an attacker's DTLS: just enough of RFC 9260 to be believed."""

import asyncio
import struct

from google_crc32c import value as crc32c

from tests.support.client import Client
from tests.support.peer import RawPeer

TSN = 1000
TAG = 0x01020304
OPEN = struct.pack("!BBHIHH", 3, 0, 0, 0, 8, 0) + b"reliable"


def chunk(kind: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack("!BBH", kind, flags, len(body) + 4) + body + bytes(-len(body) & 3)


def data(tsn: int, payload: bytes, *, stream: int = 0, sequence: int = 0, ppid: int = 53, flags: int = 3) -> bytes:
    return chunk(0, struct.pack("!IHHI", tsn & 0xFFFFFFFF, stream, sequence, ppid) + payload, flags)


class Association:
    """`open` publishes first; `associate` returns when the server acknowledged the cookie and the channel `reliable`."""

    def __init__(self, client: Client | None, peer: RawPeer | None = None) -> None:
        """`peer`: of a connection that is there, instead of a client."""
        if client is not None:
            peer = client.publishing
        assert peer is not None
        self._peer = peer
        self._client = client
        self.tag = 0
        self.tsn = TSN

    async def open(self) -> None:
        assert self._client is not None
        answer = await self._client.request(
            "publish",
            sdp=self._peer.offer(data=True),
            tracks=[{"mid": "0", "source": "microphone"}, {"mid": "1", "source": "camera"}],
        )
        assert answer["type"] == "answer", answer
        self._peer.use(answer["sdp"], role="client")
        self._peer.check()
        await self._client.until(lambda: self._peer.tx)
        await self.associate()

    async def associate(self) -> None:
        self.send(chunk(1, struct.pack("!IIHHI", TAG, 1 << 20, 64, 64, TSN)), tag=0)
        reply = await self._heard(2)
        self.tag = struct.unpack_from("!I", reply, 4)[0]
        self.peer_tsn = struct.unpack_from("!I", reply, 16)[0]
        at = 20
        while True:
            kind, length = struct.unpack_from("!HH", reply, at)
            if kind == 7:
                break
            at += length + (-length & 3)
        self.send(chunk(10, reply[at + 4 : at + length]))
        await self._heard(11)
        self.send(data(self.tsn, OPEN, ppid=50))
        self.tsn += 1
        await self._heard(3)

    def send(self, *chunks: bytes, tag: int | None = None) -> None:
        packet = struct.pack("!HHII", 5000, 5000, self.tag if tag is None else tag, 0) + b"".join(chunks)
        packet = packet[:8] + struct.pack("<I", crc32c(packet)) + packet[12:]
        dtls = self._peer.dtls
        assert dtls is not None
        dtls.send(packet)
        self._peer.pump()

    async def _heard(self, kind: int) -> bytes:
        for _ in range(400):
            self._peer.pump()
            assert self._peer.dtls is not None
            for packet in self._peer.dtls.application_data():
                at = 12
                while at + 4 <= len(packet):
                    found, _, length = struct.unpack_from("!BBH", packet, at)
                    if found == kind:
                        return packet[at : at + length]
                    at += max(4, length + (-length & 3))
            await asyncio.sleep(0.005)
        raise AssertionError(f"no chunk {kind} came")
