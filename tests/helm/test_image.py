"""The Dockerfile: what it promises by its words, and its steps carried out here as far as they can be."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.helm.image import DOCKERFILE, build, command, stages
from tests.support.ports import free_port

USER = "10001"
READ_ONLY = """
mount --make-rprivate /
mkdir -p "$STATE"
mount --bind "$STATE" "$STATE"
mount -t tmpfs none /run
mount -o remount,bind,ro /
exec setpriv --reuid 10001 --regid 10001 --clear-groups --bounding-set -all --no-new-privs "$@"
"""


def test_it_is_small_and_runs_as_any_user() -> None:
    first, last = stages(DOCKERFILE.read_text())
    assert first.base.endswith(" AS build")
    assert last.base.endswith("-slim-bookworm")
    assert last.words("USER") == [f"{USER}:{USER}"]
    assert last.words("COPY") == ["--from=build /opt/sfu /opt/sfu"], "nothing else of the build"
    assert "apt-get" not in " ".join(last.words("RUN"))
    assert len(last.words("HEALTHCHECK")) == 1
    assert json.loads(last.words("ENTRYPOINT")[0]) + json.loads(last.words("CMD")[0]) == ["sfu", "serve"]


@pytest.fixture(scope="module")
def target() -> Iterator[Path]:
    """Not in pytest's folder: every session sets its mode to 0700, and the server runs as another user."""
    with tempfile.TemporaryDirectory(prefix="sfu-image-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        yield build(Path(folder), quick=True)


def test_the_wheel_carries_the_page_and_the_version(target: Path) -> None:
    answer = subprocess.run([target / "bin" / "sfu", "--version"], capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("aiosfu ")
    assert list(target.glob("lib/python3.11/site-packages/sfu/_web/index.html"))
    assert not (target / "bin" / "pip").exists(), "nothing that installs stays in the image"


@asynccontextmanager
async def running(target: Path, state: Path, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    words, environment = command(target)
    environment |= {
        "SFU_HTTP__PORT": str(port),
        "SFU_RTC__UDP_PORT": str(free_port(socket.SOCK_DGRAM)),
        "STATE": str(state),
    }
    environment |= {"SFU_AUTH__KEYS": "{app: 0123456789abcdef0123456789abcdef}"}
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--mount", "/bin/sh", "-ec", READ_ONLY, "sh", *words),
        env=environment,
        cwd=state,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


def seen(process: asyncio.subprocess.Process, what: str) -> str:
    """State of the process from /proc."""
    return Path(f"/proc/{process.pid}/{what}").read_text()


@pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("unshare"), reason="only root can take a root file system away"
)
async def test_it_serves_without_root_and_without_a_root_to_write_to(target: Path) -> None:
    state = Path("/var/tmp") / f"sfu-image-{os.getpid()}"
    state.mkdir()
    os.chown(state, int(USER), int(USER))
    port = free_port()
    (health,) = stages(DOCKERFILE.read_text())[1].words("HEALTHCHECK")
    check = json.loads(health.partition("CMD ")[2].replace(":7880", f":{port}"))
    try:
        async with running(target, state, port) as process:
            for _ in range(200):
                assert process.returncode is None, (await process.communicate())[1].decode()
                answer = await asyncio.create_subprocess_exec(*check, stderr=asyncio.subprocess.DEVNULL)
                if await answer.wait() == 0:
                    break
                await asyncio.sleep(0.1)
            else:
                pytest.fail("the health check never passed")
            assert f"Uid:\t{USER}\t{USER}\t{USER}\t{USER}" in seen(process, "status")
            assert "CapEff:\t0000000000000000" in seen(process, "status")
            root = next(line.split() for line in seen(process, "mounts").splitlines() if line.split()[1] == "/")
            assert root[3].startswith("ro")
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        shutil.rmtree(state)
