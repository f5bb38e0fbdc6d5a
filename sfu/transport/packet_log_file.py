"""Writes a packet log to a file of bounded size. Another thread writes, so that a slow disk does not affect meetings."""

import logging
from pathlib import Path
from typing import Final

from sfu.errors import ConfigurationError
from sfu.resources.disk_executor import DiskExecutor

log = logging.getLogger(__name__)

BUFFER: Final = 1 << 18
"""Characters that are buffered before a write."""
WAITING: Final = 32_000_000
"""Bytes that may wait for the disk. Beyond that the log ends: a log with a gap cannot be replayed."""


class PacketLogFile:
    """Truncates the file. Raises ConfigurationError when it is not writable."""

    def __init__(self, path: str, limit: int) -> None:
        try:
            self._file = Path(path).open("wb", buffering=0)  # noqa: SIM115  # until `close`
        except OSError as error:
            raise ConfigurationError(f"rtc.packet_log: {path!r} cannot be written: {error.strerror}.") from None
        self._disk = DiskExecutor("packet log", size=WAITING)
        self._left = limit
        self._lines: list[str] = []
        self._gathered = 0
        self._ended = False

    def write(self, line: str) -> None:
        if self._ended:
            return
        self._left -= len(line) + 1
        if self._left < 0:
            log.warning("packet log has reached rtc.packet_log_bytes and ends")
            self._end()
            return
        self._lines.append(line)
        self._gathered += len(line) + 1
        if self._gathered >= BUFFER:
            self._pass_on()

    def close(self) -> None:
        """Flushes, waiting at most a few seconds. Idempotent."""
        if not self._ended:
            self._end()
        if not self._disk.close():
            log.warning("packet log is incomplete", extra={"error": "the disk does not answer"})

    def _pass_on(self) -> None:
        data = "".join([f"{line}\n" for line in self._lines]).encode("ascii")
        self._lines.clear()
        self._gathered = 0
        if not self._disk.submit(lambda: self._write(data), len(data)):
            log.warning("packet log ends", extra={"error": "the disk is too slow"})
            self._ended = True
            self._disk.submit(self._file.close)

    def _end(self) -> None:
        self._ended = True
        self._pass_on()
        self._disk.submit(self._file.close)

    def _write(self, data: bytes) -> None:
        try:
            if not self._file.closed and self._file.write(data) != len(data):
                raise OSError(28, "No space left on device")
        except OSError as error:
            log.warning("packet log ends", extra={"error": error.strerror})
            self._ended = True
            self._file.close()
