"""`sfu egress` against a running server."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sfu import cli
from tests.egress.support import ROOM, EgressServer, egress_server, until
from tests.support.admin import SECRET

Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    async def run(here: EgressServer, *given: str) -> tuple[int, str, str]:
        command, *rest = given
        settings = ["--url", here.server.url, "--set", f'auth.keys={{key: "{SECRET}"}}']
        # Common options are accepted before and after the command.
        words = ["egress", *settings, command, *rest] if len(rest) % 2 else ["egress", command, *rest, *settings]
        status = await asyncio.to_thread(cli.main, words)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


async def test_start_layout_status_and_stop(tmp_path: Path, run: Run) -> None:
    async with egress_server(tmp_path) as here:
        guest = here.client("guest")
        await guest.join()
        status, out, _ = await run(here, "start", ROOM, "--live", "--record", "--layout", "grid")
        assert (status, out.split()) == (0, [ROOM, "grid", "live,", "recording"])
        assert (await run(here, "list"))[1] == out
        scene = tmp_path / "scene.json"
        scene.write_text(json.dumps({"width": 1280, "height": 720, "tiles": []}))
        assert (await run(here, "layout", ROOM, "--scene", str(scene)))[0] == 0
        assert here.job.spec.scene
        assert (await run(here, "layout", ROOM, "--layout", "speaker"))[0] == 0
        assert (here.job.spec.scene, here.job.spec.layout) == ("", "speaker")
        assert (await run(here, "stop", ROOM, "--record"))[1].split() == [ROOM, "speaker", "live"]
        assert (await run(here, "recordings", ROOM))[1].startswith(ROOM)
        assert json.loads((await run(here, "status", ROOM, "--json"))[1])["live"] is True
        assert (await run(here, "stop", ROOM)) == (0, "", "")
        await until(lambda: not len(here.server.egress_jobs))
        assert (await run(here, "list"))[1] == ""
        await guest.close()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("start", ROOM), "requires --live"),
        (("status", "nowhere"), "no active egress"),
        (("start", "nowhere", "--live"), "no such room"),
        (("layout", ROOM, "--scene", "/nowhere.json"), "cannot be read"),
        (("stop", ROOM, "--destination", "DE_1"), "no such room"),
    ],
)
async def test_errors_are_one_sentence(tmp_path: Path, run: Run, words: tuple[str, ...], complaint: str) -> None:
    async with egress_server(tmp_path) as here:
        status, _, err = await run(here, *words)
        assert status == 2
        assert complaint in err


async def test_an_invalid_scene_and_the_job_limit(tmp_path: Path, run: Run) -> None:
    async with egress_server(tmp_path, egress__max_jobs="0") as here:
        guest = here.client("guest")
        await guest.join()
        assert "cannot run another egress" in (await run(here, "start", ROOM, "--live"))[2]
        await guest.close()
