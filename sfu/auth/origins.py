"""Allowed origins of web pages, for the WebSocket and for CORS.

Browsers send `Origin` (RFC 6454) with every WebSocket handshake and every cross-origin request, and pages cannot forge it.
Other programs send no origin; only their token limits them. Apps in a web view have origins with their own schemes, such
as `capacitor://localhost`.

An entry of the list is one of

- `https://meet.example.org`, `http://localhost:3000`, `capacitor://localhost`: exactly this scheme, host and port;
- `https://*.example.org`: every subdomain at any depth (`a.example.org`, `a.b.example.org`), but not `example.org`;
- `null`: pages with an opaque origin, such as local files and sandboxed frames of any site;
- `*`: all origins.
"""

import ipaddress
import re
from dataclasses import dataclass

from sfu.errors import ConfigurationError

ANY = "*"
OPAQUE = "null"
DEFAULT_PORTS = {"http": 80, "https": 443}

_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>\[[0-9a-f:.]+\]|(?:\*\.)?[a-z0-9._~-]*)(?::(?P<port>\d{1,5}))?",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme and host in lower case. `port` is explicit for schemes with a default port."""

    scheme: str
    host: str
    "IPv6 addresses have brackets. Entries of the list may start with `*.`."
    port: int | None

    @property
    def authority(self) -> str:
        return f"{self.host}:{self.port}"


class Origins:
    """Accepts the server's own origin and those of a list."""

    __slots__ = ("_any", "_exact", "_opaque", "_suffixes")

    def __init__(self, allowed: tuple[str, ...] = (), *, setting: str = "http.allowed_origins") -> None:
        """Raises ConfigurationError for an invalid entry, such as one with a path."""
        self._any = ANY in allowed
        self._opaque = OPAQUE in allowed
        entries = [_entry(text, setting) for text in allowed if text not in (ANY, OPAQUE)]
        self._exact = frozenset(entry for entry in entries if not entry.host.startswith("*."))
        self._suffixes = tuple(
            (entry.scheme, entry.host[1:], entry.port) for entry in entries if entry.host.startswith("*.")
        )

    def accepts(self, origin: str | None, host: str | None) -> bool:
        """`origin` and `host`: headers of the request, None if absent.

        The scheme of the server's own origin is not compared, because it is unknown behind a proxy that terminates TLS.
        """
        if origin is None or self._any:
            return True
        if origin == OPAQUE:
            return self._opaque
        found = _parsed(origin)
        if found is None or "*" in found.host:
            return False
        return found in self._exact or self._is_subdomain(found) or (bool(host) and _is_own(found, host or ""))

    def _is_subdomain(self, origin: Origin) -> bool:
        return any(
            origin.scheme == scheme
            and origin.port == port
            and len(origin.host) > len(suffix)
            and origin.host.endswith(suffix)
            for scheme, suffix, port in self._suffixes
        )


def _parsed(text: str) -> Origin | None:
    found = _ORIGIN.fullmatch(text)
    if found is None:
        return None
    scheme, host = found["scheme"].lower(), found["host"].lower()
    if host.startswith("["):
        try:
            host = f"[{ipaddress.IPv6Address(host[1:-1])}]"
        except ValueError:
            return None
    elif not host and scheme in DEFAULT_PORTS:
        return None
    port = int(found["port"]) if found["port"] else DEFAULT_PORTS.get(scheme)
    return Origin(scheme, host, port) if port is None or 0 < port < 65_536 else None


def _entry(text: str, setting: str) -> Origin:
    """Raises ConfigurationError."""
    if not text.isascii():
        raise ConfigurationError(
            f"{setting}: {text!r} is not ASCII; use Punycode for the host, as in https://xn--bcher-kva.example."
        )
    found = _parsed(text)
    if found is None and "*" in text:
        raise ConfigurationError(
            f"{setting}: {text!r} is not a valid pattern; use * for all origins, or * as the whole first label, as in "
            "https://*.example.org."
        )
    if found is None:
        raise ConfigurationError(
            f"{setting}: {text!r} is not an origin; use scheme and host without a path, as in https://meet.example.org "
            "or capacitor://localhost."
        )
    suffix = found.host.removeprefix("*.")
    if found.host.startswith("*.") and ("." not in suffix.strip(".") and suffix != "localhost"):
        raise ConfigurationError(
            f"{setting}: {text!r} matches every host of a top-level domain; use at least two labels, as in "
            "https://*.example.org."
        )
    return found


def _is_own(origin: Origin, host: str) -> bool:
    """Whether the Host header, with the default port of the origin's scheme, equals the origin's authority."""
    if origin.scheme not in DEFAULT_PORTS:
        return False
    name = host.lower()
    if ":" not in name.rpartition("]")[2]:
        name = f"{name}:{DEFAULT_PORTS[origin.scheme]}"
    return origin.authority == name
