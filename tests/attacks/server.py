"""`sfu` whose metrics are rendered as often as the attacks read them: `python -m tests.attacks.server serve …`."""

import sys

from sfu import cli
from sfu.telemetry import scrape_cache

if __name__ == "__main__":
    scrape_cache.INTERVAL = 0.02  # of this process only
    sys.exit(cli.main(sys.argv[1:]))
