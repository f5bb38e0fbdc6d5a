"""Settings of the HTTP server: page, signalling socket, admin API and probes share its one port."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from sfu.errors import ConfigurationError

_BASE_PATH = re.compile(r"(?:/(?!\.\.?(?:/|$))[A-Za-z0-9._~-]+)*", re.ASCII)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    host: str = ""
    "Address to listen on; empty: every address, or only 127.0.0.1 in development mode."
    port: Annotated[int, Meta(ge=0, le=65_535)] = 7880
    "TCP port; 0 takes any free one."
    tls_certificate: str = ""
    "Path of the certificate chain (PEM). With `tls_key` the server speaks HTTPS itself; both are read again on SIGHUP."
    tls_key: str = ""
    "Path of the certificate's private key (PEM)."
    allowed_origins: tuple[str, ...] = ()
    """Origins of web pages and apps that may use the socket and the API besides the server's own: `https://meet.example.org`,
    `capacitor://localhost`, `null`; `https://*.example.org` for every subdomain; `*` for all."""
    base_path: str = ""
    """Path below which a reverse proxy serves everything, such as `/meet`. It is in addresses that the API gives out; requests
    are answered with it and without it, so the proxy may strip it."""
    request_header_timeout: Annotated[float, Meta(gt=0)] = 5.0
    "Seconds that a client has to send the whole head of its first request, or of a next one once it began."
    keepalive_timeout: Annotated[float, Meta(gt=0)] = 75.0
    "Seconds that an idle connection stays open; longer than that of a reverse proxy in front."
    max_connections: Annotated[int, Meta(ge=1)] = 20_000
    "Connections open at once, WebSockets and viewers included; further ones are refused with 503."
    connections_per_address: Annotated[int, Meta(ge=1)] = 1_000
    "Connections of one address (IPv6: one /64); further ones are refused with 429. A proxy's are not counted by its own."
    trusted_proxies: tuple[str, ...] = (
        "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1", "fc00::/7",
    )  # fmt: skip
    """Trusted reverse proxies and NAT gateways. Their connections are not limited per address, and the header that they
    forward determines the client address."""
    forwarded_header: Literal["", "X-Forwarded-For", "Forwarded"] = ""
    """Header in which trusted proxies name the client; empty: `X-Forwarded-For`, or `Forwarded` where that is missing. Name it
    if your proxy passes on the other one as clients send it."""
    body_limit_bytes: Annotated[int, Meta(ge=1024)] = 65_536
    "Larger request bodies are refused."
    metrics: bool = True
    "Serve `/metrics`."
    metrics_behind_proxy: bool = True
    "Also to whoever comes through a proxy, known by its `Forwarded`, `X-Forwarded-For` or `Via`; if not, that is a 404."

    def __post_init__(self) -> None:
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ConfigurationError("http.tls_certificate and http.tls_key belong together: set both or none.")
        if not _BASE_PATH.fullmatch(self.base_path):
            raise ConfigurationError(
                f"http.base_path: {self.base_path!r} is no path; write it with a slash in front and none behind, as in /meet, "
                "or leave it empty."
            )
        for words in self.trusted_proxies:
            try:
                ipaddress.ip_network(words)
            except ValueError:
                raise ConfigurationError(
                    f"http.trusted_proxies: {words!r} is no address or network; write them as 10.0.0.0/8."
                ) from None

    @property
    def proxy_networks(self) -> tuple[Network, ...]:
        return tuple(ipaddress.ip_network(words) for words in self.trusted_proxies)
