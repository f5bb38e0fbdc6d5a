"""The Dockerfile's steps without an engine: `python -m tests.helm.image` carries them out in a temporary directory.

The build stage's commands run as they stand, with their two directories moved, in an environment without anything of
this one; then the image's command runs as its user, with a read-only root where this kernel lets us.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.helm.generated import CHART

DOCKERFILE = CHART / "Dockerfile"
ROOT = CHART.parent
SYSTEM = re.compile(r"\b(apt-get|useradd|install --directory)\b")
"""Steps for the image's own system, which this one is not."""


@dataclass
class Stage:
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)
    "(instruction, words)."

    def words(self, instruction: str) -> list[str]:
        return [words for name, words in self.steps if name == instruction]


def stages(text: str) -> list[Stage]:
    found: list[Stage] = []
    for line in re.sub(r"\\\n\s*", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.M)).splitlines():
        instruction, _, words = line.strip().partition(" ")
        if instruction == "FROM":
            found.append(Stage(words))
        elif instruction:
            found[-1].steps.append((instruction, words.strip()))
    return found


def build(folder: Path, *, quick: bool) -> Path:
    """Carries out the build stage below `folder` and returns what /opt/sfu would be.

    `quick`: what is installed here serves as the dependencies, so that nothing is downloaded.
    """
    source, target = folder / "src", folder / "sfu"
    source.mkdir()
    stage = stages(DOCKERFILE.read_text(encoding="utf-8"))[0]
    environment = {"PATH": f"{Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin", "HOME": str(folder)}
    for name in (
        "PIP_INDEX_URL",
        "PIP_CONFIG_FILE",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "http_proxy",
        "https_proxy",
    ):
        if name in os.environ:
            environment[name] = os.environ[name]
    for instruction, words in stage.steps:
        if instruction == "COPY":
            *paths, _ = words.split()
            for path in paths:
                whole = ROOT / path
                ignored = shutil.ignore_patterns("__pycache__", "*.so", "_web")
                if whole.is_dir():
                    shutil.copytree(whole, source / path, ignore=ignored)
                else:
                    shutil.copy(whole, source / path)
                if path == "sfu":
                    (source / "sfu" / "_web").symlink_to("../web")
        elif instruction == "RUN" and not SYSTEM.search(words):
            command = words.replace("/opt/sfu", str(target))
            if quick:
                here = next(path for path in sys.path if path.endswith("site-packages"))
                pip = f"{target}/bin/pip install "
                command = command.replace(pip, f"PYTHONPATH={here} {pip}--no-deps --no-build-isolation ")
                command += f" && echo {here} > {target}/lib/python3.11/site-packages/here.pth"
            subprocess.run(["/bin/sh", "-ec", command], cwd=source, env=environment, check=True, capture_output=True)
    return target


def command(target: Path) -> tuple[list[str], dict[str, str]]:
    """The image's command and environment, with /opt/sfu at `target`."""
    stage = stages(DOCKERFILE.read_text(encoding="utf-8"))[1]
    environment = dict(word.partition("=")[::2] for words in stage.words("ENV") for word in shlex.split(words))
    path = environment["PATH"].replace("/opt/sfu", str(target)).replace("$PATH", "/usr/bin:/bin")
    return [str(target / "bin" / "sfu"), "serve"], {**environment, "PATH": path}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        built = build(Path(folder), quick=False)
        size = sum(path.stat().st_size for path in built.rglob("*") if path.is_file() and not path.is_symlink())
        subprocess.run([built / "bin" / "sfu", "--version"], check=True)
        print(f"{size / 1e6:.0f} MB on top of the base image")
