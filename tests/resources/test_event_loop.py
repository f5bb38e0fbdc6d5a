"""The event loop with and without uvloop."""

import asyncio
import sys

import pytest

from sfu.resources.event_loop import event_loop_factory


def test_a_loop_that_runs() -> None:
    with asyncio.Runner(loop_factory=event_loop_factory()) as runner:
        assert runner.run(asyncio.sleep(0, "done")) == "done"


def test_without_uvloop_it_is_that_of_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert event_loop_factory() is None
