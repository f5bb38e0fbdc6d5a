"""Objects of other projects' kinds by those projects' schemas, as their npm packages of models have them."""

import json
import shutil
import subprocess

import pytest

from tests.helm.chart import COMBINATIONS, objects, values
from tests.helm.generated import CHART
from tests.support.kubernetes import CUSTOM
from tests.support.npm import NODE, install

PACKAGES = {
    "argoproj.io/v1alpha1": "@kubernetes-models/argo-cd@4",
    "keda.sh/v1alpha1": "@kubernetes-models/keda@2",
    "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator@6",
    "networking.istio.io/v1": "@kubernetes-models/istio@3",
}
JUDGE = """
import {readFileSync} from 'node:fs';
const answers = [];
for (const each of JSON.parse(readFileSync(0, 'utf8'))) {
  const {apiVersion, kind} = each.object;
  const models = await import(`${each.package}/${apiVersion}/${kind}`);
  try {
    new models[kind](each.object).validate();
    answers.push('');
  } catch (error) {
    answers.push(String(error.message ?? error));
  }
}
process.stdout.write(JSON.stringify(answers));
"""


@pytest.fixture(scope="module", autouse=True)
def models() -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    install(*PACKAGES.values())


def complaints(found: list[dict[str, object]]) -> list[str]:
    packages = {version: package[: package.rindex("@")] for version, package in PACKAGES.items()}
    asked = [{"package": packages[str(each["apiVersion"])], "object": each} for each in found]
    answer = subprocess.run(
        ["node", "--input-type=module", "--eval", JUDGE],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
        cwd=NODE,
    )
    assert answer.returncode == 0, answer.stderr
    judged: list[str] = json.loads(answer.stdout)
    return judged


def test_custom_resources_of_the_chart_are_valid() -> None:
    found = [
        each
        for path in COMBINATIONS
        for each in objects(values(path))
        if each["apiVersion"] in set(CUSTOM) & set(PACKAGES)
    ]
    assert {each["kind"] for each in found} == {"ScaledObject", "ServiceMonitor", "PrometheusRule", "VirtualService"}
    assert complaints(found) == [""] * len(found)


def test_bad_ones_are_noticed() -> None:
    (monitor,) = [
        each for each in objects(values(CHART / "ci" / "monitoring.yaml")) if each["kind"] == "ServiceMonitor"
    ]
    monitor["spec"]["endpoints"][0]["interval"] = 15
    assert complaints([monitor]) != [""]
