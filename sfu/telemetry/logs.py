"""Log output: one JSON object per line, or human-readable lines.

A record is a static message plus fields. Fields come from `extra=` and from `bind`, which attaches session and room ids
to the current task, so that one search finds all records of a session. Times are in RFC 3339 format.
"""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

import msgspec

from sfu.telemetry.settings import Settings

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
_RESERVED = frozenset({"time", "level", "logger", "message", "exception"})

_bound: ContextVar[Mapping[str, object]] = ContextVar("sfu_log_fields", default={})  # noqa: B039  # never written to


def bind(**fields: object) -> None:
    """Adds fields to all further records of the current task and of tasks that it starts."""
    _bound.set({**_bound.get(), **fields})


@contextmanager
def bound(**fields: object) -> Iterator[None]:
    """Like `bind`, for the duration of a `with` block."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Fields of a record; `extra=` takes precedence over bound fields."""
    extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    fields = {**_bound.get(), **extra}
    return {f"{name}_" if name in _RESERVED else name: value for name, value in fields.items()}


class JsonFormatter(logging.Formatter):
    """One object per line: time, level, logger, message, fields, and the traceback as `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if exception := _exception(self, record):
            entry["exception"] = exception
        try:
            return msgspec.json.encode(entry, enc_hook=str).decode()
        except (TypeError, ValueError, RecursionError):
            # Unusual keys, lone surrogates or recursive structures in a field must not lose the record.
            return msgspec.json.encode({name: ascii(value)[:1000] for name, value in entry.items()}).decode()


class TextFormatter(logging.Formatter):
    """`12:34:56.789 WARNING sfu.api  message  field=value`. Escapes control characters, so that no field can forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)[11:23]} {record.levelname:<7} {record.name}  {_printable(record.getMessage())}"
        for name, value in fields_of(record).items():
            text = _printable(str(value))
            line += f"  {name}={text!r}" if " " in text or not text else f"  {name}={text}"
        exception = _exception(self, record)
        return f"{line}\n{exception}" if exception else line


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Writes all log records of the process to `stream`, by default standard error."""
    stream = stream or sys.stderr
    as_text = settings.format == "text" or (settings.format == "auto" and stream.isatty())
    output = logging.StreamHandler(stream)
    output.setFormatter(TextFormatter() if as_text else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [output]
    root.setLevel(settings.level.upper())
    logging.captureWarnings(True)
    # No format uses these, and collecting them is the most expensive part (Python's logging HOWTO, "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # At lower levels these log every candidate and packet.
    for name in ("aioice", "aiortc", "asyncio"):
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _exception(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if record.exc_info and record.exc_info[0]:
        return formatter.formatException(record.exc_info)
    return record.exc_text or ""


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
