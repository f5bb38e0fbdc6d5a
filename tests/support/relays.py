"""Relays of several nodes in one process, with messages that pass through memory or are lost."""

from dataclasses import dataclass, field

from sfu.transport.endpoint import WebRtcEndpoint
from sfu.transport.relay import Relay
from sfu.transport.settings import Settings
from sfu.transport.webrtc_server import WebRtcServer

SETTINGS = Settings(udp_port=0, bind=("127.0.0.1",), include_loopback=True)
SECRET = "a secret of the cluster with 32 bytes"


@dataclass
class Node:
    name: str
    webrtc_server: WebRtcServer
    endpoint: WebRtcEndpoint
    relay: Relay

    def close(self) -> None:
        self.relay.close()
        self.webrtc_server.close()


@dataclass
class Nodes:
    """The signalling between nodes. A name in `cut` neither sends nor receives."""

    nodes: dict[str, Node] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    exchanged: list[tuple[str, str, bytes]] = field(default_factory=list)

    def open(self, name: str, *secrets: str, settings: Settings = SETTINGS) -> Node:
        webrtc_server = WebRtcServer(settings)
        webrtc_server.open()
        relay = Relay(webrtc_server, name, secrets or (SECRET,), _Signaling(self, name))
        self.nodes[name] = node = Node(name, webrtc_server, WebRtcEndpoint(webrtc_server), relay)
        return node

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()


@dataclass
class _Signaling:
    nodes: Nodes
    name: str

    async def exchange(self, node: str, message: bytes) -> bytes:
        if {self.name, node} & self.nodes.cut:
            raise ConnectionRefusedError("the node does not answer")
        self.nodes.exchanged.append((self.name, node, message))
        return self.nodes.nodes[node].relay.receive(self.name, message)
