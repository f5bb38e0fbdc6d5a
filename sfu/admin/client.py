"""HTTP client of the admin API for the operator's commands. Failures raise SfuError with one sentence."""

import json
import ssl
import urllib.error
import urllib.request
from typing import Any

from sfu.api.settings import Settings
from sfu.errors import ConfigurationError, SfuError

TIMEOUT = 10.0
"""Seconds to wait for a response."""


def own_url(settings: Settings) -> str:
    """URL of the server with these settings on this machine."""
    host = settings.host
    if host in ("", "0.0.0.0", "::"):
        host = "localhost"
    scheme = "https" if settings.tls_certificate else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}"


class AdminClient:
    """Client of one server. `url` empty: the server with these settings on this machine."""

    def __init__(self, url: str, settings: Settings) -> None:
        """Raises ConfigurationError for an invalid URL or certificate."""
        self.base = (url or own_url(settings)).rstrip("/")
        if not self.base.startswith(("http://", "https://")):
            raise ConfigurationError(f"--url {url} must start with http:// or https://.")
        self._context = None if url or not settings.tls_certificate else _pinned_context(settings.tls_certificate)

    def development_token(self, identity: str, room: str = "") -> str:
        """A token from a server in development mode, which issues tokens to local clients. Raises SfuError."""
        body = {"room": room, "identity": identity, "admin": True}
        return str(self.request("/api/dev/token", body=body)["token"])

    def request(self, path: str, *, token: str = "", body: object = None, method: str | None = None) -> Any:
        """The decoded JSON response. Raises SfuError."""
        text = self.text(path, token=token, body=body, method=method)
        try:
            return json.loads(text or "null")
        except ValueError:
            raise SfuError(f"{self.base}{path}: the response is not JSON; is this an aiosfu server?") from None

    def text(self, path: str, *, token: str = "", body: object = None, method: str | None = None) -> str:
        """The response body. Raises SfuError."""
        url = self.base + path
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        try:
            request = urllib.request.Request(url, data, headers, method=method)
            with urllib.request.urlopen(request, timeout=TIMEOUT, context=self._context) as response:
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


def _pinned_context(certificate: str) -> ssl.SSLContext:
    """A TLS context that accepts this certificate only, without a host name check: it is rarely valid for `localhost`."""
    try:
        context = ssl.create_default_context(cafile=certificate)
    except OSError as error:
        raise ConfigurationError(f"http.tls_certificate {certificate}: {error.strerror or error}.") from None
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
