import logging
from collections import Counter

import pytest

from sfu.forwarding.fault_log import FAULTS_EVERY, FaultLog


def test_every_fault_counts_and_few_are_logged_with_their_traceback(caplog: pytest.LogCaptureFixture) -> None:
    dropped: Counter[str] = Counter()
    faults = FaultLog(logging.getLogger("a.test"), "it failed", dropped)
    for now in (5.0, 5.1, 5.0 + FAULTS_EVERY, 5.1 + FAULTS_EVERY):
        try:
            raise ValueError(f"at {now}")
        except ValueError:
            faults.record(now)
    assert dropped == {"fault": 4}
    assert [(each.name, each.getMessage()) for each in caplog.records] == [("a.test", "it failed")] * 2
    errors = [str(each.exc_info[1]) for each in caplog.records if each.exc_info is not None]
    assert errors == ["at 5.0", f"at {5.1 + FAULTS_EVERY}"]


def test_a_fault_may_cost_several_packets() -> None:
    dropped: Counter[str] = Counter()
    faults = FaultLog(logging.getLogger("a.test"), "it failed", dropped)
    try:
        raise ValueError
    except ValueError:
        faults.record(0.0, 8)
        faults.record(0.0, 3)
    assert dropped == {"fault": 11}
