"""Which addresses are public, for requests that the server makes to destinations that users or operators name."""

import ipaddress
from typing import Final

_IPV4_EMBEDDING_PREFIXES: Final = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "::/96")))
"""Prefixes with an embedded IPv4 address: NAT64 (RFC 6052 2.1) and IPv4-compatible IPv6 (RFC 4291 2.5.5.1)."""


def is_public(address: str) -> bool:
    """Whether the address is public and unicast. An embedded IPv4 address decides for the IPv6 address around it."""
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        if found.is_site_local or found.teredo:
            return False
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and any(found in prefix for prefix in _IPV4_EMBEDDING_PREFIXES):
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast and not found.is_reserved
