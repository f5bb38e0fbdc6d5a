"""The systemd unit: what systemd itself says of it, and that its words are those of the command."""

import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from sfu import cli
from tests.helm.generated import CHART

UNIT = CHART / "systemd" / "aiosfu.service"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_it_and_finds_it_safe(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/sfu/bin/sfu", "/bin/true"))
    answer = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert answer.stderr == ""
    assert answer.returncode == 0
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=30", str(unit)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0, "exposure above 3.0"


def test_its_commands_are_ours() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]  # its documented use
    unit.read_string(UNIT.read_text())
    parser = cli._parser()
    for name in ("ExecStartPre", "ExecStart"):
        program, *words = shlex.split(unit["Service"][name])
        assert program == "/opt/sfu/bin/sfu"
        assert parser.parse_args(words).run is not None
