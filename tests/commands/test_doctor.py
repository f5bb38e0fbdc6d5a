import pytest

from sfu import config
from sfu.admin import doctor
from sfu.cli import main


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--port", "81", "--host", "127.0.0.1"], ("http://127.0.0.1:81", True, True)),
        (["--url", "https://meet.example.org/"], ("https://meet.example.org", False, False)),
        (["--url", "https://meet.example.org", "--insecure"], ("https://meet.example.org", False, True)),
    ],
)
def test_doctor_examines_the_own_server_or_a_remote_one(
    monkeypatch: pytest.MonkeyPatch, words: list[str], expected: tuple[str, bool, bool]
) -> None:
    asked: list[tuple[str, bool, bool]] = []

    def examine(settings: config.Settings, url: str, *, local: bool, insecure: bool) -> str:
        asked.append((url, local, insecure))
        return "examination"

    monkeypatch.setattr(doctor, "examine", examine)
    monkeypatch.setattr(doctor, "run", lambda examination: 0 if examination == "examination" else 1)
    assert main(["doctor", *words]) == 0
    assert asked == [expected]
