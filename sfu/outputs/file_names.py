"""Names of directories and files made from names that people chose: readable, and safe on every usual file system.

Letters of every script stay; what separates paths, hides a file, controls a terminal or turns text around does not.
Unicode Standard Annex 15 (NFC); reserved names: Microsoft, "Naming Files, Paths, and Namespaces".
"""

import os
import unicodedata
from pathlib import Path

MAX_COMPONENT_BYTES = 255
"""Of one name on ext4, XFS, APFS and NTFS (there UTF-16 units, of which there are no more than bytes)."""
_RESERVED = frozenset(
    {"CON", "PRN", "AUX", "NUL", *(f"{device}{n}" for device in ("COM", "LPT") for n in "0123456789¹²³")}
)
_KEPT = "LMN"
"""Letters, marks and numbers, by the first letter of the general category."""
_KEPT_EXACTLY = frozenset("-_")
_SYMBOLS = "So"
"""Emoji and the like."""
_INVISIBLE = "Cf"
"""Bidirectional controls, joiners, soft hyphens: left out without a trace."""


def safe_name(text: str, max_bytes: int, *, fallback: str = "unnamed") -> str:
    """At most `max_bytes` of UTF-8. Two texts may have the same name: add what tells them apart."""
    kept: list[str] = []
    for char in unicodedata.normalize("NFC", text):
        category = unicodedata.category(char)
        if category[0] in _KEPT or category == _SYMBOLS or char in _KEPT_EXACTLY:
            kept.append(char)
        elif category != _INVISIBLE and kept[-1:] != ["-"]:
            kept.append("-")
    name = unicodedata.normalize("NFC", "".join(kept)).encode()[:max_bytes].decode(errors="ignore")
    while name and (name[0] == "-" or unicodedata.category(name[0])[0] == "M"):
        name = name[1:]
    name = name.rstrip("-")
    if name.upper() in _RESERVED:
        name = f"_{name}"[:max_bytes]
    return name if name and _is_storable(name) else fallback


def unused_path(parent: Path, name: str) -> Path:
    """A path in `parent` that does not exist: `name`, or with a number behind it."""
    path, number = parent / name, 2
    while path.exists() or path.is_symlink():
        path, number = parent / f"{name}-{number}", number + 1
    return path


def _is_storable(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # the locale's encoding is not UTF-8
        return False
    return True
