"""The alert rules by promtool, the Alertmanager's route by amtool."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.helm.generated import CHART

RULES = CHART / "files" / "rules.yaml"
ALERTMANAGER = CHART / "examples" / "alertmanager.yaml"
TESTS = Path(__file__).with_name("rules_test.yaml")
promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
amtool = pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is not installed")


def run(*command: str | Path) -> str:
    answer = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@promtool
def test_rules_are_valid_and_fire_when_they_should() -> None:
    run("promtool", "check", "rules", RULES)
    run("promtool", "test", "rules", TESTS)


def test_every_alert_has_a_test() -> None:
    alerts = {
        rule["alert"]
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    tested = {
        expected["alertname"]
        for each in yaml.safe_load(TESTS.read_text())["tests"]
        for expected in each["alert_rule_test"]
        if expected.get("exp_alerts")
    }
    assert tested == alerts


@amtool
@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ("alertname=SfuLatencyCritical severity=critical", "pagerduty,slack"),
        ("alertname=SfuLatencyHigh severity=warning", "slack"),
        ("alertname=Other severity=critical", "slack"),
    ],
)
def test_receivers_of_alerts(labels: str, receivers: str) -> None:
    run("amtool", "check-config", ALERTMANAGER)
    found = run("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", *labels.split())
    assert found.strip() == receivers
