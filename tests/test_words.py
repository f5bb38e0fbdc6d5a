"""Names and prose: no retired names, no fragments as docstrings, no phrases that the style rules out.

Comments and strings of `sfu/` are read by `tokenize`, docstrings by `ast`.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

RULED_OUT = re.compile(
    r"\b(whoever|nobody|somebody|anew|of what|of whom|by what|by whom|(is|are|was|were|be|been) told"
    r"|as (they come|it comes)|and nothing else|in the way of)\b",
    re.IGNORECASE,
)
"""Phrases for which a shorter and clearer one exists."""
FRAGMENTS = re.compile(
    r"((of|by|to|for|with) (what|whom|which)|whose|whoever|whom|nobody|somebody|what|that which|how often|as (they|it)|had)\b",
    re.IGNORECASE,
)
"""A docstring that begins so is a fragment without a subject."""
RETIRED = re.compile(
    r"\b(programmes?|vigil|reels?|casting|spotlight|hearsay|diary|diaries|thinnings?|sublayers|as_track|picture_shape"
    r"|Productions?|WebRtcEdge|TileWish|LayerDemand)\b"
)
"""Names of earlier versions. The field has standard terms for them (ARCHITECTURE.md, vocabulary)."""


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of each comment and of each string that holds more than one word."""
    with tokenize.open(path) as file:
        source = file.read()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and " " in token.string):
            yield token.start[0], " ".join(token.string.split())


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of all docstrings, those below fields and constants included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        body = getattr(node, "body", [])
        for statement in body if isinstance(body, list) else []:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.lineno, value.value


def complaints(path: Path) -> list[str]:
    """One line for each phrase or name that has to go."""
    found = [
        f"{path}:{line}: {match[0]!r} in: {text[:120]}"
        for pattern in (RULED_OUT, RETIRED)
        for line, text in prose(path)
        if (match := pattern.search(text))
    ]
    found += [
        f"{path}:{line}: {token!r} is retired"
        for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (token := RETIRED.search(text))
    ]
    found += [
        f"{path}:{line}: a fragment: {text[:120]!r}" for line, text in docstrings(path) if FRAGMENTS.match(text.strip())
    ]
    return found


def sources() -> list[Path]:
    return sorted(path for path in (ROOT / "sfu").rglob("*.py") if "_web" not in path.parts)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_of_the_sources(path: Path) -> None:
    assert complaints(path) == []


@pytest.mark.parametrize(
    "source",
    [
        '"""Of what a downlink measures, the last."""',
        '"""Whoever asks gets it."""',
        "# Nobody waits here.",
        'LIMIT = 3\n"""What a peer may send."""',
        "class Productions: ...",
        'log.info("the programme begins")',
    ],
)
def test_a_planted_phrase_is_found(source: str, tmp_path: Path) -> None:
    path = tmp_path / "planted.py"
    path.write_text(source, encoding="utf-8")
    assert complaints(path)
