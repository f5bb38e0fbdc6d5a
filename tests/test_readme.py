"""The README's table of settings is the settings. `python -m tests.test_readme` writes it anew."""

import json
from pathlib import Path

import msgspec

from sfu import config

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- settings -->\n", "<!-- /settings -->\n"


def table() -> str:
    rows = ["| setting | default | |\n", "|---|---|---|\n"]
    for key, option in config.options(config.Settings).items():
        default = json.dumps(msgspec.to_builtins(option.default), ensure_ascii=False)
        also = f" Also `{key}_file`." if option.from_file else ""
        words = option.description.replace("|", "\\|")
        rows.append(f"| `{key}` | `{default}` | {words}{also} |\n")
    return "".join(rows)


def with_table(text: str) -> str:
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


def test_table_of_settings() -> None:
    text = README.read_text(encoding="utf-8")
    assert BEGIN in text
    assert with_table(text) == text, "run `python -m tests.test_readme`"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
