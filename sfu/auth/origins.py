"""Which web pages may talk to this server: one rule for the WebSocket and for CORS.

A browser sends `Origin` (RFC 6454) with every WebSocket and every foreign request and no page can forge it; programs
send none, and are held by their token alone.
"""

from urllib.parse import urlsplit

from sfu.errors import ConfigurationError


class Origins:
    """The server's own origin is always allowed; others by the list, where `*` allows all."""

    __slots__ = ("_allowed", "_any")

    def __init__(self, allowed: tuple[str, ...] = ()) -> None:
        """Raises ConfigurationError for an entry that is no origin, such as one with a path."""
        self._any = "*" in allowed
        self._allowed = frozenset(_normalized(entry) for entry in allowed if entry != "*")

    def accepts(self, origin: str | None, host: str | None) -> bool:
        """`origin` and `host`: the request's headers; `origin` None when it has none.

        The scheme of the own origin is not compared: behind a proxy that ends TLS the server does not know it.
        """
        if origin is None or self._any:
            return True
        try:
            normal = _normalized(origin)
        except ConfigurationError:
            return False
        return normal in self._allowed or (bool(host) and _authority(normal) == _own_authority(normal, host or ""))


def _normalized(origin: str) -> str:
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query or parts.username:
        raise ConfigurationError(
            f"http.allowed_origins: {origin!r} is no origin; write scheme and host, as in https://meet.example.org."
        )
    standard = 443 if parts.scheme == "https" else 80
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port or standard}"


def _authority(normal: str) -> str:
    return normal.partition("://")[2]


def _own_authority(normal: str, host: str) -> str:
    """The Host header with the port that the origin's scheme would imply."""
    name = host.lower()
    if ":" in name.rpartition("]")[2]:
        return name
    return f"{name}:{443 if normal.startswith('https:') else 80}"
