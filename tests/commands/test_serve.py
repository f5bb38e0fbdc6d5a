from collections.abc import Callable

import pytest

from sfu import app, config
from sfu.cli import main


def test_serve_runs_the_server_with_its_settings_and_reads_them_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[tuple[int, bool, int]] = []

    def run(settings: config.Settings, *, demo: bool, reload: Callable[[], config.Settings]) -> None:
        started.append((settings.http.port, demo, reload().http.port))

    monkeypatch.setattr(app, "run", run)
    assert main(["serve", "--port", "81", "--demo"]) == 0
    assert main(["serve", "--port", "82"]) == 0
    assert started == [(81, True, 81), (82, False, 82)]
