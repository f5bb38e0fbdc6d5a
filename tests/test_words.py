"""Names and prose: no retired names, no fragments as docstrings, no words that the style guide rules out.

Reads comments, strings and docstrings of `sfu/` by `tokenize` and `ast`, and whole files elsewhere.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent

RULED_OUT = re.compile(
    r"\b(whoever|nobody|somebody|anew|of what|of whom|by what|by whom|is told|are told|was told|were told|be told|been told"
    r"|as they come|as it comes|as it is\b(?= *[.,;:)\"]|$)|and nothing else|in the way of|what is .{1,40} is\b)",
    re.IGNORECASE,
)
"""Words and turns of phrase that stand for something clearer."""
FRAGMENTS = re.compile(
    r"(of (what|whom|which)|by (what|whom|which)|to (what|whom|which)|for (what|whom|which)|whose|whoever|whom|nobody|somebody"
    r"|what|that which|how often|as (they|it)|had)\b",
    re.IGNORECASE,
)
"""A docstring that begins so is a fragment without a subject."""


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of each comment and of each string that holds a sentence."""
    with tokenize.open(path) as file:
        source = file.read()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and " " in token.string):
            yield token.start[0], " ".join(token.string.split())


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """(line, text) of docstrings, those below fields and constants included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for statement in getattr(node, "body", []) if not isinstance(node, ast.Lambda | ast.IfExp) else []:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                if isinstance(statement.value.value, str):
                    yield statement.lineno, statement.value.value


def complaints(path: Path) -> list[str]:
    found = [
        f"{path}:{line}: {match[0]!r} in: {text[:120]}"
        for line, text in prose(path)
        if (match := RULED_OUT.search(text))
    ]
    found += [
        f"{path}:{line}: a fragment: {text[:120]!r}" for line, text in docstrings(path) if FRAGMENTS.match(text.strip())
    ]
    return found
