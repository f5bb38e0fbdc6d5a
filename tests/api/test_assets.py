"""`web_root` finds the meeting page in a checkout and in an installed wheel."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sfu.api.assets import web_root
from sfu.api.page import files

ROOT = Path(__file__).parents[2]


def test_checkout() -> None:
    assert web_root() == (ROOT / "web").resolve()


def test_wheel(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("sfu", "web"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        str(source),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("aiosfu-*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    carried = files(installed / "sfu" / "_web")
    assert set(carried) == set(files(web_root()))
    assert (installed / "sfu" / "py.typed").is_file()
    for document in ("OPERATIONS.md", "SETTINGS.md", "signaling/PROTOCOL.md", "signaling/schema.json"):
        assert (installed / "sfu" / document).is_file()
    assert not (installed / "tests").exists()
    # Uses the installed package's own lookup.
    asked = "from sfu.api.assets import web_root; print(web_root())"
    found = subprocess.run([sys.executable, "-c", asked], cwd=installed, check=True, capture_output=True, text=True)
    assert Path(found.stdout.strip()) == (installed / "sfu" / "_web").resolve()


def test_missing_page_raises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from sfu.api import assets
    from sfu.errors import ConfigurationError

    monkeypatch.setattr(assets, "__file__", str(tmp_path / "sfu" / "assets.py"))
    with pytest.raises(ConfigurationError, match="missing from this installation"):
        assets.web_root()
