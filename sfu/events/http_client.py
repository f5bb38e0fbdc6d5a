"""HTTP POST to a webhook receiver: no redirects, no private addresses, TLS verified, bounded in time and size.

The address is checked where the socket is created, so what is checked is what is connected to, for literal addresses and for
each address that a name resolves to.
"""

import ipaddress
import socket
import ssl
from dataclasses import dataclass

import aiohttp
from aiohttp.typedefs import StrOrURL

from sfu import __version__
from sfu.auth.public_addresses import is_public

RESPONSE_LIMIT = 65_536
"""Bytes of a response that are read, so that the connection can be used again; the content is ignored."""
HEADERS = {"Content-Type": "application/webhook+json", "User-Agent": f"aiosfu/{__version__}"}
KEEPALIVE = 30.0
"""Seconds that an idle connection stays open."""
DNS_LIFETIME = 30
"""Seconds that resolved addresses are kept."""


class PrivateAddressError(OSError):
    pass


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    "0: no response."
    problem: str = ""
    "Why the delivery failed; never contains the URL. Empty: delivered."
    retry_after: float = 0.0
    "Seconds, as the receiver asks; 0: it does not."


class WebhookClient:
    """Connections to one receiver. Create it on the event loop."""

    def __init__(self, *, private: bool, timeout: float, connections: int) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections,
                keepalive_timeout=KEEPALIVE,
                ttl_dns_cache=DNS_LIFETIME,
                socket_factory=_any_socket if private else _public_socket,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout),
            headers=HEADERS,
            auto_decompress=False,
        )

    async def post(self, url: StrOrURL, body: bytes, authorization: str) -> Response:
        headers = {"Authorization": authorization}
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                content = response.content
                left = RESPONSE_LIMIT
                while left > 0 and (chunk := await content.read(left)):
                    left -= len(chunk)
                if not content.at_eof():
                    response.close()
                return _judged(response.status, response.headers.get("Retry-After", ""))
        except TimeoutError:
            return Response(0, "no response in time")
        except aiohttp.ClientConnectorCertificateError:
            return Response(0, "the TLS certificate is not valid for this host")
        except (aiohttp.ClientConnectorError, aiohttp.ClientSSLError) as error:
            return Response(0, _connection_problem(error.os_error))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Response(0, f"the connection failed ({type(error).__name__})")

    async def close(self) -> None:
        await self._session.close()


def _judged(status: int, retry_after: str) -> Response:
    if 200 <= status < 300:
        return Response(status)
    words = "; redirects are not followed" if 300 <= status < 400 else ""
    seconds = float(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 9 else 0.0
    return Response(status, f"status {status}{words}", seconds)


def _connection_problem(error: OSError) -> str:
    if isinstance(error, PrivateAddressError) or "private address" in str(error):
        return "private address; events.webhooks.private is off"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or 'handshake'})"
    if isinstance(error, socket.gaierror):
        return "the host name does not resolve"
    return f"no connection ({error.strerror or type(error).__name__})"


def _any_socket(address: tuple[object, ...]) -> socket.socket:
    family, kind, protocol = address[:3]
    assert isinstance(family, int)
    assert isinstance(kind, int)
    assert isinstance(protocol, int)
    return socket.socket(family, kind, protocol)


def _public_socket(address: tuple[object, ...]) -> socket.socket:
    """Raises PrivateAddressError."""
    target = address[4]
    assert isinstance(target, tuple)
    try:
        public = is_public(str(target[0]))
    except ipaddress.AddressValueError:
        public = False
    if not public:
        raise PrivateAddressError("private address")
    return _any_socket(address)
