"""Events of egress jobs and recordings, from real workers."""

import json
from pathlib import Path
from typing import Any

from tests.egress.support import ROOM, EgressServer, egress_server, until


def reported(here: EgressServer, prefix: str) -> list[dict[str, Any]]:
    events = here.server.events.recent.after(0, 1_000)
    return [json.loads(event.body) for event in events if event.name.startswith(prefix)]


def names(here: EgressServer, prefix: str) -> list[str]:
    return [body["event"] for body in reported(here, prefix)]


async def test_a_recording_of_the_mix(tmp_path: Path) -> None:
    async with egress_server(tmp_path) as here:
        here.server.rooms.create(ROOM)
        await here.ask("PUT", "/egress", json={"recording": True})
        await until(lambda: any(one["egressInfo"]["status"] == "EGRESS_ACTIVE" for one in reported(here, "egress_")))
        # A recording that is stopped before its first fragment has no file.
        await until(lambda: any(path.stat().st_size > 10_000 for path in (tmp_path / "recordings").rglob("*.mp4*")))
        await here.ask("DELETE", "/egress")
        await until(lambda: "recording_finished" in names(here, "recording_"))
        await until(lambda: "egress_ended" in names(here, "egress_"))

        egress = reported(here, "egress_")
        statuses = [one["egressInfo"]["status"] for one in egress]
        assert statuses == ["EGRESS_STARTING", "EGRESS_ACTIVE", "EGRESS_ENDING", "EGRESS_COMPLETE"]
        assert [one["event"] for one in egress] == [
            "egress_started",
            "egress_updated",
            "egress_updated",
            "egress_ended",
        ]
        assert egress[1]["egressInfo"]["outputs"] == ["recording"]
        started, finished = reported(here, "recording_")
        assert (started["event"], started["recording"]["kind"]) == ("recording_started", "mix")
        assert finished["recording"]["name"] == started["recording"]["name"]
        assert finished["recording"]["egressId"] == egress[0]["egressInfo"]["egressId"]
        assert "recording.mp4" in {file["name"] for file in finished["recording"]["files"]}


async def test_a_recording_of_tracks(tmp_path: Path) -> None:
    async with egress_server(tmp_path) as here:
        room = here.server.rooms.create(ROOM)
        here.server.egress_jobs.start_track_egress(room)
        await until(lambda: "recording_started" in names(here, "recording_"))
        await here.ask("DELETE", "/egress/tracks")
        await until(lambda: "recording_finished" in names(here, "recording_"))
        await until(lambda: "egress_ended" in names(here, "egress_"))
        assert names(here, "egress_") == ["egress_started", "egress_ended"]
        assert reported(here, "recording_")[1]["recording"]["kind"] == "tracks"
