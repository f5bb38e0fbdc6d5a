"""Worker processes: their environment, their socket and their end."""

import asyncio
import json
import os
import sys

import pytest

from sfu.resources.media_clock import OFFSET, OFFSET_VARIABLE
from sfu.resources.worker_process import running_worker, worker_environment

MODULE = """
import json, os, socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
sock.sendall(json.dumps([sys.argv[2:], sorted(os.environ)]).encode() + b"\\n")
sock.recv(1)
"""


def test_the_environment_holds_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFU_AUTH_KEYS", "{key: secret}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("TZ", "UTC")
    found = worker_environment()
    assert found["TZ"] == "UTC"
    assert found[OFFSET_VARIABLE] == repr(OFFSET)
    assert "secret" not in str(found)


@pytest.fixture
def module(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    directory = tmp_path_factory.mktemp("modules")
    (directory / "example_worker.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(directory))
    monkeypatch.setenv("SFU_AUTH_KEYS", "{key: secret}")
    return "example_worker"


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_worker_gets_its_socket_and_arguments_and_is_killed_at_the_end(module: str) -> None:
    async with running_worker(module, "one", "two") as worker:
        line = await asyncio.wait_for(worker.reader.readline(), 30)
        arguments, environment = json.loads(line)
        assert arguments == ["one", "two"]
        assert "SFU_AUTH_KEYS" not in environment
        assert is_running(worker.pid)
    assert not is_running(worker.pid)


async def test_the_end_of_a_worker_ends_its_stream(module: str) -> None:
    async with running_worker(module) as worker:
        await worker.reader.readline()
        worker.writer.write(b"x")
        assert await asyncio.wait_for(worker.reader.read(), 30) == b""


async def test_a_worker_dies_with_an_error_in_its_block(module: str) -> None:
    with pytest.raises(KeyError):
        async with running_worker(module) as worker:
            raise KeyError
    assert not is_running(worker.pid)


async def test_a_program_that_cannot_be_started_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        async with running_worker("sfu"):
            pytest.fail("it cannot run")
    assert len(os.listdir("/proc/self/fd")) == before
