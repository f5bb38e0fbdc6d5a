"""A release's life with the real Helm against an API server in memory: install, upgrade, rollback, test, uninstall."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import helm_python
import pytest
import yaml

from tests.helm.chart import CI, COMBINATIONS, NAME, NAMESPACE, RELEASE, objects, render, values
from tests.helm.generated import CHART
from tests.support.kubernetes import Cluster, Place, cluster

WAIT = 120
"""Seconds at most, for a machine that is busy with other things: Helm goes on as soon as it sees what it waits for."""


@contextmanager
def connected() -> Iterator[tuple[Cluster, helm_python.Config]]:
    with (
        cluster() as (held, kubeconfig),
        helm_python.Config(kubeconfig_content=kubeconfig, namespace=NAMESPACE) as helm,
    ):
        yield held, helm


def test_a_watch_tells_what_changed_since_its_client_listed() -> None:
    """On a busy machine the change comes between the list and the watch; a client that misses it waits forever."""
    held, place = Cluster(), Place("v1", "configmaps", "default", "one")
    held.write(place, {"metadata": {"name": "one"}, "data": {}})
    found, version = held.listed(Place("v1", "configmaps", "default"), "", "")
    assert len(found) == 1
    held.delete(place)
    kind, at, gone = held.watch(int(version)).get_nowait()
    assert (kind, at) == ("DELETED", place)
    assert int(gone["metadata"]["resourceVersion"]) > int(version)


def test_install_upgrade_rollback_uninstall() -> None:
    with connected() as (held, helm):
        given = {**values(CHART / "ci" / "monitoring.yaml"), "recordings": {"type": "pvc"}, "config": {}}
        given |= {"redis": {"url": "redis://redis"}, "networkPolicy": {"redis": [{"podSelector": {}}]}}
        installed = helm.install(CHART, RELEASE, given, timeout=WAIT, wait="watcher")
        assert (installed["status"], installed["revision"]) == ("deployed", 1)
        secret = held.of_kind("Secret")[NAME]["data"]
        shared = held.of_kind("Secret")[f"{NAME}-cluster"]["data"]
        first = held.of_kind("Deployment")[NAME]["spec"]

        given["config"] = {"rooms": {"max_rooms": 7}}
        given["monitoring"] = {}
        helm.upgrade(CHART, RELEASE, given, timeout=WAIT, wait="watcher")
        assert yaml.safe_load(held.of_kind("ConfigMap")[NAME]["data"]["sfu.yaml"]) == given["config"]
        assert held.of_kind("Deployment")[NAME]["spec"]["template"] != first["template"]
        assert held.of_kind("ServiceMonitor") == {}
        assert held.of_kind("Secret")[NAME]["data"] == secret, "an upgrade must not make new keys"
        assert held.of_kind("Secret")[f"{NAME}-cluster"]["data"] == shared

        helm.rollback(RELEASE, version=1, timeout=WAIT, wait="watcher")
        assert held.of_kind("Deployment")[NAME]["spec"] == first
        assert list(held.of_kind("PrometheusRule")) == [NAME]
        assert held.of_kind("Secret")[NAME]["data"] == secret
        assert [entry["status"] for entry in helm.history(RELEASE)] == ["superseded", "superseded", "deployed"]

        helm.test(RELEASE, timeout=WAIT)
        helm.uninstall(RELEASE, timeout=WAIT)
        left = {(place.kind, place.name) for place in held.objects}
        assert left == {("PersistentVolumeClaim", f"{NAME}-recordings")}, "recordings stay"
        assert held.refused == []


@pytest.mark.parametrize(
    "path", [CI / "keda-istio.yaml", CI / "s3-coturn.yaml", CI / "stunner.yaml"], ids=lambda path: path.stem
)
def test_combinations_with_kinds_of_others_are_accepted_by_the_api_server(path: Path) -> None:
    with connected() as (held, helm):
        helm.install(CHART, RELEASE, values(path))
        wanted = {(each["kind"], each["metadata"]["name"]) for each in objects(values(path))}
        there = {(place.kind, place.name) for place in held.objects}
        assert wanted - there <= {("Pod", f"{NAME}-test")}
        assert held.refused == []


def test_a_bad_object_is_not_accepted() -> None:
    with connected() as (held, helm), pytest.raises(helm_python.HelmError, match="unexpected"):
        helm.install(CHART, RELEASE, {"extraEnv": [{"name": "X", "unexpected": 1}]})
    assert len(held.refused) == 1


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubectl_understands_them_all(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.yaml"
    texts = [text for path in COMBINATIONS for name, text in render(values(path)).items() if name != "NOTES.txt"]
    manifest.write_text("\n---\n".join(texts))
    with cluster() as (_, kubeconfig):
        configuration = tmp_path / "kubeconfig"
        configuration.write_text(kubeconfig)
        answer = subprocess.run(
            [
                *("kubectl", f"--kubeconfig={configuration}", f"--cache-dir={tmp_path / 'cache'}", "apply"),
                *("--dry-run=client", "--validate=strict", f"--namespace={NAMESPACE}", f"--filename={manifest}"),
            ],
            capture_output=True,
            text=True,
            check=False,
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.count(f"deployment.apps/{NAME} created (dry run)") == len(COMBINATIONS)
