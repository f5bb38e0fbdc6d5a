"""The C part under AddressSanitizer and UBSan: its tests, and the differential fuzzer: python -m tests.fuzz.sanitized SECONDS

Built beside the ordinary one, in build/sanitized/. Python's own allocator would hide what is read after it was freed, so
that malloc is used for everything; leaks are not looked for, since an interpreter never frees all that it has.
"""

import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "sfu/transport/native_src"
NAME = "sfu.transport._native"
FLAGS = (
    "-shared", "-fPIC", "-g", "-O1", "-fno-omit-frame-pointer", "-Wall", "-Wextra",
    "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all",
)  # fmt: skip
TESTS = ("tests/transport/test_native.py", "tests/transport/test_native_callbacks.py")


def build(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "_native.so"
    include = sysconfig.get_paths()["include"]
    subprocess.run(["gcc", *FLAGS, f"-I{include}", *sorted(SOURCES.glob("*.c")), "-o", made], check=True)
    return made


def environment() -> dict[str, str]:
    """For a Python that can load it."""
    found = subprocess.run(["gcc", "-print-file-name=libasan.so"], check=True, capture_output=True, text=True)
    return {
        **os.environ,
        "LD_PRELOAD": str(Path(found.stdout.strip()).resolve()),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
    }


def use(path: Path) -> None:
    """In place of the ordinary one."""
    spec = importlib.util.spec_from_file_location(NAME, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[NAME] = module


def inside(path: Path, seconds: float) -> int:
    import pytest

    use(path)
    from tests.fuzz.differential import differences

    failed = pytest.main(["-q", "-p", "no:cacheprovider", *TESTS])
    print(f"{differences(seconds):,} packets, C and Python agree", flush=True)
    return int(failed)


def main() -> int:
    if sys.argv[1] == "--inside":
        return inside(Path(sys.argv[2]), float(sys.argv[3]))
    made = build(ROOT / "build/sanitized")
    command = [sys.executable, "-m", "tests.fuzz.sanitized", "--inside", str(made), sys.argv[1]]
    return subprocess.run(command, env=environment(), cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
