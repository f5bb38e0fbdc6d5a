"""The real forwarding engine and the real downlinks in the virtual network: a whole SFU under a virtual clock."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sfu.bandwidth.settings import Settings
from sfu.forwarding.allocator import Layer, LayerAllocation, LayerRequest, Rank
from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.downlink import Downlink
from sfu.forwarding.engine import Engine
from sfu.forwarding.layer_bitrates import LayerBitrates
from sfu.forwarding.layer_filter import filtered
from sfu.forwarding.layers import Size
from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.track import Track
from sfu.ids import PeerId
from tests.support.network import Link, Network
from tests.support.remb_viewer import RembViewer, SendTimes
from tests.support.replay import RecordedCamera, RecordedTrack
from tests.support.simulcast import WALL, Camera, Microphone, Simulcast
from tests.support.viewer import Screen, Speaker, Viewer
from tests.support.wire import AUDIO_EXTENSIONS, EXTENSIONS, PlainSealer, engine_track

TICK = 0.025
OVERHEAD = 28


class DatagramSink:
    """Where the engine's datagrams leave: the first of some links in a row."""

    segments = False

    def __init__(self, links: Sequence[Link], receive: Callable[[bytes], None]) -> None:
        self.links, self.receive = links, receive

    def send(self, data: memoryview | bytes, address: object) -> bool:
        self._forward(0, bytes(data))
        return True

    def send_segments(self, data: memoryview, size: int, address: object) -> bool:
        for at in range(0, len(data), size):
            self._forward(0, bytes(data[at : at + size]))
        return True

    def _forward(self, index: int, data: bytes) -> None:
        if index == len(self.links):
            self.receive(data)
        else:
            self.links[index].send(data, len(data) + OVERHEAD, lambda arrived: self._forward(index + 1, arrived))


@dataclass
class Attendee:
    """A subscriber: its client, its peer in the engine, and the decision for each track."""

    client: Viewer
    peer: EnginePeer
    down: Link
    downlink: Downlink
    down_tracks: dict[str, DownTrack] = field(default_factory=dict)
    story: list[tuple[float, str, str, str]] = field(default_factory=list)
    """(when, track, layer or a dash, reason)."""
    layers: list[tuple[float, str, Layer | None]] = field(default_factory=list)
    targets: list[tuple[float, float]] = field(default_factory=list)


@dataclass
class Publication:
    track: Track
    source: Camera | Microphone | RecordedCamera
    declared: dict[str, Size]
    rank: Rank = Rank.OTHER


