"""File descriptor usage of this process: each open socket and file takes one, up to the limit of the kernel."""

import os
import resource


def used() -> float:
    """Used fraction from 0 to 1; 0 if it is unknown or there is no limit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return 0.0
    try:
        return min(1.0, len(os.listdir("/proc/self/fd")) / max(1, limit))
    except FileNotFoundError:
        return 0.0
    except OSError:  # no descriptor is left to open the directory
        return 1.0
