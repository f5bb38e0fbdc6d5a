"""A running server, as its operator's commands ask it: over HTTP, with a token, and in one sentence when it does not answer."""

import json
import ssl
import urllib.error
import urllib.request
from typing import Any

from sfu.api.settings import Settings
from sfu.errors import ConfigurationError, SfuError

PATIENCE = 10.0
"""Seconds for an answer."""


def own_url(settings: Settings) -> str:
    """Where the server of these settings is, on its own machine."""
    host = settings.host
    if host in ("", "0.0.0.0", "::"):
        host = "localhost"
    scheme = "https" if settings.tls_certificate else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}"


class AdminClient:
    """One server. `url` empty: the one of these settings, on this machine."""

    def __init__(self, url: str, settings: Settings) -> None:
        """Raises ConfigurationError."""
        self.base = (url or own_url(settings)).rstrip("/")
        if not self.base.startswith(("http://", "https://")):
            raise ConfigurationError(f"--url {url} should start with http:// or https://.")
        self._context = None if url or not settings.tls_certificate else _by_file(settings.tls_certificate)

    def development_token(self, identity: str, room: str = "") -> str:
        """What a server without keys gives to whoever asks on its own machine. Raises SfuError."""
        body = {"room": room or "any", "identity": identity, "admin": True}
        return str(self.request("/api/dev/token", body=body)["token"])

    def request(self, path: str, *, token: str = "", body: object = None, method: str | None = None) -> Any:
        """The answer's JSON. Raises SfuError."""
        text = self.text(path, token=token, body=body, method=method)
        try:
            return json.loads(text or "null")
        except ValueError:
            raise SfuError(f"{self.base}{path}: the answer is no JSON; is this the server?") from None

    def text(self, path: str, *, token: str = "", body: object = None, method: str | None = None) -> str:
        """Raises SfuError."""
        url = self.base + path
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        try:
            request = urllib.request.Request(url, data, headers, method=method)
            with urllib.request.urlopen(request, timeout=PATIENCE, context=self._context) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as error:
            try:
                message = json.load(error)["message"]
            except (ValueError, KeyError, TypeError):
                message = error.reason
            raise SfuError(f"{url}: {message}") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise SfuError(f"{url}: {getattr(reason, 'strerror', None) or reason}") from None


def _by_file(certificate: str) -> ssl.SSLContext:
    """This machine's server is asked as localhost, for which its certificate is not made: it is known by the file."""
    try:
        context = ssl.create_default_context(cafile=certificate)
    except OSError as error:
        raise ConfigurationError(f"http.tls_certificate {certificate}: {error.strerror or error}.") from None
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
