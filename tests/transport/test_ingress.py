"""One participant's flood is its own trouble."""

import asyncio

from sfu.transport.endpoint import WebRtcEndpoint
from sfu.transport.settings import Settings
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.wire import rtp
from tests.transport.test_connection import published, until


async def test_a_publisher_that_sends_more_than_it_may_is_not_listened_to_until_it_stops() -> None:
    webrtc_server = WebRtcServer(
        Settings(udp_port=0, bind=("127.0.0.1",), include_loopback=True, publish_packets_per_second=400)
    )
    webrtc_server.open()
    publisher, peer, _ = await published(WebRtcEndpoint(webrtc_server))
    connection = next(iter(webrtc_server.connections))
    sequence = 0

    def send(count: int) -> None:
        nonlocal sequence
        for _ in range(count):
            sequence += 1
            peer.send(rtp(b"x", ssrc=1, sequence=sequence, timestamp=sequence, payload_type=111, extensions={4: b"0"}))

    for _ in range(50):
        send(40)
        await asyncio.sleep(0.01)
    await until(lambda: webrtc_server.port.dropped["ingress_rate"] > 200)
    await until(lambda: not connection.peer.flooding)
    before = connection.peer.tracks["0"].encodings[""].packets
    send(5)
    await until(lambda: connection.peer.tracks["0"].encodings[""].packets == before + 5)
    publisher.close()
    peer.close()
    webrtc_server.close()
