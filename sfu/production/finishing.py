"""A recording's directory made fit for players: the programme and every track, in a short-lived process.

`python -m sfu.production.finishing DIRECTORY`; run again, it does what is left. One that cannot be read costs itself only.
"""

import sys
from pathlib import Path

from sfu.egress.finalise import finalise
from sfu.egress.tracks import finalise_track


def finish(directory: Path) -> list[str]:
    """What went wrong, one line each."""
    problems = []
    try:
        while finalise(directory, directory.name) is not None:
            pass
    except (OSError, ValueError, MemoryError) as error:
        problems.append(f"programme: {error}")
    for path in sorted(directory.glob("*.mkv")):
        try:
            if finalise_track(path) is None:
                path.unlink()
        except (OSError, ValueError, MemoryError) as error:
            problems.append(f"{path.name}: {error}")
    return problems


if __name__ == "__main__":
    found = finish(Path(sys.argv[1]))
    print("\n".join(found))
    sys.exit(1 if found else 0)
