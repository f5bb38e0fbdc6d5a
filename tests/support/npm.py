"""Packages from npm for the tests, installed into `build/node` once. Processes of one run wait for each other."""

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NODE = Path(__file__).parents[2] / "build" / "node"
ESBUILD = "esbuild@0.25"


def install(*packages: str) -> None:
    """Installs the packages, `name@version`, that are missing. Blocks."""
    with _locked():
        _install(packages)


def bundle(name: str, entry: str, packages: tuple[str, ...], form: str) -> str:
    """The module `entry` and what it imports from `packages` as one script. `form`: esm or iife. Blocks."""
    path = NODE / f"{name}.js"
    with _locked():
        if not path.exists():
            _install((*packages, ESBUILD))
            esbuild = str(NODE / "node_modules" / ".bin" / "esbuild")
            subprocess.run(
                [esbuild, "--bundle", f"--format={form}", "--log-level=error", f"--outfile={path}"],
                input=entry.encode(),
                cwd=NODE,
                check=True,
            )
    return path.read_text()


@contextmanager
def _locked() -> Iterator[None]:
    NODE.mkdir(parents=True, exist_ok=True)
    with (NODE / "npm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(packages: tuple[str, ...]) -> None:
    missing = [each for each in packages if not (NODE / "node_modules" / each[: each.rindex("@")]).exists()]
    if missing:
        npm = shutil.which("npm")
        assert npm, "these tests need npm: apt-get install npm"
        subprocess.run(
            [npm, "install", "--prefix", str(NODE), "--silent", "--no-audit", "--no-fund", *missing], check=True
        )
