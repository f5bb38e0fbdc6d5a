"""URLs of cameras. They contain credentials, so only `label` is for people, logs and the API."""

import ipaddress
import re
import urllib.parse
from dataclasses import dataclass, field
from typing import Final

from sfu.auth.public_addresses import is_public
from sfu.errors import BadRequest

MAX_LENGTH: Final = 2048
DEFAULT_PORTS: Final = {"rtsp": 554, "rtsps": 322}
PRIVATE: Final = "The camera has a private address. The server's operator can allow these with ingest.private."
_UNSAFE: Final = re.compile(r"[^!-~]")


@dataclass(frozen=True, slots=True)
class RtspUrl:
    """A parsed URL. Its representation has no credentials."""

    scheme: str
    "`rtsp`, or `rtsps` for TLS."
    host: str
    port: int
    credentials: str = field(repr=False)
    "`user:password`, percent-encoded, or empty."
    target: str = field(repr=False)
    "Path and query, which may contain credentials too."

    @property
    def label(self) -> str:
        """The URL without credentials, path and query."""
        return f"{self.scheme}://{'***@' if self.credentials else ''}{self._address}/…"

    @property
    def secret(self) -> str:
        """The whole URL."""
        return f"{self.scheme}://{self.credentials}{'@' if self.credentials else ''}{self._address}{self.target}"

    def through(self, port: int) -> str:
        """The URL of the same stream on a port of the loopback address, without TLS."""
        return f"rtsp://{self.credentials}{'@' if self.credentials else ''}127.0.0.1:{port}{self.target}"

    @property
    def _address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse(url: str, *, private: bool) -> RtspUrl:
    """Raises BadRequest. `private`: whether addresses that are not public are allowed."""
    try:
        parts = urllib.parse.urlsplit(url)
        scheme, host = parts.scheme.lower(), parts.hostname or ""
        port = DEFAULT_PORTS.get(scheme, 0) if parts.port is None else parts.port
    except ValueError:
        scheme, host, port = "", "", 0
    if len(url) > MAX_LENGTH or _UNSAFE.search(url) or scheme not in DEFAULT_PORTS or not host or not port:
        raise BadRequest(
            "The address must be like rtsp://user:password@host:554/path or rtsps://user:password@host/path."
        )
    if not private and _is_private_literal(host):
        raise BadRequest(PRIVATE)
    credentials = ""
    if parts.username is not None:
        words = (parts.username, parts.password or "")
        credentials = ":".join([urllib.parse.quote(urllib.parse.unquote(word), safe="") for word in words])
    return RtspUrl(scheme, host, port, credentials, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def _is_private_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return not is_public(host)
