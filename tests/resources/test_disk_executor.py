"""sfu.resources.disk_executor: bounded queues, with jobs that block like a slow disk."""

import asyncio
import threading

import pytest

from sfu.resources.disk_executor import DiskBusyError, DiskExecutor


def test_jobs_run_in_order_and_flush_waits_for_them() -> None:
    disk, done = DiskExecutor("disk"), list[int]()
    for number in range(100):
        assert disk.submit(lambda number=number: done.append(number))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
    assert disk.flush()
    assert done == list(range(100))
    assert disk.close()
    assert disk.close()
    assert not disk.submit(lambda: None)
    assert disk.refused == 1


@pytest.mark.parametrize(("jobs", "size", "fit"), [(3, 1000, 3), (100, 1000, 5)])
def test_a_full_queue_rejects_jobs_without_blocking(jobs: int, size: int, fit: int) -> None:
    gate, disk = threading.Event(), DiskExecutor("disk", jobs=jobs, size=size)
    begun = threading.Event()

    def block() -> None:
        begun.set()
        gate.wait()

    assert disk.submit(block)
    begun.wait()
    taken = [disk.submit(lambda: None, 200) for _ in range(10)]
    assert taken == [True] * fit + [False] * (10 - fit)
    assert disk.refused == 10 - fit
    assert not disk.flush(0.01)
    gate.set()
    assert disk.flush()
    assert disk.submit(lambda: None, 200)


def test_a_failed_job_does_not_affect_others(caplog: pytest.LogCaptureFixture) -> None:
    disk, done = DiskExecutor("disk"), list[int]()
    disk.submit(lambda: done.append(1 // 0))
    disk.submit(lambda: done.append(1))
    assert disk.flush()
    assert done == [1]
    assert "disk job failed" in caplog.text


async def test_results_and_errors_return_to_the_event_loop() -> None:
    gate, disk = threading.Event(), DiskExecutor("disk", threads=1, jobs=3)
    assert await disk.run(lambda: 7) == 7
    with pytest.raises(FileNotFoundError):
        await disk.run(lambda: open("/nowhere/at/all"))  # noqa: SIM115
    blocked = [asyncio.create_task(disk.run(gate.wait)) for _ in range(5)]
    await asyncio.sleep(0)  # they are submitted
    with pytest.raises(DiskBusyError):
        await disk.run(lambda: 1)
    blocked[0].cancel()
    gate.set()
    assert await asyncio.gather(*blocked[1:], return_exceptions=True)
    assert disk.close()


async def test_admitted_work_continues_when_the_queue_is_full() -> None:
    gate, disk = threading.Event(), DiskExecutor("disk", threads=1, jobs=1)
    started = threading.Event()

    def block() -> bool:
        started.set()
        return gate.wait()

    first = asyncio.create_task(disk.run(block))
    await asyncio.to_thread(started.wait)
    assert disk.submit(lambda: None)
    with pytest.raises(DiskBusyError):
        await disk.run(lambda: 1)
    next_step = asyncio.create_task(disk.run_on(lambda: 2))
    await asyncio.sleep(0)
    gate.set()
    assert await next_step == 2
    assert await first
    assert disk.close()
    with pytest.raises(DiskBusyError):
        await disk.run_on(lambda: 3)
