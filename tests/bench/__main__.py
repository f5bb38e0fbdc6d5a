"""`make bench`: the small benchmarks first, each in a process of its own, then the load beside other servers."""

import subprocess
import sys
from pathlib import Path

SMALL = (
    ("parsers",),
    ("costs",),
    ("guards",),
    ("loop_budget",),
    ("packet_path",),
    ("sockets",),
    ("whip",),
    ("whep",),
    ("whep_mix",),
    ("estimator",),
    ("mixer",),
    ("egress",),
    ("webhooks",),
    ("workers",),
    ("relay",),
    ("cluster", "--seconds", "20"),
    ("ingest",),
    ("hls", "--seconds", "15"),
    ("llhls_latency", "--seconds", "30"),
    ("llhls_latency", "--seconds", "30", "--renditions", "720p,480p", "--delay", "50", "100"),
)


def main() -> int:
    failed = 0
    for name, *arguments in SMALL:
        if Path(__file__).with_name(f"{name}.py").exists():
            print(f"\n## {' '.join((name.replace('_', ' '), *arguments))}\n", flush=True)
            command = [sys.executable, "-m", f"tests.bench.{name}", *arguments]
            failed |= subprocess.run(command, check=False).returncode
    print(flush=True)
    return failed | subprocess.run([sys.executable, "-m", "tests.bench.load", *sys.argv[1:]], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
