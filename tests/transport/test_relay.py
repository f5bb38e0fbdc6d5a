"""Two and three nodes in one process, with real sockets, SRTP and engines."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import pytest

from sfu.errors import NotFound
from sfu.forwarding.decision_log import Cause
from sfu.forwarding.layers import Size
from sfu.forwarding.peer import EnginePeer
from sfu.ids import TrackId
from sfu.sdp.capabilities import OUT_EXTENSION_IDS, URI_VIDEO_ORIENTATION
from sfu.transport import relay, relay_node, relay_path, relayed_track
from sfu.transport.relayed_track import RelayedTrack
from tests.support.relays import LEVEL, SETTINGS, SIZES, Camera, Lossy, Microphone, Node, Nodes, Watcher, until

CAMERA, MICROPHONE = TrackId("TR_cam"), TrackId("TR_mic")


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    nodes = Nodes()
    yield nodes
    nodes.close()
    for node in nodes.nodes.values():
        assert not node.webrtc_server.port.by_ufrag
        assert not node.webrtc_server.port.by_address


def not_ended(track: TrackId) -> None:
    raise AssertionError(f"{track} ended")


def rids(track: RelayedTrack) -> set[str]:
    """Encodings that arrive now."""
    return {rid for rid, encoding in track.track.encodings.items() if encoding.alive}


def shows(track: RelayedTrack, expected: set[str]) -> bool:
    return rids(track) == expected


def towards(node: Node) -> EnginePeer:
    """The engine's peer of the only other node."""
    return next(peer for peer in node.webrtc_server.engine.peers.values() if peer.trusted)


def is_continuous(watcher: Watcher) -> bool:
    """Whether the last 50 numbers are complete."""
    numbers = set(watcher.numbers())
    return len(numbers) > 50 and set(range(max(numbers) - 60, max(numbers) - 10)) <= numbers


@pytest.mark.parametrize("native", [True, False])
async def test_a_track_arrives_with_its_layers_and_header_extensions(nodes: Nodes, native: bool) -> None:
    settings = replace(SETTINGS, native=native)
    home, edge = nodes.open("home", settings=settings), nodes.open("edge", settings=settings)
    camera, microphone, watcher = Camera(home), Microphone(home), Watcher(edge)
    home.relay.publish(CAMERA, camera.source)
    home.relay.publish(MICROPHONE, microphone.source)
    video = await edge.relay.subscribe("home", CAMERA, not_ended)
    audio = await edge.relay.subscribe("home", MICROPHONE, not_ended)
    assert (video.kind, video.codec, video.stream, video.declared) == ("video", "VP8", "PA_1", SIZES)
    assert (audio.kind, audio.codec, audio.track.parameters) == ("audio", "opus", "useinbandfec=1")
    watcher.watch(CAMERA, video)
    watcher.watch(MICROPHONE, audio)
    await until(lambda: rids(video) == {"q", "h", "f"} and rids(audio), camera, microphone, watcher)
    await until(lambda: is_continuous(watcher), camera, microphone, watcher)
    orientation = OUT_EXTENSION_IDS[URI_VIDEO_ORIENTATION]
    pictures = [packet for packet in watcher.packets if packet.ssrc == watcher.plain_transport.ssrc(CAMERA)]
    assert {packet.extensions.get(orientation) for packet in pictures} == {b"\x03"}
    assert audio.take_level() == LEVEL
    watcher.close()


async def test_only_layers_with_subscribers_are_sent_and_the_publisher_pauses_the_others(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relayed_track, "PARK_DELAY", 0.1)
    home, edge = nodes.open("home"), nodes.open("edge")
    camera, watcher = Camera(home), Watcher(edge)
    home.relay.publish(CAMERA, camera.source)
    video = await edge.relay.subscribe("home", CAMERA, not_ended)
    await until(lambda: camera.active == {"q"}, camera)  # no subscriber at either node
    assert not rids(video)
    watcher.watch(CAMERA, video, 180)
    await until(lambda: rids(video) == {"q", "h"}, camera, watcher)
    assert camera.active == {"q", "h"}
    watcher.watch(CAMERA, video)
    await until(lambda: rids(video) == {"q", "h", "f"}, camera, watcher)
    watcher.watch(CAMERA, video, 90)
    await until(lambda: rids(video) == {"q"}, camera, watcher)
    watcher.watch(CAMERA, video, paused=True)
    await until(lambda: not rids(video), camera, watcher)
    watcher.packets.clear()
    watcher.watch(CAMERA, video)
    await until(lambda: is_continuous(watcher), camera, watcher)
    watcher.close()


