"""Generated parts of the chart. `python -m tests.helm.generated` writes them, `make docs` too; a test fails on drift.

- `config` in values.schema.json comes from the settings of the server (`sfu config schema`).
- The table of values in README.md comes from values.schema.json and values.yaml.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from sfu import config

CHART = Path(__file__).parent.parent.parent / "helm"
SCHEMA, VALUES, README = CHART / "values.schema.json", CHART / "values.yaml", CHART / "README.md"
BEGIN, END = "<!-- values -->\n", "<!-- /values -->\n"
WORDS = "The server's own configuration, verbatim, without secrets."


def schema() -> str:
    document = json.loads(SCHEMA.read_text(encoding="utf-8"))
    settings = {key: value for key, value in config.schema().items() if key not in ("$schema", "title")}
    document["properties"]["config"] = {"description": WORDS, **settings}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def readme() -> str:
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


def table() -> str:
    values, document = yaml.safe_load(VALUES.read_text(encoding="utf-8")), json.loads(schema())
    rows = ["| value | default | description |\n", "|---|---|---|\n"]
    for key, default, words in _rows(document, values):
        rows.append(f"| `{key}` | `{default}` | {words} |\n")
    return "".join(rows)


def _rows(schema: Mapping[str, Any], values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for name, part in schema["properties"].items():
        if name == "global":
            continue
        key = prefix + name
        if "properties" in part and key != "config":
            yield from _rows(part, values[name], key + ".")
            continue
        words = part["description"]
        if "enum" in part and not all(f"`{word}`" in words for word in part["enum"]):
            words += " One of " + ", ".join(part["enum"]) + "."
        yield key, json.dumps(values[name], ensure_ascii=False), words.replace("|", "\\|")


if __name__ == "__main__":
    SCHEMA.write_text(schema(), encoding="utf-8")
    README.write_text(readme(), encoding="utf-8")
