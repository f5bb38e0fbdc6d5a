"""Real H.264 simulcast of another process, with losses, through two nodes and a decoder."""

import asyncio
import sys

from sfu.rooms.ports import SubscriptionSettings
from sfu.transport.plain_transport import PlainTransport, pair
from tests.support.relays import Nodes
from tests.transport.test_plain_publishing import CAMERA, Publisher, Viewer, complete, until


async def test_pictures_of_the_wanted_layer_are_decoded_at_the_other_node() -> None:
    nodes = Nodes()
    home, edge = nodes.open("home"), nodes.open("edge")
    plain_transport = PlainTransport(home.webrtc_server, "ingest")
    ours, theirs = pair()
    theirs.setblocking(True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.plain_publisher", str(theirs.fileno()), pass_fds=(theirs.fileno(),)
    )
    theirs.close()
    plain_transport.attach(ours)
    publisher, viewer = Publisher(plain_transport, process), Viewer(edge.webrtc_server)
    try:
        home.relay.publish(CAMERA, publisher.camera)
        relayed = await edge.relay.subscribe("home", CAMERA, lambda track: None)
        viewer.plain_transport.subscribe(CAMERA, relayed, SubscriptionSettings(height=90))
        await until(lambda: viewer.heights[-5:] == [90] * 5, viewer)
        viewer.plain_transport.update(CAMERA, SubscriptionSettings(height=360))
        await until(lambda: viewer.heights[-5:] == [360] * 5, viewer)
        await until(lambda: complete(viewer.sequences), viewer)
        assert relayed.track.parameters == publisher.camera.track.parameters
    finally:
        viewer.close()
        plain_transport.close()
        nodes.close()
        await asyncio.wait_for(process.wait(), 20)
