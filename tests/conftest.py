"""Configuration of all tests: generated cases have no deadline, because a busy machine takes longer for them."""

import gc
import os
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
ROOT = Path(__file__).parent
WAITING = ("attacks", "egress")
"""Folders whose tests wait for other processes most of the time. The others use a processor all the time."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mixes the files for pytest-xdist, so that tests that wait run beside tests that do not.

    Files that wait begin in the first three quarters of the run: the last to end are short ones.
    """
    if not hasattr(config, "workerinput"):
        return
    files = list(dict.fromkeys(item.path for item in items))
    waiting = {path: path.relative_to(ROOT).parts[0] in WAITING for path in files}
    total, seen = Counter(waiting.values()), Counter[bool]()
    place = {}
    for path in files:
        kind = waiting[path]
        place[path] = seen[kind] / total[kind] * (0.75 if kind else 1.0)
        seen[kind] += 1
    items.sort(key=lambda item: place[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collecting thousands of tests makes little garbage: without this, the garbage collector traverses all of them
    again and again, now and in the tests that follow.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def ordinary_scheduling() -> Iterator[None]:
    """SVT-AV1 makes its process a real-time one where it may: browsers started later would inherit that, and spin."""
    yield
    if hasattr(os, "SCHED_OTHER") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
