"""sfu.cluster_node: rooms that exist before the directory answers."""

import asyncio
from pathlib import Path

import pytest

from sfu import config
from sfu.auth.addresses import ClientAddresses
from sfu.auth.tokens import Claims
from sfu.cluster.directory_server import DirectoryServer
from sfu.cluster.memory_directory import MemoryBus, MemoryDirectory
from sfu.cluster_node import ClusterNode
from sfu.rooms.registry import Rooms
from sfu.rooms.settings import Settings as RoomSettings
from sfu.transport.settings import Settings as TransportSettings
from sfu.transport.webrtc_server import WebRtcServer
from tests.cluster.nodes import SECRETS
from tests.rooms.fakes import counting_ids


class Idle:
    """A Load."""

    def capacity_used(self) -> float:
        return 0.0

    def joins(self) -> int:
        return 0

    def is_draining(self) -> bool:
        return False

    def no_new_rooms(self) -> str:
        return ""

    def set_draining(self, draining: bool) -> None: ...


def no_claims(token: str) -> Claims:
    raise AssertionError(token)


async def test_a_room_that_was_created_without_the_directory_is_claimed_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "directory.sock"
    settings = config.load(
        flags=[
            ("cluster.directory_socket", str(path)),
            ("cluster.secrets", str(list(SECRETS))),
            ("cluster.listen", f"unix:{tmp_path}/node.sock"),
        ]
    )
    node = ClusterNode(settings, no_claims, ClientAddresses())
    rooms = Rooms(RoomSettings(), counting_ids(), lambda: 0.0, node.observing(lambda summary, observation: None))
    webrtc_server = WebRtcServer(TransportSettings(udp_port=0, bind=("127.0.0.1",), include_loopback=True))
    node.connect(rooms, Idle(), webrtc_server)
    node.membership.open()
    server = DirectoryServer(MemoryDirectory(), MemoryBus())
    try:
        rooms.create("camera")
        rooms.create("ended")
        async with asyncio.timeout(20):
            while [record.message for record in caplog.records].count("a room has no home") < 2:  # noqa: ASYNC110  # a log
                await asyncio.sleep(0.01)
            rooms.delete("ended")
            await server.open(str(path))
            while node._claiming:  # noqa: ASYNC110  # tasks come and go
                await asyncio.sleep(0.01)
        assert node.membership.home_of("camera") is not None
        assert node.membership.home_of("ended") is None
        assert not rooms.find("camera").closed
    finally:
        await node.membership.close()
        await node.client.close()
        await server.close()
