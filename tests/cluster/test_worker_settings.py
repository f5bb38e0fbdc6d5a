"""Settings of worker processes, the merged metrics page, and the back-off of restarts."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from sfu.cluster.settings import Settings as ClusterSettings
from sfu.cluster.supervisor import MAX_BACK_OFF, STABLE, Supervisor, Worker
from sfu.config import Settings, load
from sfu.errors import ConfigurationError
from sfu.telemetry.merged_metrics import merge_pages
from sfu.workers import WorkerPlace, check, place_of, worker_settings

PLACE = WorkerPlace(number=3, parent=1, http_port=7880, node_id="worker-3", directory="/run/sfu", secret="x" * 32)


def test_each_worker_has_its_own_media_ports_and_files() -> None:
    found = worker_settings(load(flags=[("rtc.tcp_port", "7900"), ("rtc.packet_log", "/tmp/log")]), PLACE)
    assert (found.rtc.udp_port, found.rtc.tcp_port, found.http.port) == (7884, 7902, 7880)
    assert (found.cluster.listen, found.cluster.directory_socket) == (
        "unix:/run/sfu/worker-3.sock",
        "/run/sfu/directory.sock",
    )
    assert (found.rtc.packet_log, found.events.directory) == ("/tmp/log.worker-3", "events/worker-3")
    assert found.http.reuse_port
    assert worker_settings(load(flags=[("rtc.udp_port", "0")]), PLACE).rtc.udp_port == 0


def test_with_redis_the_workers_of_several_machines_reach_each_other_by_tcp() -> None:
    cluster = ClusterSettings(redis_url="redis://localhost", secrets=("s" * 32,), advertise="10.0.0.1:7883")
    found = worker_settings(replace(Settings(), cluster=cluster), replace_secret(PLACE)).cluster
    assert (found.listen, found.advertise, found.directory_socket) == ("0.0.0.0:7885", "10.0.0.1:7885", "")
    only_address = worker_settings(
        replace(Settings(), cluster=replace(cluster, advertise="fd00::1")), replace_secret(PLACE)
    ).cluster
    assert only_address.advertise == "fd00::1"
    assert found.secrets == ("s" * 32,)


def replace_secret(place: WorkerPlace) -> WorkerPlace:
    return WorkerPlace(
        number=place.number,
        parent=place.parent,
        http_port=place.http_port,
        node_id=place.node_id,
        directory=place.directory,
    )


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("rtc.tcp_over_https_port", "443", "does not work with --workers"),
        ("rtc.announce", "[192.0.2.1:7000]", "contains a port"),
        ("ingest.rtmp_port", "1935", "use WHIP"),
        ("rtc.udp_port", "65535", "leaves no ports"),
    ],
)
def test_settings_that_processes_cannot_share_are_refused(key: str, value: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check(load(flags=[(key, value)]), 2)


def test_a_count_out_of_range_and_a_foreign_variable_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="between 1 and 256"):
        check(Settings(), 257)
    with pytest.raises(ConfigurationError, match="SFU_WORKER"):
        place_of({"SFU_WORKER": "1"})
    assert place_of({}) is None


def test_merged_metrics() -> None:
    page = b'# HELP a A.\n# TYPE a counter\na_total{x="}"} %d\n# HELP b B.\n# TYPE b gauge\nb %d\n'
    assert merge_pages({"w1": page % (1, 2), "w2": page % (3, 4)}) == (
        b'# HELP a A.\n# TYPE a counter\na_total{worker="w1",x="}"} 1\na_total{worker="w2",x="}"} 3\n'
        b'# HELP b B.\n# TYPE b gauge\nb{worker="w1"} 2\nb{worker="w2"} 4\n'
    )


def test_back_off_grows_to_a_limit_and_starts_again_after_a_stable_run() -> None:
    worker = Worker(1, "worker-1")
    delays = [worker.next_back_off(1.0) for _ in range(12)]
    assert delays[:3] == [0.1, 0.2, 0.4]
    assert delays[-1] == MAX_BACK_OFF
    assert worker.next_back_off(STABLE + 1.0) == 0.1


async def test_workers_that_refuse_their_settings_end_the_parent(tmp_path: Path) -> None:
    started = tmp_path / "started"
    command = ["sh", "-c", f"echo $SFU_WORKER >> {started}; exit 2"]
    supervisor = Supervisor(["worker-1"], command, lambda number: {"SFU_WORKER": f"{number}"}, str(tmp_path / "socket"))
    assert await supervisor.run() == 2
    assert started.read_text() == f"1{os.linesep}"
