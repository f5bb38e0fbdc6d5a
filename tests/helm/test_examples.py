"""The examples are ones that work: values render, the pipeline's parts are there, log lines give up their trace's id."""

import logging
import re
import shlex
from typing import Any

import pytest
import yaml

from sfu.telemetry.logs import JsonFormatter
from tests.helm.chart import find, objects, values
from tests.helm.generated import CHART
from tests.helm.test_custom_resources import complaints, models  # noqa: F401  # a fixture
from tests.support.kubernetes import complaint

EXAMPLES = CHART / "examples"


def merged(*given: dict[str, Any]) -> dict[str, Any]:
    """As several --values are."""
    found: dict[str, Any] = {}
    for each in given:
        for key, value in each.items():
            found[key] = (
                merged(found[key], value) if isinstance(value, dict) and isinstance(found.get(key), dict) else value
            )
    return found


VALUES = {
    **{path.stem: values(path) for path in (EXAMPLES / "strategies").glob("*.yaml")},
    **{
        region: merged(values(EXAMPLES / "regions" / "common.yaml"), values(EXAMPLES / "regions" / f"{region}.yaml"))
        for region in ("eu", "us")
    },
    "argocd": values(EXAMPLES / "argocd-application.yaml")["spec"]["source"]["helm"]["valuesObject"],
}


@pytest.mark.parametrize("name", sorted(VALUES))
def test_values_render(name: str) -> None:
    found = objects(VALUES[name])
    assert [complaint(each) for each in found] == [""] * len(found)


def test_regions_differ_and_share() -> None:
    announced = set()
    for region in ("eu", "us"):
        environment = find(objects(VALUES[region]), "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
        announced |= {each["value"] for each in environment if each["name"] == "SFU_RTC__ANNOUNCE"}
    assert announced == {"203.0.113.7", "198.51.100.7"}


def test_blue_and_green() -> None:
    (default,) = [
        route
        for route in find(objects(VALUES["blue-green"]), "VirtualService")["spec"]["http"]
        if route["name"] == "default"
    ]
    assert [(each["destination"]["host"], each["weight"]) for each in default["route"]] == [
        ("sfu-blue-aiosfu", 100),
        ("sfu-green-aiosfu", 0),
    ]


def test_argo_cd_application() -> None:
    assert complaints([values(EXAMPLES / "argocd-application.yaml")]) == [""]


def test_gitlab_pipeline() -> None:
    pipeline = yaml.safe_load((EXAMPLES / "gitlab-ci.yml").read_text())
    jobs = {name: job for name, job in pipeline.items() if isinstance(job, dict) and "script" in job}
    assert [jobs[name]["stage"] for name in jobs] == ["test", "package", "package", "sign", "publish", "deploy"]
    assert pipeline["stages"] == ["test", "package", "sign", "publish", "deploy"]
    for job in jobs.values():
        assert set(job.get("needs", ())) <= set(jobs)
        for line in job["script"]:
            for word in shlex.split(line):
                if word.startswith("helm/"):
                    assert (CHART.parent / word).exists(), word


def test_a_log_line_leads_to_its_trace() -> None:
    promtail, _, grafana = yaml.safe_load_all((EXAMPLES / "loki-tempo.yaml").read_text())
    record = logging.makeLogRecord({"msg": "session joined", "name": "sfu", "trace_id": "ab" * 16, "session": "SE_1"})
    line = JsonFormatter().format(record)
    (field,) = grafana["datasources"][0]["jsonData"]["derivedFields"]
    matched = re.search(field["matcherRegex"], line)
    assert matched is not None
    assert matched[1] == "ab" * 16
    stages = promtail["scrape_configs"][0]["pipeline_stages"]
    taken = next(stage["json"]["expressions"] for stage in stages if "json" in stage)
    assert all(f'"{name}":' in line for name in taken.values())
