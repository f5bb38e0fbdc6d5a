"""Files with secrets: only the server's user can read them, and a crash leaves the old content or the new one."""

import os
from pathlib import Path
from typing import Final

_MODE: Final = 0o600


def write(path: Path, text: str) -> None:
    """Replaces the file atomically. Blocks. Raises OSError."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)  # of a crash, perhaps with another mode
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