async def test_keyframe_requests_are_merged_and_a_newcomer_needs_none(nodes: Nodes) -> None:
    home, edge = nodes.open("home"), nodes.open("edge")
    camera = Camera(home, rids="q")
    watchers = [Watcher(edge) for _ in range(5)]
    home.relay.publish(CAMERA, camera.source)
    video = await edge.relay.subscribe("home", CAMERA, not_ended)
    for watcher in watchers:
        watcher.watch(CAMERA, video)
    await until(lambda: all(watcher.packets for watcher in watchers), camera, *watchers)
    before, keyframes = camera.requests, video.track.encodings["q"].keyframes
    for watcher in watchers:
        watcher.request_keyframe(CAMERA)
    await until(lambda: camera.requests > before, camera, *watchers)
    await until(lambda: video.track.encodings["q"].keyframes > keyframes, camera, *watchers)
    assert camera.requests <= before + 2
    requests = camera.requests
    newcomer = Watcher(edge)
    newcomer.watch(CAMERA, video)
    await until(lambda: newcomer.packets, camera, newcomer)
    assert newcomer.packets[0].payload[6] & 1 == 0  # VP8: a keyframe
    assert camera.requests == requests
    for watcher in (newcomer, *watchers):
        watcher.close()


async def test_lost_packets_are_repaired(nodes: Nodes) -> None:
    home, edge = nodes.open("home"), nodes.open("edge")
    camera, watcher = Camera(home, rids="q"), Watcher(edge)
    camera.packets = 4
    home.relay.publish(CAMERA, camera.source)
    video = await edge.relay.subscribe("home", CAMERA, not_ended)
    watcher.watch(CAMERA, video)
    await until(lambda: watcher.packets, camera, watcher)
    peer = towards(home)
    lossy = Lossy(home.webrtc_server.port.sockets[0], 10)
    home.webrtc_server.engine.set_peer_address(peer, lossy, peer.address)
    await until(lambda: video.track.encodings["q"].recovered > 10, camera, watcher)
    peer = towards(home)
    lost = lossy.lost
    home.webrtc_server.engine.set_peer_address(peer, home.webrtc_server.port.sockets[0], peer.address)
    await until(lambda: is_continuous(watcher), camera, watcher)
    assert lost > 10
    # Requests for the packet and its retransmissions are lost as well: one of them may never arrive.
    missing = set(range(1, max(watcher.numbers()) - 20)) - set(watcher.numbers())
    assert len(missing) <= lost // 10
    watcher.close()


async def test_sender_reports_follow_the_clock_of_the_publisher(nodes: Nodes) -> None:
    home, edge = nodes.open("home"), nodes.open("edge")
    camera, watcher = Camera(home, rids="q"), Watcher(edge)
    home.relay.publish(CAMERA, camera.source)
    video = await edge.relay.subscribe("home", CAMERA, not_ended)
    watcher.watch(CAMERA, video)
    await until(lambda: len(watcher.reports) > 2, camera, watcher)
    report = watcher.reports[-1]
    # The camera's timestamps are its clock in 1/90000 s, and both nodes have one clock: the report maps one to the other.
    offset = (report.rtp_timestamp - watcher.packets[0].timestamp) / 90_000
    assert towards(edge).clock.offset == pytest.approx(0, abs=0.5)
    assert offset > 0
    assert towards(edge).clock.rtt is not None or towards(home).clock.rtt is not None
    watcher.close()