class VirtualSfu:
    """Publishers and attendees are added before or while the network runs."""

    def __init__(self, network: Network, settings: Settings | None = None) -> None:
        self.network = network
        self.settings = settings or Settings(start=600_000.0)
        self.engine = Engine(PlainSealer(), segments=False)
        self.rates = LayerBitrates()
        self.publications: dict[str, Publication] = {}
        self.attendees: list[Attendee] = []
        self._count = 0
        self._ticks = 0
        self._buffer = bytearray(2048)
        network.every(TICK, self._tick)

    # -- who is there -----------------------------------------------------------------------------------------------

    def publish(
        self, name: str, up: Link, back: Link, *, layers: list[Simulcast] | None = None, audio: bool = True
    ) -> Publication:
        """A camera (`name`) and a microphone (`name` and a star)."""
        peer = self._open([back], lambda data: camera.receive(data))
        uplink = DatagramSink([up], lambda data: self._receive(peer, data))
        camera = Camera(self.network, lambda data: uplink.send(data, None), layers=layers)
        declared = {layer.rid: Size(layer.width, layer.height) for layer in camera.layers}
        self.publications[name] = Publication(self._picture(peer, tuple(declared)), camera, declared)
        if audio:
            microphone = Microphone(self.network, lambda data: uplink.send(data, None))
            sound = self.engine.add_track(
                peer, mid="0", kind="audio", codec="opus", parameters="", clock_rate=48_000,
                payload_types={111: "opus"}, rtx={}, extensions=AUDIO_EXTENSIONS, rids=(), ssrcs=(),
            )  # fmt: skip
            self.publications[name + "*"] = Publication(sound, microphone, {"": Size(0, 0)})
        return self.publications[name]

    def play(self, name: str, recorded: RecordedTrack, declared: dict[str, Size], up: Link, back: Link) -> Publication:
        """A recorded camera, played from now on."""
        peer = self._open([back], lambda data: camera.receive(data))
        uplink = DatagramSink([up], lambda data: self._receive(peer, data))
        camera = RecordedCamera(self.network, lambda data: uplink.send(data, None), recorded)
        self.publications[name] = Publication(self._picture(peer, tuple(declared)), camera, declared)
        return self.publications[name]

    def _picture(self, peer: EnginePeer, rids: tuple[str, ...]) -> Track:
        return self.engine.add_track(
            peer, mid="1", kind="video", codec="VP8", parameters="", clock_rate=90_000, payload_types={96: "VP8"},
            rtx={97: 96}, extensions=EXTENSIONS, rids=rids, ssrcs=(),
        )  # fmt: skip

    def attend(self, down: Link, up: Link, *, feedback: float = 0.1) -> Attendee:
        peer = self._open([down], lambda data: client.receive(data))
        uplink = DatagramSink([up], lambda data: self._receive(peer, data))
        client = Viewer(self.network, lambda data: uplink.send(data, None), feedback=feedback)
        downlink = Downlink(self.settings, self._layers, self.network.now)
        self.engine.set_downlink(peer, downlink)
        attendee = Attendee(client, peer, down, downlink)
        self.attendees.append(attendee)
        return attendee

    def attend_with_remb(self, down: Link, up: Link) -> Attendee:
        """A stock aiortc client: it sends REMB and receiver reports only."""
        sent = SendTimes()

        class Noted(Link):
            """Notes when packets leave."""

            def __init__(self) -> None: ...

            def send(self, data: Any, size: int, deliver: Callable[[Any], None]) -> bool:
                sent.note(data, network.now)
                deliver(data)
                return True

        network = self.network
        peer = self._open([Noted(), down], lambda data: client.receive(data))
        uplink = DatagramSink([up], lambda data: self._receive(peer, data))
        client = RembViewer(self.network, lambda data: uplink.send(data, None))
        client.sent = sent
        attendee = Attendee(client, peer, down, Downlink(self.settings, self._layers, self.network.now))
        self.engine.set_downlink(peer, attendee.downlink)
        self.attendees.append(attendee)
        return attendee

    def subscribe(self, attendee: Attendee, name: str, **settings: Any) -> Screen | Speaker:
        publication = self.publications[name]
        track = publication.track
        number = len(attendee.down_tracks)
        video = track.kind == "video"
        down_track = self.engine.add_down_track(
            track, attendee.peer, mid=f"{number:02}", ssrc=7000 + number, rtx_ssrc=8000 + number if video else 0,
            payload_type=100 if video else 111, red_payload_type=None, rtx_payload_type=101 if video else None,
            first_sequence=500, cname=name,
        )  # fmt: skip
        self.engine.set_sent_callback(down_track, attendee.downlink.estimator.on_sent)
        attendee.down_tracks[name] = down_track
        attendee.downlink.requests[name] = LayerRequest(name, track.kind, **settings)
        attendee.downlink.touch()
        return (
            attendee.client.watch(down_track.ssrc, down_track.rtx_ssrc)
            if video
            else attendee.client.hear(down_track.ssrc)
        )

    def _open(self, links: Sequence[Link], receive: Callable[[bytes], None]) -> EnginePeer:
        self._count += 1
        return self.engine.open_plain_peer(PeerId(self._count), 1000 + self._count, DatagramSink(links, receive))

    # -- what the driver does ---------------------------------------------------------------------------------------

    def _receive(self, peer: EnginePeer, data: bytes) -> None:
        now = self.network.now
        if 191 < data[1] < 224:
            self.engine.receive_rtcp(peer, data, now, now + WALL)
            return
        self._buffer[: len(data)] = data
        self.engine.receive(peer, memoryview(self._buffer), len(data), now)
        self.engine.flush(now)

    def _layers(self, name: Any) -> Any:
        publication = self.publications[name]
        return self.rates.layers(publication.track, publication.declared)

    def _tick(self) -> None:
        now = self.network.now
        self.engine.handle_timer(now, now + WALL)
        self.rates.measure((publication.track for publication in self.publications.values()), now)
        if self.engine.take_events():
            for attendee in self.attendees:
                attendee.downlink.touch()
        self._ticks += 1
        for attendee in self.attendees:
            downlink = attendee.downlink
            if self._ticks % 2 == 0:
                for change in downlink.handle_timer(now):
                    name = str(change.key)
                    self._apply(attendee, name, change.decision, urgent=change.urgent)
                attendee.targets.append((now, downlink.estimator.target))
            if downlink.probing:
                self.engine.send_padding(attendee.peer, downlink.padding(now, TICK), now)

    def _apply(self, attendee: Attendee, name: str, decision: LayerAllocation, *, urgent: bool) -> None:
        now, down_track = self.network.now, attendee.down_tracks[name]
        layer = decision.layer
        attendee.story.append((now, name, layer.name if layer else "-", decision.reason.value))
        attendee.layers.append((now, name, layer))
        if layer is None:
            down_track.clear_target()
            return
        stream = filtered(engine_track(down_track).encodings[layer.name], layer.spatial, layer.temporal)
        if urgent and not down_track.is_forwarding(stream.origin):
            down_track.pause()
        self.engine.set_target(down_track, stream, now)
