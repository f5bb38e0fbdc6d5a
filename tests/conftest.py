"""For all tests: generated cases are judged by what they find, never by how long a busy machine took for them."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def ordinary_scheduling() -> Iterator[None]:
    """SVT-AV1 makes its process a real-time one where it may: browsers started later would inherit that, and spin."""
    yield
    if hasattr(os, "SCHED_OTHER") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
