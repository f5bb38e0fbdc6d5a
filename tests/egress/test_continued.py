"""The egress of a room continues on another node: outputs, destinations, and the numbers of the live stream."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.egress.support import ROOM, EgressServer, egress_server, until


@asynccontextmanager
async def joined(server: EgressServer) -> AsyncIterator[None]:
    """The room exists, because someone is in it."""
    client = server.client("ada")
    await client.join()
    yield
    await client.close()


async def test_another_node_continues(tmp_path: Path) -> None:
    async with egress_server(tmp_path / "lost") as here, joined(here):
        await here.ask("PUT", "/egress", json={"live": True, "recording": True, "layout": "grid"})
        await here.ask("POST", "/egress/destinations", json={"url": "rtmp://192.0.2.1/live/key"})
        job = here.job
        await until(lambda: job.live_stream is not None and job.live_stream.state.name == "LIVE")
        lost = job.live_stream
        assert lost is not None
        snapshot = here.server.egress_jobs.snapshot(ROOM)
        spec = job.spec
        used = lost.streams["180p"].last[0]
    async with egress_server(tmp_path / "new") as there, joined(there):
        changed: list[str] = []
        there.server.egress_jobs.changed = changed.append
        there.server.egress_jobs.restore(there.server.rooms.find(ROOM), snapshot)
        job = there.job
        assert job.spec == spec
        assert changed, "the new node saves it as well"
        await until(lambda: job.live_stream is not None and job.live_stream.state.name == "LIVE")
        assert job.live_stream is not None
        assert job.live_stream.stream_id == lost.stream_id
        assert job.live_stream.streams["180p"].segments[0].msn > used
        assert job.recording is not None
        there.server.egress_jobs.stop(ROOM)
        await until(lambda: not len(there.server.egress_jobs))
        assert there.server.egress_jobs.snapshot(ROOM) == b"", "a stopped egress does not continue"


async def test_egress_that_cannot_continue_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with egress_server(tmp_path, egress__max_jobs="0") as there, joined(there):
        room = there.server.rooms.find(ROOM)
        there.server.egress_jobs.restore(room, b"malformed")
        there.server.egress_jobs.restore(room, b"\x81\xa6tracks\xc3")
        assert [record.message for record in caplog.records].count("egress cannot continue on this node") == 2
        assert room.members.participant_count == 1
