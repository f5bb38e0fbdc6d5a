"""The chart through the real Helm (as a library): what it renders, and every object of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import helm_python
import yaml

from tests.helm.generated import CHART

CI = CHART / "ci"
COMBINATIONS = sorted(CI.glob("*.yaml"))
RELEASE, NAMESPACE = "sfu", "media"
NAME = "sfu-aiosfu"
Object = dict[str, Any]


def values(path: Path) -> Object:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def render(given: Mapping[str, Any], *, is_upgrade: bool = False) -> dict[str, str]:
    """Texts by the path of their template, NOTES.txt included. Raises HelmError."""
    with helm_python.Chart.load(CHART) as chart:
        texts = chart.render(dict(given), name=RELEASE, namespace=NAMESPACE, is_upgrade=is_upgrade)
    return {path.removeprefix("aiosfu/templates/"): text for path, text in texts.items()}


def objects(given: Mapping[str, Any]) -> list[Object]:
    texts = [text for path, text in render(given).items() if not path.endswith(".txt")]
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def find(found: list[Object], kind: str, name: str = NAME) -> Object:
    return next(each for each in found if (each["kind"], each["metadata"]["name"]) == (kind, name))


def server(found: list[Object]) -> Object:
    """The server's container."""
    containers: list[Object] = find(found, "Deployment")["spec"]["template"]["spec"]["containers"]
    (container,) = containers
    return container
