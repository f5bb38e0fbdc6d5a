"""A recogniser of speech that always hears the same."""

from sfu.mixer.plugins import Sound

WORDS = "Welcome everybody"


def heard(source: str, sound: Sound) -> str | None:
    """Every second of somebody's sound."""
    heard.blocks += 1  # type: ignore[attr-defined]  # its memory
    return WORDS if heard.blocks % 50 == 1 else None  # type: ignore[attr-defined]


heard.blocks = 0  # type: ignore[attr-defined]
