"""sfu.telemetry.metrics: pages are parsed by the Prometheus client library, and checked by promtool if installed."""

import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from sfu.telemetry.histogram import Histogram
from sfu.telemetry.metrics import (
    CONTENT_TYPE,
    Metrics,
    counter,
    counters,
    directions,
    gauge,
    gauges,
    histogram,
    table,
)
from tests.support.metrics import Fixed, Samples, all_collectors, samples

TIMES = Histogram((0.1, 1.0))
for observed in (0.05, 0.5, 5.0):
    TIMES.observe(observed)


def test_content_type_is_the_text_format() -> None:
    assert CONTENT_TYPE.startswith("text/plain; version=")


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        (gauge("a", "A.", True), {("a", ()): 1}),
        (gauges("a", "A.", "state", {"new": 1, "old": 0.5}), {("a", ("new",)): 1, ("a", ("old",)): 0.5}),
        (gauges("a", "A.", "state", {}), {}),
        (counter("a_total", "A.", 2.5), {("a_total", ()): 2.5}),
        (counters("a_total", "A.", "reason", {"full": 3}), {("a_total", ("full",)): 3}),
        (counters("a", "A.", "reason", {"full": 3}), {("a_total", ("full",)): 3}),
        (table("a_total", "A.", ["b", "c"], {("x", '"y"\n'): 4}), {("a_total", ("x", '"y"\n')): 4}),
        (directions("a_total", "A.", 5, 6), {("a_total", ("received",)): 5, ("a_total", ("sent",)): 6}),
        (
            histogram("a", "A.", TIMES.distribution()),
            {
                ("a_bucket", ("0.1",)): 1,
                ("a_bucket", ("1.0",)): 2,
                ("a_bucket", ("+Inf",)): 3,
                ("a_count", ()): 3,
                ("a_sum", ()): 5.55,
            },
        ),
    ],
)
def test_families(family: Metric, expected: Samples) -> None:
    shown = {key: value for key, value in samples(Fixed(family)).items() if not key[0].startswith("process_")}
    assert shown == pytest.approx(expected)


def test_a_page_has_the_families_of_all_collectors_and_of_the_process() -> None:
    shown = samples(Fixed(gauge("first", "A.", 1), gauge("second", "A.", 2)), Fixed(gauge("third", "A.", 3)))
    assert {"first", "second", "third", "process_open_fds"} <= {name for name, _ in shown}


def test_names_follow_the_convention(tmp_path: Path) -> None:
    text = Metrics(all_collectors(tmp_path)).render().decode()
    names = []
    for family in text_string_to_metric_families(text):
        if family.name.startswith(("process_", "python_")):
            continue
        names.append(family.name)
        assert family.name.startswith("sfu_")
        assert family.documentation.endswith(".")
        total = {sample.name.endswith("_total") for sample in family.samples}
        assert total <= {family.type == "counter"}, family.name
        for sample in family.samples:
            assert not set(sample.labels) & {"room", "identity", "participant", "track"}
    assert len(names) == len(set(names)) > 60


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_it(tmp_path: Path) -> None:
    text = Metrics(all_collectors(tmp_path)).render()
    result = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
