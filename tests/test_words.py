"""Names and prose of `sfu/` and `tests/`: no retired names, no fragments as docstrings, no phrases that the style rules out.

`tokenize` reads comments and strings, `ast` docstrings and the names of tests.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
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
RIDDLES = re.compile(r"^test_(who|whom|what)_|_(whoever|nobody|somebody|everybody|anew|told)(_|$)")
"""Names of functions. That of a test has a subject that a reader knows: a participant, a packet, a client."""


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of each comment and of each string that holds more than one word."""
    with tokenize.open(path) as file:
        source = file.read()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and " " in token.string):
            yield token.start[0], " ".join(token.string.split())


def docstrings(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    """(line, text) of all docstrings, those below fields and constants included."""
    for node in nodes:
        body = getattr(node, "body", [])
        for statement in body if isinstance(body, list) else []:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.lineno, value.value


def complaints(path: Path) -> list[str]:
    """One line for each phrase or name that has to go."""
    source = path.read_text(encoding="utf-8")
    nodes = list(ast.walk(ast.parse(source)))
    found = [
        f"{path}:{line}: {match[0]!r} in: {text[:120]}"
        for line, text in prose(path)
        for pattern in (RULED_OUT, RETIRED)
        if (match := pattern.search(text))
    ]
    found += [
        f"{path}:{line}: {token!r} is retired"
        for line, text in enumerate(source.splitlines(), 1)
        if (token := RETIRED.search(text))
    ]
    found += [
        f"{path}:{line}: a fragment: {text[:120]!r}"
        for line, text in docstrings(nodes)
        if FRAGMENTS.match(text.strip())
    ]
    found += [
        f"{path}:{node.lineno}: {node.name} has no subject"
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and RIDDLES.search(node.name)
    ]
    return found


def sources() -> list[Path]:
    """All but this file, which plants what it looks for."""
    found = [path for folder in ("sfu", "tests") for path in (ROOT / folder).rglob("*.py") if "_web" not in path.parts]
    return sorted(path for path in found if path != Path(__file__))


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
        "def test_who_waits_is_admitted() -> None: ...",
        "async def test_a_packet_reaches_nobody() -> None: ...",
    ],
)
def test_a_planted_phrase_is_found(source: str, tmp_path: Path) -> None:
    path = tmp_path / "planted.py"
    path.write_text(source, encoding="utf-8")
    assert complaints(path)