async def test_a_track_goes_on_when_its_publisher_connects_again(nodes: Nodes) -> None:
    home, edge = nodes.open("home"), nodes.open("edge")
    camera, watcher = Camera(home), Watcher(edge)
    home.relay.publish(CAMERA, camera.source)
    video = await edge.relay.subscribe("home", CAMERA, not_ended)
    watcher.watch(CAMERA, video)
    await until(lambda: is_continuous(watcher), camera, watcher)
    ssrc = watcher.plain_transport.ssrc(CAMERA)
    home.webrtc_server.engine.close_peer(camera.peer)
    other = Camera(home)
    home.relay.publish(CAMERA, other.source)
    count = len(watcher.packets)
    await until(lambda: len(watcher.packets) > count + 60 and is_continuous(watcher), other, watcher)
    assert watcher.plain_transport.ssrc(CAMERA) == ssrc
    assert video.track.closed is False
    watcher.close()


async def test_a_track_moves_to_another_node(nodes: Nodes) -> None:
    first, second, edge = nodes.open("first"), nodes.open("second"), nodes.open("edge")
    camera, other, watcher = Camera(first), Camera(second), Watcher(edge)
    first.relay.publish(CAMERA, camera.source)
    second.relay.publish(CAMERA, other.source)
    video = await edge.relay.subscribe("first", CAMERA, not_ended)
    watcher.watch(CAMERA, video)
    await until(lambda: is_continuous(watcher), camera, watcher)
    ssrc, count = watcher.plain_transport.ssrc(CAMERA), len(watcher.packets)
    assert await edge.relay.subscribe("second", CAMERA, not_ended) is video
    await until(lambda: len(watcher.packets) > count + 60 and is_continuous(watcher), other, watcher)
    assert watcher.plain_transport.ssrc(CAMERA) == ssrc
    await until(lambda: not camera.source.consumers, camera, other, watcher)
    watcher.close()


async def test_tracks_go_on_after_a_loss_of_the_path(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_path, "LOST_AFTER", 0.3)
    home, edge = nodes.open("home"), nodes.open("edge")
    camera, watcher = Camera(home, rids="q"), Watcher(edge)
    home.relay.publish(CAMERA, camera.source)
    video = await edge.relay.subscribe("home", CAMERA, not_ended)
    watcher.watch(CAMERA, video)
    await until(lambda: watcher.packets, camera, watcher)
    nodes.cut.add("home")
    readers = home.webrtc_server.port
    home_socket = readers.sockets[0]
    lossy = Lossy(home_socket, 1)
    readers.sockets[0] = lossy  # type: ignore[call-overload]  # a sink instead of a socket
    peer = towards(home)
    home.webrtc_server.engine.set_peer_address(peer, lossy, peer.address)
    await until(lambda: not rids(video), camera, watcher)
    readers.sockets[0] = home_socket
    home.webrtc_server.engine.set_peer_address(peer, home_socket, peer.address)
    nodes.cut.clear()
    count = len(watcher.packets)
    await until(lambda: rids(video) == {"q"} and len(watcher.packets) > count + 60, camera, watcher)
    watcher.close()


async def test_tracks_go_on_after_a_restart_of_their_node(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_path, "LOST_AFTER", 0.3)
    home, edge = nodes.open("home"), nodes.open("edge")
    camera, watcher = Camera(home), Watcher(edge)
    home.relay.publish(CAMERA, camera.source)
    video = await edge.relay.subscribe("home", CAMERA, not_ended)
    watcher.watch(CAMERA, video)
    await until(lambda: is_continuous(watcher), camera, watcher)
    home.close()
    home = nodes.open("home")
    again = Camera(home)
    home.relay.publish(CAMERA, again.source)
    count = len(watcher.packets)
    await until(lambda: len(watcher.packets) > count + 60 and is_continuous(watcher), again, watcher)
    assert rids(video) == {"q", "h", "f"}
    watcher.close()


async def test_a_track_ends_at_the_other_node(nodes: Nodes) -> None:
    home, edge = nodes.open("home"), nodes.open("edge")
    camera, ended = Camera(home), list[TrackId]()
    home.relay.publish(CAMERA, camera.source)
    video = await edge.relay.subscribe("home", CAMERA, ended.append)
    home.relay.unpublish(CAMERA)
    await until(lambda: ended == [CAMERA], camera)
    assert video.track.closed
    with pytest.raises(NotFound):
        await edge.relay.subscribe("home", CAMERA, not_ended)


