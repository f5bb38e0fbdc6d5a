"""sfu.resources.file_descriptors: usage under lowered limits of this process."""

import os
import resource
from collections.abc import Iterator

import pytest

from sfu.resources import file_descriptors


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_share(limits: tuple[int, int]) -> None:
    count = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * count, limits[1]))
    assert file_descriptors.used() == pytest.approx(0.5, abs=0.1)
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(5)]
    more = file_descriptors.used()
    for each in opened:
        os.close(each)
    assert more == pytest.approx(file_descriptors.used() + 5 / (2 * count))


def test_no_descriptor_left(limits: tuple[int, int]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    assert file_descriptors.used() == 1.0
