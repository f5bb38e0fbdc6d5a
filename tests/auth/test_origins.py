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


APPS = (
    "capacitor://localhost", "ionic://localhost", "tauri://localhost", "app://my-app", "https://tauri.localhost", "null",
    "file://", "chrome-extension://abcdefghijklmnopabcdefghijklmnop", "http://localhost", "capacitor-electron://-",
    "vscode-webview://0a1b2c3d-0000-4000-8000-000000000000", "foo+bar.baz://host_name:8080", "https://[::1]:8443", "http://127.0.0.1:3000",
)  # fmt: skip


@pytest.mark.parametrize("origin", APPS)
def test_origins_of_apps_can_be_listed(origin: str) -> None:
    assert Origins((origin,)).accepts(origin, "sfu.example.org")
    assert not Origins().accepts(origin, "sfu.example.org")
    assert not Origins(tuple(each for each in APPS if each != origin)).accepts(origin, "sfu.example.org")


@pytest.mark.parametrize(
    ("entry", "origin", "accepted"),
    [
        ("capacitor://localhost", "capacitor://LOCALHOST", True),
        ("Capacitor://localhost", "capacitor://localhost", True),
        ("capacitor://localhost", "ionic://localhost", False),
        ("capacitor://localhost", "capacitor://localhost:80", False),
        ("capacitor://localhost", "capacitor://localhost.evil", False),
        ("https://meet.example.org:443", "https://meet.example.org", True),
        ("https://[0:0::1]", "https://[::1]", True),
        ("https://*.example.org", "https://a.example.org", True),
        ("https://*.example.org", "https://a.b.c.example.org", True),
        ("https://*.example.org", "https://a.example.org:443", True),
        ("https://*.example.org", "https://A.Example.Org", True),
        ("https://*.example.org", "https://example.org", False),
        ("https://*.example.org", "https://.example.org", False),
        ("https://*.example.org", "https://evil-example.org", False),
        ("https://*.example.org", "https://a.evil-example.org", False),
        ("https://*.example.org", "https://example.org.evil", False),
        ("https://*.example.org", "https://a.example.org.evil", False),
        ("https://*.example.org", "https://a.example.org.", False),
        ("https://*.example.org", "https://evil/a.example.org", False),
        ("https://*.example.org", "https://evil#.example.org", False),
        ("https://*.example.org", "https://evil?.example.org", False),
        ("https://*.example.org", "https://evil@a.example.org", False),
        ("https://*.example.org", "https://evil\\.example.org", False),
        ("https://*.example.org", "http://a.example.org", False),
        ("https://*.example.org", "https://a.example.org:8443", False),
        ("https://*.example.org", "https://*.example.org", False),
        ("https://*.example.org", "null", False),
        ("https://*.example.org:8443", "https://a.example.org:8443", True),
        ("https://*.example.org:8443", "https://a.example.org", False),
        ("http://*.localhost:3000", "http://app.localhost:3000", True),
        ("app://*.example.org", "app://a.example.org", True),
        ("null", "null", True),
        ("null", "NULL", False),
        ("null", "https://null", False),
        ("*", "null", True),
        ("*", "capacitor://localhost", True),
    ],
)
def test_entries(entry: str, origin: str, accepted: bool) -> None:
    assert Origins((entry,)).accepts(origin, "sfu.example.com") is accepted


def test_an_app_on_the_host_of_the_server_is_another_origin() -> None:
    assert not Origins().accepts("capacitor://localhost", "localhost")
    assert not Origins().accepts("app://sfu.example.org:80", "sfu.example.org:80")


@pytest.mark.parametrize(
    "entry",
    [
        "meet.example.org", "https://a/b", "https://a/", "https://u@a", "https://a:x", "https://a:0", "https://a:70000", "",
        "https://", "localhost:3000", "capacitor:localhost", "://a", "https://a b", " https://a", "https://a?b", "https://a#b",
        "https://[::g]", "NULL", "1app://a",
    ],
)  # fmt: skip
def test_entries_must_be_origins(entry: str) -> None:
    with pytest.raises(ConfigurationError, match=r"http\.allowed_origins: .*is not an origin"):
        Origins((entry,))


@pytest.mark.parametrize(
    "entry",
    [
        "https://*", "https://*.", "https://*.org", "https://a.*.org", "https://*a.example.org", "https://*.*.example.org",
        "*.example.org", "*://a.example.org", "https://a.example.org:*", "https://a*.example.org", "**", "https://*:3000",
    ],
)  # fmt: skip
def test_invalid_patterns_are_refused_with_a_hint(entry: str) -> None:
    with pytest.raises(ConfigurationError, match=r"outputs\.hls\.origins: .* as in https://\*\.example\.org"):
        Origins((entry,), setting="outputs.hls.origins")


def test_non_ascii_hosts_need_punycode() -> None:
    with pytest.raises(ConfigurationError, match="xn--"):
        Origins(("https://bücher.example",))
    assert Origins(("https://xn--bcher-kva.example",)).accepts("https://xn--bcher-kva.example", "here")


@given(st.text(), st.text())
def test_never_raises(origin: str, host: str) -> None:
    assert Origins((*LIST, "https://*.example.org")).accepts(origin, host) in (True, False)