async def test_a_track_that_continues_with_other_layers_ends(nodes: Nodes) -> None:
    home, edge = nodes.open("home"), nodes.open("edge")
    camera, other, ended = Camera(home), Camera(home, rids="q"), list[TrackId]()
    home.relay.publish(CAMERA, camera.source)
    video = await edge.relay.subscribe("home", CAMERA, ended.append)
    home.relay.publish(CAMERA, other.source)
    await until(lambda: ended == [CAMERA], other)
    assert video.track.closed
    again = await edge.relay.subscribe("home", CAMERA, not_ended)
    assert list(again.declared) == ["q"]


async def test_changes_of_the_publisher_reach_the_subscribers(nodes: Nodes) -> None:
    home, edge = nodes.open("home"), nodes.open("edge")
    camera, watcher = Camera(home, rids="q"), Watcher(edge)
    home.relay.publish(CAMERA, camera.source)
    video = await edge.relay.subscribe("home", CAMERA, not_ended)
    watcher.watch(CAMERA, video)
    await until(lambda: watcher.packets, camera, watcher)
    camera.source.declared = {"q": Size(80, 45)}
    camera.source.limitation = "cpu"
    for name, consumers in camera.source.consumers.items():
        for consumer in consumers:
            consumer.quality_limitation_changed(name, Cause.CPU, 0.0)
    await until(lambda: video.limitation == "cpu", camera, watcher)
    assert video.declared == {"q": Size(80, 45)}
    watcher.close()


async def test_a_track_without_users_leaves_no_path(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "IDLE", 0.2)
    home, edge = nodes.open("home"), nodes.open("edge")
    camera = Camera(home, rids="q")
    home.relay.publish(CAMERA, camera.source)
    await edge.relay.subscribe("home", CAMERA, not_ended)
    edge.relay.unsubscribe(CAMERA)
    edge.relay.unsubscribe(CAMERA)

    def trusted() -> list[EnginePeer]:
        return [peer for node in (home, edge) for peer in node.webrtc_server.engine.peers.values() if peer.trusted]

    await until(lambda: not trusted(), camera)
    assert not camera.source.consumers
    video = await edge.relay.subscribe("home", CAMERA, not_ended)
    assert not video.track.closed


async def test_tracks_end_when_the_path_stays_lost(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_path, "LOST_AFTER", 0.2)
    monkeypatch.setattr(relay_node, "KEEP", 0.2)
    home, edge = nodes.open("home"), nodes.open("edge")
    camera, ended = Camera(home, rids="q"), list[TrackId]()
    home.relay.publish(CAMERA, camera.source)
    video = await edge.relay.subscribe("home", CAMERA, ended.append)
    nodes.cut.add("home")
    home.close()
    await until(lambda: ended == [CAMERA])
    assert video.track.closed


async def test_lost_messages_are_repeated_without_effect_on_media(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "RETRY", 0.02)
    monkeypatch.setattr(relayed_track, "PARK_DELAY", 0.1)
    nodes.losses = itertools.cycle(("request", "answer", ""))
    home, edge = nodes.open("home"), nodes.open("edge")
    camera, watcher = Camera(home), Watcher(edge)
    home.relay.publish(CAMERA, camera.source)
    video = await edge.relay.subscribe("home", CAMERA, not_ended)
    for height, expected in ((0, {"q", "h", "f"}), (90, {"q"})):
        watcher.watch(CAMERA, video, height)
        await until(partial(shows, video, expected), camera, watcher)
    await until(lambda: is_continuous(watcher), camera, watcher)
    watcher.close()


async def test_both_nodes_may_begin_and_send_at_the_same_time(nodes: Nodes) -> None:
    one, two = nodes.open("one"), nodes.open("two")
    cameras = [Camera(one), Camera(two)]
    watchers = [Watcher(one), Watcher(two)]
    one.relay.publish(TrackId("TR_one"), cameras[0].source)
    two.relay.publish(TrackId("TR_two"), cameras[1].source)
    tracks = await asyncio.gather(
        one.relay.subscribe("two", TrackId("TR_two"), not_ended),
        two.relay.subscribe("one", TrackId("TR_one"), not_ended),
    )
    for watcher, track in zip(watchers, tracks, strict=True):
        watcher.watch(track.id, track)
    await until(lambda: all(map(is_continuous, watchers)), *cameras, *watchers)
    for watcher in watchers:
        watcher.close()
