"""A room in which each packet is accounted for: a camera of three layers and a microphone, and people who take it differently.

Every packet says which it is. What became of each, for each of those who might be sent it, is one of: delivered, once; of a
layer that was not theirs then; not theirs at all then (paused, or before a keyframe). Anything else is a fault: a hole, a
packet that came twice, a change of layers without a keyframe.
"""

import asyncio
import re
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field

import aiohttp

from sfu.rtp import rtcp
from tests.attacks.field import Field
from tests.support.client import Client, Json
from tests.support.peer import RawPeer
from tests.support.wire import Rtp, rtp, vp8

RIDS = {"q": (11, 320, 180), "h": (12, 640, 360), "f": (13, 1280, 720)}
SOUND = 21
PACKETS = 3
"""Of each picture."""
KEYFRAME_EVERY = 5
"""Pictures."""
TAG = struct.Struct("!4sBI")
MARK = b"@PKT"
RID_URI = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"


class Camera(RawPeer):
    """Offers three layers, and counts what it sends."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: Counter[int] = Counter()
        "By SSRC: the last number sent under it."
        self.pictures = 0
        self.total = 0

    def offer(self, *, setup: str = "actpass", data: bool = False) -> str:
        rids = "".join(f"a=rid:{rid} send\r\n" for rid in RIDS) + f"a=simulcast:send {';'.join(RIDS)}\r\n"
        return super().offer(setup=setup, data=data) + f"a=extmap:10 {RID_URI}\r\n" + rids

    def show(self, *rids: str) -> None:
        """One picture of each of these layers, and 20 ms of sound."""
        key = self.pictures % KEYFRAME_EVERY == 0
        self.pictures += 1
        self._send(SOUND, b"", 111, 960, {4: b"0", 1: b"\x14"})
        for rid in rids:
            ssrc, width, height = RIDS[rid]
            for place in range(PACKETS):
                head = vp8(key=key and not place, begin=not place, size=0, picture=self.pictures & 0x7FFF)
                if key and not place:
                    head = head[:-4] + struct.pack("<HH", width, height)
                head += bytes(60)
                self._send(ssrc, head, 96, 1800, {4: b"1", 10: rid.encode()}, last=place == PACKETS - 1)

    def _send(
        self, ssrc: int, head: bytes, kind: int, step: int, extensions: dict[int, bytes], *, last: bool = False
    ) -> None:
        self.sent[ssrc] += 1
        number = self.sent[ssrc]
        self.total += 1
        self.send(
            rtp(
                head + TAG.pack(MARK, ssrc, number), ssrc=ssrc, sequence=number & 0xFFFF, payload_type=kind,
                timestamp=step * self.pictures & 0xFFFFFFFF, extensions=extensions, marker=last,
            )
        )  # fmt: skip


@dataclass
class Stretch:
    """Consecutive packets of one layer."""

    ssrc: int
    first: int
    last: int


@dataclass
class MediaStats:
    """Fate of the camera's packets on their way to one viewer."""

    sound: list[int] = field(default_factory=list)
    pictures: list[tuple[int, int, int, bool]] = field(default_factory=list)
    "Number on the way, layer, number of the layer, whether a keyframe begins."
    repairs: int = 0
    padding: int = 0
    total: int = 0
    goes_on: bool = False
    "The first picture was in the account before."

    def close(self) -> None:
        """Forgets the packets that were checked."""
        self.sound.clear()
        self.pictures = self.pictures[-1:]
        self.goes_on = bool(self.pictures)

    def stretches(self) -> list[Stretch]:
        """Raises AssertionError for whatever may not be."""
        found: list[Stretch] = []
        for place, (number, ssrc, own, key) in enumerate(self.pictures):
            assert not place or number == self.pictures[place - 1][0] + 1, "a hole or a packet that came twice"
            if found and found[-1].ssrc == ssrc and own == found[-1].last + 1:
                found[-1].last = own
            else:
                assert key or (self.goes_on and not place), (
                    "another layer, or the same after a pause, without a keyframe"
                )
                assert all(own > one.last for one in found if one.ssrc == ssrc), "a packet from before"
                found.append(Stretch(ssrc, own, own))
        return found


