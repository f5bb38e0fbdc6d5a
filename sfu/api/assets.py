"""Where the meeting page lies: `sfu/_web` in a wheel, and in a checkout a link from there to `web/`."""

from pathlib import Path

from sfu.errors import ConfigurationError


def web_root() -> Path:
    """The directory of the page. Raises ConfigurationError when the installation lacks it."""
    package = Path(__file__).resolve().parents[1]
    # The second for checkouts without symbolic links (Windows).
    for candidate in (package / "_web", package.parent / "web"):
        if (candidate / "index.html").is_file():
            return candidate.resolve()
    raise ConfigurationError("The meeting page is missing from this installation: install aiosfu again.")
