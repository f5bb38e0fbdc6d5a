"""Faults of the packet path and its timers: all are counted, tracebacks are logged at intervals."""

import logging
from collections import Counter
from typing import Final

FAULTS_EVERY: Final = 60.0
"""Seconds between logged tracebacks."""


class FaultLog:
    """`record` in the handler of an exception that must not affect other peers or streams. It counts as `fault`."""

    __slots__ = ("_dropped", "_log", "_logged_at", "_message")

    def __init__(self, log: logging.Logger, message: str, dropped: Counter[str]) -> None:
        self._log = log
        self._message = message
        self._dropped = dropped
        self._logged_at = float("-inf")

    def record(self, now: float, count: int = 1) -> None:
        """`count`: packets lost by the fault."""
        self._dropped["fault"] += count
        if now - self._logged_at > FAULTS_EVERY:
            self._logged_at = now
            self._log.exception(self._message)