class Listener(RawPeer):
    """Reads all that comes, at once, and may say that it did not."""

    def __init__(self) -> None:
        super().__init__()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
        self.account = MediaStats()
        self.asks = 0
        "It says that each so-many-th packet did not come."
        self.asked = 0
        self._rtx: set[int] = set()
        self._at: dict[int, int] = {}
        self._asked: list[tuple[int, int]] = []

    def answer(self, offer: str, *, setup: str = "active") -> str:
        self._rtx |= {int(number) for number in re.findall(r"a=rtpmap:(\d+) rtx/90000", offer)}
        return super().answer(offer, setup=setup)

    def take(self) -> None:
        if self.tx is None:
            return
        for data in self.media():
            self._read(Rtp.parse(data))
        if self._asked:
            for ssrc, number in self._asked:
                self.asked += 1
                self.sock.sendto(self.tx.session.protect_rtcp(rtcp.encode_nack(1, ssrc, [number])), self.server)
            self._asked.clear()

    def _read(self, packet: Rtp) -> None:
        account = self.account
        account.total += 1
        at = packet.payload.rfind(MARK)
        if packet.payload_type in self._rtx:
            if at < 0:
                account.padding += 1
            else:
                account.repairs += 1
            return
        if at < 0:
            account.padding += 1
            return
        _, ssrc, own = TAG.unpack(packet.payload[at : at + TAG.size])
        if ssrc == SOUND:
            account.sound.append(own)
            return
        high = self._at.get(packet.ssrc, packet.sequence)
        number = high + ((packet.sequence - high + 0x8000) & 0xFFFF) - 0x8000
        self._at[packet.ssrc] = max(high, number)
        account.pictures.append((number, ssrc, own, packet.payload[6] & 1 == 0 and bool(packet.payload[0] & 0x10)))
        if self.asks and number % self.asks == 0:
            self._asked.append((packet.ssrc, packet.sequence))


class LedgerRoom:
    """`open`, any number of `run`, `settle`; then what the accounts say."""

    def __init__(self, field_: Field, http: aiohttp.ClientSession, room: str = "ledger") -> None:
        self.camera = Camera()
        self.sender = field_.attacker(http, "camera", room)
        self.sender.publishing.close()
        self.sender.publishing = self.camera
        self.people = {name: field_.attacker(http, name, room) for name in ("steady", "fickle", "losing")}
        for client in self.people.values():
            client.subscribing.close()
            client.subscribing = Listener()
        self.listener("losing").asks = 7

    def listener(self, name: str) -> Listener:
        found = self.people[name].subscribing
        assert isinstance(found, Listener)
        return found

    async def open(self) -> None:
        await self.sender.join()
        sizes = [{"rid": rid, "width": width, "height": height} for rid, (_, width, height) in RIDS.items()]
        answer = await self.sender.request(
            "publish", sdp=self.camera.offer(),
            tracks=[{"mid": "0", "source": "microphone"}, {"mid": "1", "source": "camera", "layers": sizes}],
        )  # fmt: skip
        self.track = answer["tracks"]["1"]
        self.camera.use(answer["sdp"], role="client")
        self.camera.check()
        await self.sender.until(lambda: self.camera.tx)
        for client in self.people.values():
            await client.join()
            await client.until(lambda client=client: client.subscribing.tx)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            await self.subscribe(client, width=1280, height=720)

    async def subscribe(self, client: Client, **settings: object) -> None:
        answered: Json = await client.request("subscribe", tracks=[{"track": self.track, **settings}])
        assert answered["type"] == "ok", answered

    async def run(self, pictures: int, *rids: str) -> None:
        for number in range(pictures):
            self.camera.show(*(rids or RIDS))
            await asyncio.sleep(0.02)
            self.take()
            if number % 100 == 99:  # consent
                self.camera.check()
                for client in self.people.values():
                    client.subscribing.check()

    def take(self) -> None:
        self.camera.pump()
        self.camera.received.clear()
        for name in self.people:
            self.listener(name).take()

    async def settle(self, seconds: float = 0.5) -> None:
        for _ in range(int(seconds / 0.02)):
            await asyncio.sleep(0.02)
            self.take()

    def fates(self, name: str, since: Counter[int]) -> Counter[str]:
        """Of all packets after those of `since`. Raises AssertionError for whatever may not be."""
        account, found = self.listener(name).account, Counter[str]()
        expected = list(range(since[SOUND] + 1, self.camera.sent[SOUND] + 1))
        heard = [number for number in account.sound if number > since[SOUND]]
        assert heard == expected, (name, sorted(set(expected) ^ set(heard))[:20])
        found["delivered"] += len(heard)
        stretches = account.stretches()
        for ssrc, *_ in RIDS.values():
            total = self.camera.sent[ssrc] - since[ssrc]
            taken = sum(max(0, one.last - max(one.first, since[ssrc] + 1) + 1) for one in stretches if one.ssrc == ssrc)
            found["delivered"] += taken
            found["not theirs then"] += total - taken
        return found

    async def close(self, field_: Field) -> None:
        await field_.leave(self.sender, *self.people.values())
