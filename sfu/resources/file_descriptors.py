"""How many of the file descriptors that the kernel gives this process are taken: one per open socket and file."""

import os
import resource


def used() -> float:
    """0 to 1; 0 where that cannot be told or there is no limit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return 0.0
    try:
        return min(1.0, len(os.listdir("/proc/self/fd")) / max(1, limit))
    except FileNotFoundError:
        return 0.0
    except OSError:  # none is left to look with
        return 1.0
