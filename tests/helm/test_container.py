"""The rendered container, started for real: its ConfigMap, its Secret, its environment and its command, its probes."""

import asyncio
import base64
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sfu import cli
from tests.helm.chart import COMBINATIONS, find, objects, server, values
from tests.support.certificate import self_signed
from tests.support.ports import free_port

START = 20.0


def mounted(found: list[dict[str, Any]], root: Path, *, node: str = "127.0.0.1") -> dict[str, str]:
    """Writes what the pod's volumes would hold below `root` and returns the container's environment."""
    (root / "etc/sfu/secrets").mkdir(parents=True)
    (root / "etc/sfu/sfu.yaml").write_text(find(found, "ConfigMap")["data"]["sfu.yaml"])
    keys = {"keys": base64.b64encode(b"app: 0123456789abcdef0123456789abcdef"), "turn": base64.b64encode(b"x" * 32)}
    secrets = [each["data"] for each in found if each["kind"] == "Secret"] or [keys]
    for name, content in secrets[0].items():
        (root / "etc/sfu/secrets" / name).write_bytes(base64.b64decode(content))
    tls = root / "etc/sfu/tls"  # of a Secret of type kubernetes.io/tls
    tls.mkdir()
    certificate, key = self_signed(tls)
    certificate.rename(tls / "tls.crt")
    key.rename(tls / "tls.key")
    environment = {"PATH": os.environ["PATH"], "HOME": str(root)}
    for entry in server(found)["env"]:
        value = _value(entry, found, node).replace("$(HOST_IP)", node).replace("$(POD_IP)", node)
        is_path = value.startswith(("/etc/sfu/", "/var/lib/sfu"))
        environment[entry["name"]] = str(root / value.lstrip("/")) if is_path else value
    return environment


def _value(entry: dict[str, Any], found: list[dict[str, Any]], node: str) -> str:
    """The value of an environment variable; `node`: the address of the node and of the pod."""
    if "value" in entry:
        return str(entry["value"])
    source = entry["valueFrom"]
    if "fieldRef" in source:
        return "sfu-1" if source["fieldRef"]["fieldPath"] == "metadata.name" else node
    reference = source["secretKeyRef"]
    for each in found:
        if each["kind"] == "Secret" and each["metadata"]["name"] == reference["name"]:
            return base64.b64decode(each["data"][reference["key"]]).decode()
    return "rediss://:password@redis:6379" if entry["name"] == "SFU_CLUSTER__REDIS_URL" else "x" * 32


@pytest.mark.parametrize("path", COMBINATIONS, ids=lambda path: path.stem)
def test_the_server_accepts_what_is_rendered(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = values(path)
    if path.stem == "monitoring":
        given["config"] = {}  # its JWKS comes from a volume of the operator's own
    environment = mounted(objects(given), tmp_path)
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["config", "check"]) == 0
    assert capsys.readouterr() == ("The configuration is valid.\n", "")


@asynccontextmanager
async def started(found: list[dict[str, Any]], root: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    container = server(found)
    assert container["command"] == ["sfu", "serve"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *container["command"]),
        env=mounted(found, root),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_container_starts_answers_its_probes_and_ends(tmp_path: Path) -> None:
    ports = {"http": {"port": free_port()}, "rtc": {"udp_port": free_port(socket.SOCK_DGRAM), "tcp_port": free_port()}}
    found = objects({"config": {**ports, "node": {"drain_timeout": 30}}})
    container = server(found)
    url = f"http://127.0.0.1:{ports['http']['port']}"
    async with started(found, tmp_path) as process, aiohttp.ClientSession() as http:

        async def probe(name: str) -> int:
            request = container[name]["httpGet"]
            assert (request["port"], request["scheme"]) == ("http", "HTTP")
            try:
                async with http.get(url + request["path"]) as answer:
                    return answer.status
            except aiohttp.ClientError:
                return 0

        async with asyncio.timeout(START):
            while await probe("startupProbe") != 200:  # noqa: ASYNC110  # a kubelet asks again and again as well
                await asyncio.sleep(0.05)
        assert await probe("readinessProbe") == 200
        assert await probe("livenessProbe") == 200
        async with http.get(f"{url}/api/dev") as answer:
            assert (await answer.json())["dev"] is False, "with the chart's key it is not in development mode"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
