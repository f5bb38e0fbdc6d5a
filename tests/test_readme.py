"""The generated tables of settings and bounds in the README are current (`python -m tests.test_readme` updates them), and
the commands in both READMEs exist."""

import json
import re
import shlex
from pathlib import Path

import msgspec
import pytest

from sfu import cli, config
from sfu.admin import bounds

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- {} -->\n", "<!-- /{} -->\n"


def table() -> str:
    rows = ["| setting | default | |\n", "|---|---|---|\n"]
    for key, option in config.options(config.Settings).items():
        default = json.dumps(msgspec.to_builtins(option.default), ensure_ascii=False)
        also = f" Also `{key}_file`." if option.from_file else ""
        words = option.description.replace("|", "\\|")
        rows.append(f"| `{key}` | `{default}` | {words}{also} |\n")
    return "".join(rows)


def table_of_bounds() -> str:
    settings = config.Settings()
    before, after = "<details><summary>All of them</summary>\n", "\n</details>"
    return "".join(f"{line}\n" for line in (bounds.summary(settings), "", before, *bounds.rows(settings), after))


TABLES = {"settings": table, "bounds": table_of_bounds}


def with_table(text: str, name: str) -> str:
    begin, end = BEGIN.format(name), END.format(name)
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return before + begin + TABLES[name]() + end + after


@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str) -> None:
    text = README.read_text(encoding="utf-8")
    assert BEGIN.format(name) in text
    assert with_table(text, name) == text, "run `python -m tests.test_readme`"


COMMAND = re.compile(r"(?:^|\$\(|`|-- )(sfu [a-z][^`)#\n]*)", re.MULTILINE)


def commands() -> list[str]:
    texts = [path.read_text(encoding="utf-8") for path in (README, README.parent / "helm" / "README.md")]
    return sorted({found.strip() for text in texts for found in COMMAND.findall(text)})


@pytest.mark.parametrize("line", commands())
def test_commands(line: str) -> None:
    _, *words = shlex.split(line.replace("…", "TOKEN"))
    if words not in (["egress"], ["config"]):  # mentioned in a sentence without a subcommand
        assert cli._parser().parse_args(words).run is not None


if __name__ == "__main__":
    for name in TABLES:
        README.write_text(with_table(README.read_text(encoding="utf-8"), name), encoding="utf-8")
