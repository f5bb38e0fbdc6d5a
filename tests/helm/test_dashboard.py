"""A real Prometheus scrapes a real server with bots in it, and every query of the dashboard and of the rules has an answer."""

import asyncio
import math
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import yaml

from tests.helm import dashboard
from tests.helm.generated import CHART
from tests.support.certificate import self_signed
from tests.support.coturn import coturn, missing
from tests.support.ports import free_port
from tests.web.server import KEYS, ServerProcess, serve

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")
BOT = {"SFU_BOT_KEY": "web", "SFU_BOT_SECRET": "a-secret-of-the-tests-with-more-than-32-bytes"}
WINDOW = "30s"
READY = "sfu:latency_seconds:p95 > 0 and sfu:jitter_seconds:p95 > 0"
"""Round trips are known from the second report on, and sampled every five seconds."""
TURN_HOST = "127.0.0.6"


class Prometheus:
    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def ask(self, query: str) -> list[float]:
        async with self._http.get(f"{self._url}/api/v1/query", params={"query": query}) as answer:
            found = await answer.json()
        assert found["status"] == "success", found
        return [float(each["value"][1]) for each in found["data"]["result"]]

    async def up(self) -> bool:
        try:
            return await self.ask("up") == [1.0]
        except aiohttp.ClientError:
            return False


@asynccontextmanager
async def scraping(server: ServerProcess, folder: Path) -> AsyncIterator[Prometheus]:
    port = free_port()
    rules = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())
    for group in rules["groups"]:
        group["interval"] = "1s"
    (folder / "rules.yaml").write_text(
        yaml.safe_dump(rules).replace("[5m]", f"[{WINDOW}]").replace("[10m]", f"[{WINDOW}]")
    )
    scrape = {
        "job_name": "sfu",
        "scheme": "https",
        "tls_config": {"insecure_skip_verify": True},
        "static_configs": [{"targets": [f"localhost:{server.port}"]}],
    }
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules.yaml")],
        "scrape_configs": [scrape],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "prometheus",
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log,
            stderr=log,
        )
    try:
        async with aiohttp.ClientSession() as http:
            prometheus = Prometheus(http, f"http://127.0.0.1:{port}")
            async with asyncio.timeout(20):
                while not await prometheus.up():
                    assert process.returncode is None, (folder / "prometheus.log").read_text()
                    await asyncio.sleep(0.1)
            yield prometheus
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@asynccontextmanager
async def bots(server: ServerProcess) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sfu", "bot", "--url", server.url, "--insecure", "--count", "3", "--interval", "0"),
        *("--size", "320x180", "--fps", "5", "--no-simulcast"),
        env={**os.environ, **BOT},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.skipif(bool(missing), reason=missing or "-")
async def test_every_query_has_an_answer(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    settings = {
        "http.host": "localhost",
        "http.tls_certificate": certificate,
        "http.tls_key": key,
        "rtc.include_loopback": "true",
        "turn.urls": f'["turn:{TURN_HOST}"]',
        "turn.secret": "a-secret-of-coturn",
    }
    rules = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())
    records = [rule["record"] for group in rules["groups"] for rule in group["rules"] if "record" in rule]
    async with (
        coturn(tmp_path, TURN_HOST, "a-secret-of-coturn"),
        serve(tmp_path / "log", settings, KEYS, scheme="https") as server,
        scraping(server, tmp_path) as prometheus,
        bots(server),
        asyncio.timeout(40),
    ):
        while not await prometheus.ask(READY):  # noqa: ASYNC110  # Prometheus sends no notification
            await asyncio.sleep(0.5)
        answers = {}
        for title, query in dashboard.queries():
            scoped = query.replace("$instance", ".*").replace("$__rate_interval", WINDOW)
            answers[title, query] = await prometheus.ask(scoped)
        recorded = {name: await prometheus.ask(name) for name in records}
        firing = await prometheus.ask('ALERTS{alertstate="firing",alertname!~"SfuCertificate.*"}')
    without = [title for (title, _), values in answers.items() if not values or not all(map(math.isfinite, values))]
    assert without == []
    busy = {title for (title, _), values in answers.items() if any(values)}
    assert {title for (title, _) in answers if title.startswith(("Joining", "Paths"))} - busy <= {"Paths: Loss"}
    assert all(recorded[name] for name in records if name != "sfu:egress_frames_dropped_ratio")
    assert firing == []
    write_table({title: values for (title, _), values in answers.items()})


def write_table(answers: dict[str, list[float]]) -> None:
    """For the README, when SFU_DASHBOARD_TABLE names a file."""
    if where := os.environ.get("SFU_DASHBOARD_TABLE"):
        rows = [f"| {title} | {', '.join(f'{value:.4g}' for value in values)} |\n" for title, values in answers.items()]
        Path(where).write_text("| panel | answers |\n|---|---|\n" + "".join(rows))


def test_the_file_is_what_the_script_says() -> None:
    assert dashboard.PATH.read_text(encoding="utf-8") == dashboard.text(), "run `python -m tests.helm.dashboard`"
