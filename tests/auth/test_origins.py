import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfu.auth.origins import Origins
from sfu.errors import ConfigurationError

LIST = ("https://meet.example.org", "http://localhost:3000")


@pytest.mark.parametrize(
    ("allowed", "origin", "host", "accepted"),
    [
        ((), None, "sfu.example.org", True),
        ((), "https://sfu.example.org", "sfu.example.org", True),
        ((), "https://SFU.example.org", "sfu.EXAMPLE.org", True),
        ((), "https://sfu.example.org:443", "sfu.example.org", True),
        ((), "http://sfu.example.org:8080", "sfu.example.org:8080", True),
        ((), "http://[::1]:8080", "[::1]:8080", True),
        ((), "http://[::1]", "[::1]", True),
        ((), "http://sfu.example.org", "sfu.example.org:8080", False),
        ((), "https://evil.example", "sfu.example.org", False),
        ((), "https://sfu.example.org.evil.example", "sfu.example.org", False),
        ((), "null", "sfu.example.org", False),
        ((), "", "", False),
        ((), "file://", "sfu.example.org", False),
        ((), "http://a:b", "a:b", False),
        (LIST, "https://meet.example.org", "sfu.example.org", True),
        (LIST, "http://meet.example.org", "sfu.example.org", False),
        (LIST, "https://meet.example.org:8443", "sfu.example.org", False),
        (LIST, "http://localhost:3000", "sfu.example.org", True),
        (LIST, "http://localhost:3001", "sfu.example.org", False),
        (("*",), "https://anything.example", "sfu.example.org", True),
    ],
)
def test_accepts(allowed: tuple[str, ...], origin: str | None, host: str, accepted: bool) -> None:
    assert Origins(allowed).accepts(origin, host) is accepted


@pytest.mark.parametrize("entry", ["meet.example.org", "https://a/b", "https://u@a", "ftp://a", "https://a:x", ""])
def test_entries_must_be_origins(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="is no origin"):
        Origins((entry,))


@given(st.text(), st.text())
def test_never_raises(origin: str, host: str) -> None:
    assert Origins(LIST).accepts(origin, host) in (True, False)
