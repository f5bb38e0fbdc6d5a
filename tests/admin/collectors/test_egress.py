"""Metrics of egress jobs and recordings. `tests/egress/test_counters.py` tests the sums over jobs."""

from sfu.admin.collectors.egress import EgressCollector
from tests.egress.test_counters import FakeJob
from tests.support.metrics import samples


def test_values() -> None:
    jobs = [
        FakeJob("a", 150, 2, starts=3, cpu=1.5, states=["live", "failed"]).seen(),
        FakeJob("b", 50, states=["live"]).seen(),
    ]
    collector = EgressCollector(lambda: jobs, lambda: {"recording": 2})
    assert samples(collector)["sfu_egress_jobs", ()] == 0, "jobs are sampled"
    collector.sample()
    shown = samples(collector)
    expected = {
        ("sfu_egress_jobs", ()): 2,
        ("sfu_egress_frames_total", ()): 200,
        ("sfu_egress_frames_dropped_total", ()): 2,
        ("sfu_egress_worker_restarts_total", ()): 2,
        ("sfu_egress_cpu_seconds_total", ()): 1.5,
        ("sfu_egress_destinations", ("connecting",)): 0,
        ("sfu_egress_destinations", ("live",)): 2,
        ("sfu_egress_destinations", ("waiting",)): 0,
        ("sfu_egress_destinations", ("failed",)): 1,
        ("sfu_recordings", ("recording",)): 2,
        ("sfu_recordings", ("interrupted",)): 0,
    }
    assert {key: value for key, value in shown.items() if key[0].startswith("sfu_")} == expected
