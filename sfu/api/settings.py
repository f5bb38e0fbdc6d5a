"""Settings of the HTTP server. Page, signalling WebSocket, admin API and probes share one port."""

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
    "Address to listen on; empty: all addresses, or loopback only in development mode."
    port: Annotated[int, Meta(ge=0, le=65_535)] = 7880
    "TCP port; 0: any free port."
    tls_certificate: str = ""
    "Path of the certificate chain (PEM). With `tls_key`, the server terminates TLS itself. SIGHUP reloads both files."
    tls_key: str = ""
    "Path of the certificate's private key (PEM)."
    allowed_origins: tuple[str, ...] = ()
    """Further origins of web pages and apps that may use the WebSocket and the API: `https://meet.example.org`,
    `capacitor://localhost`, `null`; `https://*.example.org`: every subdomain; `*`: all origins."""
    base_path: str = ""
    """Path prefix behind a reverse proxy, such as `/meet`. URLs in API responses contain it. The server accepts requests with
    and without it, so the proxy may strip it."""
    request_header_timeout: Annotated[float, Meta(gt=0)] = 5.0
    "Seconds to receive a complete request head, from the connection's start or from the first byte of a later request."
    keepalive_timeout: Annotated[float, Meta(gt=0)] = 75.0
    "Seconds that an idle connection stays open; must exceed the keep-alive timeout of a reverse proxy in front."
    max_connections: Annotated[int, Meta(ge=1)] = 20_000
    "Maximum open connections, WebSockets and viewers included; further connections get 503."
    connections_per_address: Annotated[int, Meta(ge=1)] = 1_000
    "Maximum connections per client address (IPv6: per /64); further ones get 429. Trusted proxies are counted per client."
    trusted_proxies: tuple[str, ...] = (
        "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1", "fc00::/7",
    )  # fmt: skip
    """Trusted reverse proxies and NAT gateways. Their connections are not limited per address, and their forwarding header
    determines the client address."""
    forwarded_header: Literal["", "X-Forwarded-For", "Forwarded"] = ""
    """Header in which trusted proxies name the client; empty: `X-Forwarded-For`, or `Forwarded` if that is absent. Set it if
    your proxy forwards the other header unchanged from clients."""
    body_limit_bytes: Annotated[int, Meta(ge=1024)] = 65_536
    "Maximum size of a request body."
    reuse_port: bool = False
    "Share the port with other processes (SO_REUSEPORT), as worker processes do."
    metrics: bool = True
    "Serve `/metrics`."
    metrics_behind_proxy: bool = True
    "Serve `/metrics` also to requests with `Forwarded`, `X-Forwarded-For` or `Via`; if false, these get 404."

    def __post_init__(self) -> None:
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ConfigurationError("http.tls_certificate and http.tls_key must be set together.")
        if not _BASE_PATH.fullmatch(self.base_path):
            raise ConfigurationError(
                f"http.base_path: {self.base_path!r} is not a valid path; use a leading slash and no trailing slash, as in "
                "/meet, or leave it empty."
            )
        for network in self.trusted_proxies:
            try:
                ipaddress.ip_network(network)
            except ValueError:
                raise ConfigurationError(
                    f"http.trusted_proxies: {network!r} is not an address or network; use the form 10.0.0.0/8."
                ) from None

    @property
    def proxy_networks(self) -> tuple[Network, ...]:
        return tuple(ipaddress.ip_network(network) for network in self.trusted_proxies)
