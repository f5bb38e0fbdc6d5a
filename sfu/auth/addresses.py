"""Client addresses behind trusted reverse proxies, for limits, logs and development mode.

A proxy appends the address of its peer to `X-Forwarded-For` or `Forwarded` (RFC 7239), in the same line or in a further
line (RFC 9110 5.3: both form one list). Entries to the left of those from trusted proxies may be forged. Therefore the
list is read from its end: the first hop that is not a trusted proxy is the client.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

HEADERS = ("X-Forwarded-For", "Forwarded")
UNKNOWN = "unknown"
"""Client of a hop that is not an address, such as `unknown` or `_hidden` (RFC 7239 6). All of these count as one client."""
MAX_HOPS = 32
"""Maximum hops that are read, from the end."""

MAX_LENGTH = 2048
"""Maximum characters of `Forwarded` that are read, from the end."""

_FOR = re.compile(r'[ \t]*for[ \t]*=[ \t]*("[^"]*"|[^"]*)[ \t]*', re.IGNORECASE)
_PORT = r"(?::(?:\d{1,5}|_[A-Za-z0-9._-]+))?"
_BRACKETED = re.compile(rf"\[([0-9A-Fa-f:.]+)\]{_PORT}", re.ASCII)
_WITH_PORT = re.compile(rf"([0-9.]+){_PORT}", re.ASCII)


class ClientAddresses:
    """Determines the client address of a request. Stateless apart from its settings."""

    __slots__ = ("_any_peer", "_headers", "_proxies")

    def __init__(self, proxies: Iterable[Network] = (), *, header: str = "", any_peer: bool = False) -> None:
        """`header`: the only header to read; empty: X-Forwarded-For, or Forwarded if that is absent.

        `any_peer`: every peer counts as a proxy. Safe only if a firewall lets the proxy alone reach the port.
        """
        self._proxies = tuple(proxies)
        self._headers = (header,) if header else HEADERS
        self._any_peer = any_peer

    def is_proxy(self, peer: str) -> bool:
        """Whether forwarding headers from this peer are trusted."""
        return self._any_peer or self.trusts(peer)

    def trusts(self, address: str) -> bool:
        """Whether the address is in a network of trusted proxies."""
        return self._trusts(parse_address(address))

    def client(self, peer: str, headers: Iterable[tuple[str, str]]) -> str:
        """The client's address: the peer itself unless it is a proxy; the leftmost hop if all hops are trusted proxies.

        `peer`: remote address of the connection. `headers`: names and values of all header lines.
        """
        if not self.is_proxy(peer):
            return peer
        found = ""
        for hop in self._hops(list(headers)):
            address = parse_address(hop)
            if address is None:
                return UNKNOWN
            found = str(address)
            if not self._trusts(address):
                return found
        return found or peer

    def _trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._proxies)

    def _hops(self, headers: Sequence[tuple[str, str]]) -> Iterator[str]:
        """Hops from last to first."""
        for wanted in self._headers:
            lines = [value for name, value in headers if name.lower() == wanted.lower()]
            if lines:
                hops = _for_parameters(lines) if wanted == "Forwarded" else _elements(lines)
                yield from (hop for _, hop in zip(range(MAX_HOPS), hops, strict=False))
                return


def parse_address(address: str) -> Address | None:
    """Parses an address, also `1.2.3.4:80`, `[::1]`, `[::1]:80` and quoted forms. Returns IPv4 for IPv4-mapped addresses
    and None for text that is not an address."""
    text = address.strip().strip('"')
    if found := _BRACKETED.fullmatch(text) or _WITH_PORT.fullmatch(text):
        text = found[1]
    try:
        address_ = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address_, "ipv4_mapped", None) or address_


def limit_key(address: str) -> str:
    """The key under which limits count an address. An IPv6 /64 counts as one: it is the usual allocation of one customer."""
    found = parse_address(address)
    if found is None:
        return address
    return str(found) if found.version == 4 else str(ipaddress.ip_network((int(found), 64), strict=False))


def _elements(lines: Sequence[str]) -> Iterator[str]:
    """Non-empty elements of the list (RFC 9110 5.6.1), from last to first."""
    for line in reversed(lines):
        for element in reversed(line.rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
            if element.strip():
                yield element.strip()


def _for_parameters(lines: Sequence[str]) -> Iterator[str]:
    """`for` parameters (RFC 7239 4), from last to first; UNKNOWN for an element without one."""
    for element in _split(",".join(lines)[-MAX_LENGTH:], ","):
        if element.strip():
            found = next(filter(None, map(_FOR.fullmatch, _split(element, ";"))), None)
            yield found[1].strip() if found else UNKNOWN


def _split(text: str, separator: str) -> Iterator[str]:
    """Pieces of `text` from last to first. Ignores separators in quoted strings (RFC 9110 5.6.4): a proxy quotes values that
    clients choose, such as `host`. Reads from the end, so an unbalanced quote from a client does not affect later hops.
    """
    end, quoted = len(text), False
    for position in range(len(text) - 1, -1, -1):
        char = text[position]
        if char == '"' and not (quoted and _is_escaped(text, position)):
            quoted = not quoted
        elif char == separator and not quoted:
            yield text[position + 1 : end]
            end = position
    yield text[:end]


def _is_escaped(text: str, position: int) -> bool:
    before = text[:position]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1
