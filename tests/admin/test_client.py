"""The HTTP client of the operator's commands: its URL, and the messages of its errors."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sfu.admin.client import AdminClient, own_url
from sfu.api.settings import Settings
from sfu.errors import ConfigurationError, SfuError

ANSWERS = {
    "/ok": (200, b'{"rooms": 3}'),
    "/empty": (204, b""),
    "/text": (200, b"hello"),
    "/refused": (403, b'{"message": "Use a token with roomAdmin."}'),
    "/proxy": (502, b"<html>"),
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = ANSWERS[self.path]
        if self.headers.get("Authorization") not in (None, "Bearer secret"):
            status = 401
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="module")
def client() -> Iterator[AdminClient]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield AdminClient(f"http://127.0.0.1:{server.server_port}/", Settings())
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://localhost:99"),
        ("::", "http://localhost:99"),
        ("::1", "http://[::1]:99"),
        ("a.b", "http://a.b:99"),
    ],
)
def test_the_url_of_the_server_on_this_machine(host: str, url: str) -> None:
    assert own_url(Settings(host=host, port=99)) == url


def test_tls_makes_the_url_https() -> None:
    settings = Settings(host="", port=99, tls_certificate="c.pem", tls_key="k.pem")
    assert own_url(settings) == "https://localhost:99"


def test_responses_are_decoded(client: AdminClient) -> None:
    assert client.request("/ok", token="secret") == {"rooms": 3}
    assert client.request("/empty") is None
    assert client.text("/text") == "hello"


@pytest.mark.parametrize(
    ("path", "message"),
    [("/refused", "Use a token with roomAdmin."), ("/proxy", "Bad Gateway"), ("/text", "the response is not JSON")],
)
def test_failures_are_one_sentence(client: AdminClient, path: str, message: str) -> None:
    with pytest.raises(SfuError, match=message):
        client.request(path)


def test_an_unreachable_server_is_named() -> None:
    with pytest.raises(SfuError, match=r"http://127\.0\.0\.1:9/x: Connection refused"):
        AdminClient("http://127.0.0.1:9", Settings()).text("/x")


def test_invalid_configuration_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="must start with"):
        AdminClient("ftp://a", Settings())
    with pytest.raises(ConfigurationError, match="No such file"):
        AdminClient("", Settings(tls_certificate=str(tmp_path / "none.pem"), tls_key="k.pem"))
