import asyncio
import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime

import pytest

from sfu.telemetry import logs
from sfu.telemetry.settings import Settings


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    logging.captureWarnings(False)
    root.handlers[:], level = before
    root.setLevel(level)


def written(format_: str = "json") -> tuple[io.StringIO, logging.Logger]:
    stream = io.StringIO()
    logs.configure(Settings(format=format_), stream)  # type: ignore[arg-type]  # a parameter of the tests
    return stream, logging.getLogger("sfu.test")


def test_json_record() -> None:
    stream, log = written()
    log.warning("peer lost", extra={"peer": 7, "room": "RM_1"})
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert datetime.fromisoformat(entry.pop("time")).tzinfo is not None
    assert entry == {"level": "warning", "logger": "sfu.test", "message": "peer lost", "peer": 7, "room": "RM_1"}


def test_exception_stays_on_one_line() -> None:
    stream, log = written()
    try:
        raise ValueError("no\nway")
    except ValueError:
        log.exception("task died")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: no\nway" in json.loads(line)["exception"]


@pytest.mark.parametrize(
    "value", [object(), {"a": {1, 2}}, float("nan"), b"\xff", "\ud800", {(1, 2): 3}, {None: 1}, "line\nline\u2028"]
)
def test_any_value_can_be_logged(value: object) -> None:
    for format_ in ("json", "text"):
        stream, log = written(format_)
        log.info("odd", extra={"value": value})
        (line,) = stream.getvalue().rstrip("\n").split("\n")
        if format_ == "json":
            assert "value" in json.loads(line)


def test_recursive_structures_do_not_lose_the_record() -> None:
    stream, log = written()
    endless: list[object] = []
    endless.append(endless)
    log.info("odd", extra={"value": endless})
    assert "odd" in json.loads(stream.getvalue())["message"]


def test_fields_do_not_override_reserved_keys() -> None:
    stream, log = written()
    with logs.bound(level="x", time="y"):
        log.info("kept")
    entry = json.loads(stream.getvalue())
    assert (entry["level"], entry["level_"], entry["time_"]) == ("info", "x", "y")


async def test_bound_fields_follow_the_task() -> None:
    stream, log = written()

    async def session(name: str) -> None:
        logs.bind(session=name)
        await asyncio.sleep(0)
        log.info("one")
        with logs.bound(room="RM_1"):
            await asyncio.create_task(child())
        log.info("two", extra={"session": "SE_other"})

    async def child() -> None:
        log.info("child")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(session("SE_1"))
        tasks.create_task(session("SE_2"))
    log.info("outside")
    entries = [json.loads(line) for line in stream.getvalue().splitlines()]
    found = sorted((each["message"], each.get("session", ""), each.get("room", "")) for each in entries)
    assert found == [
        ("child", "SE_1", "RM_1"),
        ("child", "SE_2", "RM_1"),
        ("one", "SE_1", ""),
        ("one", "SE_2", ""),
        ("outside", "", ""),
        ("two", "SE_other", ""),
        ("two", "SE_other", ""),
    ]


def test_text_record() -> None:
    stream, log = written("text")
    log.warning("peer lost", extra={"peer": 7, "reason": "it went\naway", "empty": ""})
    (line,) = stream.getvalue().splitlines()
    assert line[13:] == "WARNING sfu.test  peer lost  peer=7  reason='it went\\\\naway'  empty=''"


def test_level_and_auto_format() -> None:
    stream = io.StringIO()
    logs.configure(Settings(level="error"), stream)
    logging.getLogger("sfu.test").warning("quiet")
    logging.getLogger("sfu.test").error("loud")
    assert json.loads(stream.getvalue())["message"] == "loud"
