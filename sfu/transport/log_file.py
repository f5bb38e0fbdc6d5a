"""The file of a packet log: lines, up to a size, and never a reason for a meeting to stop."""

import logging
from pathlib import Path
from typing import Final

from sfu.errors import ConfigurationError

log = logging.getLogger(__name__)

BUFFER: Final = 1 << 20
"""Bytes gathered before the disk hears of them."""


class LogFile:
    """Written anew. Raises ConfigurationError when it cannot be."""

    def __init__(self, path: str, limit: int) -> None:
        try:
            self._file = Path(path).open("w", encoding="ascii", buffering=BUFFER)  # noqa: SIM115  # until `close`
        except OSError as error:
            raise ConfigurationError(f"rtc.packet_log: {path!r} cannot be written: {error.strerror}.") from None
        self._left = limit

    def write(self, line: str) -> None:
        if self._file.closed:
            return
        self._left -= len(line) + 1
        if self._left < 0:
            log.warning("packet log has reached rtc.packet_log_bytes and ends")
            self.close()
            return
        try:
            self._file.write(line + "\n")
        except OSError as error:
            log.warning("packet log ends", extra={"error": error.strerror})
            self.close()

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:  # what was gathered does not fit any more
            log.warning("packet log is not whole", extra={"error": error.strerror})
