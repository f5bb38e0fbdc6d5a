"""sfu.telemetry.traces: real joins and the real exporter; a fake collector decodes the protobuf."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sfu.errors import ConfigurationError
from sfu.telemetry.settings import TraceSettings
from sfu.telemetry.traces import open_traces
from tests.egress.support import ROOM, egress_server, until
from tests.support.client import Client
from tests.web.server import KEYS, serve, token


class Collector:
    """A minimal OTLP/HTTP collector."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        export = ExportTraceServiceRequest.FromString(await request.read())
        for resource in export.resource_spans:
            self.services |= {
                each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
            }
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        return web.Response(content_type="application/x-protobuf")


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    collector.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]  # aiohttp's server is not typed
    try:
        yield collector
    finally:
        await runner.cleanup()


async def test_a_join_is_one_trace_and_its_log_records_carry_the_id(tmp_path: Path) -> None:
    async with collecting() as collector:
        settings = {
            "http.host": "localhost",
            "rtc.include_loopback": "true",
            "traces.endpoint": collector.url,
            "traces.delay": 0.2,
        }
        async with serve(tmp_path / "log", settings, KEYS) as server, aiohttp.ClientSession() as http:
            ada = Client(http, server.url, await token("room", "ada"))
            bob = Client(http, server.url, await token("room", "bob"))
            try:
                await ada.join()
                await ada.publish()
                await bob.join()
                await bob.until(lambda: bob.subscribing.tx)
                async with asyncio.timeout(10):
                    while not any(span.name == "first picture" for span in collector.spans):
                        ada.send()
                        bob.subscribing.pump()
                        await asyncio.sleep(0.03)
            finally:
                await ada.close()
                await bob.close()
            assert server.errors() == []
        assert server.process.returncode == 0
    by_name = {span.name: span for span in collector.spans}
    root = next(
        span for span in collector.spans if span.name == "join" and span.trace_id == by_name["first picture"].trace_id
    )
    theirs = [span for span in collector.spans if span.trace_id == root.trace_id and span is not root]
    assert {span.name for span in theirs} == {"negotiate", "connect", "first picture"}
    assert all(span.parent_span_id == root.span_id for span in theirs)
    assert all(root.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano for span in theirs)
    assert [each.value.bool_value for each in root.attributes if each.key == "sending_video"] == [True]
    assert any(span.name == "publish" and span.trace_id != root.trace_id for span in collector.spans), "Ada's"
    assert collector.services == {"aiosfu"}
    joined = [record for record in server.records() if record["message"] == "session joined"]
    assert root.trace_id.hex() in {record["trace_id"] for record in joined}


async def test_the_start_of_a_worker_and_its_replacement_are_separate_traces(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def starts() -> list[Span]:
        return [span for span in collector.spans if span.name == "mixer start"]

    async with collecting() as collector:
        async with egress_server(tmp_path, traces__endpoint=collector.url, traces__delay="0.2") as here:
            here.server.rooms.create(ROOM)
            await here.ask("PUT", "/egress", json={"live": True})
            await until(starts)
            os.kill(here.job.supervisor.pid, signal.SIGKILL)
            await until(lambda: len(starts()) == 2)
            await here.ask("DELETE", "/egress")
        first, second = starts()
        for root, replacement in ((first, False), (second, True)):
            assert {each.key: each.value.bool_value for each in root.attributes} == {
                "first_frame": True,
                "replacement": replacement,
            }
            parts = {span.name: span for span in collector.spans if span.parent_span_id == root.span_id}
            assert parts.keys() == {"worker", "first frame"}
            assert parts["worker"].start_time_unix_nano == root.start_time_unix_nano
            assert parts["first frame"].start_time_unix_nano == parts["worker"].end_time_unix_nano
            assert parts["first frame"].end_time_unix_nano == root.end_time_unix_nano
        assert 0 < first.end_time_unix_nano - first.start_time_unix_nano < 10e9
    begins = [record for record in caplog.records if record.getMessage() == "egress live"]
    assert [record.__dict__["trace_id"] for record in begins] == [first.trace_id.hex(), second.trace_id.hex()]


def test_the_sdk_is_not_imported_when_tracing_is_off() -> None:
    code = "import sys, sfu.app; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert open_traces(TraceSettings()) is None


def test_a_missing_extra_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigurationError, match=r"pip install aiosfu\[otel\]"):
        open_traces(TraceSettings(endpoint="http://127.0.0.1:9"))


def test_an_invalid_endpoint_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match="must start with http"):
        TraceSettings(endpoint="collector:4318")
