import sys
import types

import pytest

from sfu.cli import main


def test_bot_gets_its_own_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    cli = types.ModuleType("sfu.bots.cli")
    seen = []
    cli.__dict__["add_arguments"] = lambda parser: parser.add_argument("--room")
    cli.__dict__["run"] = lambda parsed: seen.append(parsed.room)
    package = types.ModuleType("sfu.bots")
    package.__dict__["cli"] = cli
    monkeypatch.setitem(sys.modules, "sfu.bots", package)
    monkeypatch.setitem(sys.modules, "sfu.bots.cli", cli)
    assert main(["bot", "--room", "demo"]) == 0
    assert seen == ["demo"]
