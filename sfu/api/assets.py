"""Location of the meeting page: `sfu/_web` in a wheel; in a checkout, this is a symbolic link to `web/`."""

from pathlib import Path

from sfu.errors import ConfigurationError


def web_root() -> Path:
    """Directory of the page. Raises ConfigurationError if the installation lacks it."""
    package = Path(__file__).resolve().parents[1]
    # The second candidate is for checkouts without symbolic links (Windows).
    for candidate in (package / "_web", package.parent / "web"):
        if (candidate / "index.html").is_file():
            return candidate.resolve()
    raise ConfigurationError("The meeting page is missing from this installation. Reinstall aiosfu.")
