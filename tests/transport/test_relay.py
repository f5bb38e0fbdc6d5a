"""Two and three nodes in one process: real sockets, SRTP and engines, and a publishing process."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from sfu.ids import TrackId
from sfu.rooms.ports import SubscriptionSettings
from sfu.transport.plain_transport import PlainTransport, pair
from tests.support.relays import Node, Nodes
from tests.transport.test_plain_publishing import CAMERA, Publisher, Viewer, complete

__all__ = ["Node"]


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    nodes = Nodes()
    yield nodes
    nodes.close()
    for node in nodes.nodes.values():
        assert not node.webrtc_server.port.by_ufrag
        assert not node.webrtc_server.port.by_address
        assert not node.webrtc_server.engine.peers


@pytest.fixture
async def publisher(nodes: Nodes) -> AsyncIterator[Publisher]:
    """A publisher at node `home`."""
    plain_transport = PlainTransport(nodes.open("home").webrtc_server, "ingest")
    ours, theirs = pair()
    theirs.setblocking(True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.plain_publisher", str(theirs.fileno()), pass_fds=(theirs.fileno(),)
    )
    theirs.close()
    plain_transport.attach(ours)
    yield Publisher(plain_transport, process)
    plain_transport.close()
    assert await asyncio.wait_for(process.wait(), 20) == 0


async def until(done: Callable[[], object], *viewers: Viewer) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        for viewer in viewers:
            viewer.read()
        await asyncio.sleep(0.01)


def not_ended(track: TrackId) -> None:
    raise AssertionError(f"{track} ended")


async def test_layers_are_sent_on_demand_and_losses_repaired(nodes: Nodes, publisher: Publisher) -> None:
    home, edge = nodes.nodes["home"], nodes.open("edge")
    home.relay.publish(CAMERA, publisher.camera)
    relayed = await edge.relay.subscribe("home", CAMERA, not_ended)
    assert relayed.codec == "H264"
    assert list(relayed.declared) == ["q", "h", "f"]
    viewer = Viewer(edge.webrtc_server)
    viewer.plain_transport.subscribe(CAMERA, relayed, SubscriptionSettings(height=90))
    await until(lambda: viewer.heights[-5:] == [90] * 5, viewer)
    viewer.plain_transport.update(CAMERA, SubscriptionSettings(height=360))
    await until(lambda: viewer.heights[-5:] == [360] * 5, viewer)
    await until(lambda: complete(viewer.sequences), viewer)
    viewer.close()
