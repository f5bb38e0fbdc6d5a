"""Directory and file names from user-chosen names: readable, and safe on all common file systems.

Letters of every script are kept. Path separators, leading dots, control characters and bidirectional controls are
replaced or removed. Unicode Standard Annex 15 (NFC); reserved names: Microsoft, "Naming Files, Paths, and Namespaces".
"""

import os
import unicodedata
from pathlib import Path

MAX_COMPONENT_BYTES = 255
"""Limit of one path component on ext4, XFS, APFS and NTFS (which counts UTF-16 units; there are never more than bytes)."""
_RESERVED = frozenset(
    {"CON", "PRN", "AUX", "NUL", *(f"{device}{n}" for device in ("COM", "LPT") for n in "0123456789¹²³")}
)
_KEPT = "LMN"
"""General categories to keep, by first letter: letters, marks and numbers."""
_KEPT_EXACTLY = frozenset("-_")
_SYMBOLS = "So"
"""General category of emoji and similar symbols, which are kept."""
_INVISIBLE = "Cf"
"""General category of bidirectional controls, joiners and soft hyphens, which are removed."""


def safe_name(text: str, max_bytes: int, *, fallback: str = "unnamed") -> str:
    """At most `max_bytes` of UTF-8. Different texts can give the same name; the caller must add a unique part."""
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
    """A path in `parent` that does not exist: `name`, with a number appended if necessary."""
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
