"""`make bench`: the small benchmarks first, each in a process of its own, then the load beside other servers."""

import subprocess
import sys
from pathlib import Path

SMALL = ("parsers", "packet_path", "sockets", "mixer")


def main() -> int:
    failed = 0
    for name in SMALL:
        if Path(__file__).with_name(f"{name}.py").exists():
            print(f"\n## {name.replace('_', ' ')}\n", flush=True)
            failed |= subprocess.run([sys.executable, "-m", f"tests.bench.{name}"], check=False).returncode
    print(flush=True)
    return failed | subprocess.run([sys.executable, "-m", "tests.bench.load", *sys.argv[1:]], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
