"""Development mode: without configured keys, the server generates one and issues tokens to its page.

The token route gives full control of the server. Therefore the server listens on loopback only, and the route accepts
requests from this machine only: it checks for a loopback `Host` (against DNS rebinding) and for the server's own `Origin`
(against other pages).
"""

import ipaddress
import secrets
import time
from urllib.parse import urlsplit

from sfu.api.ports import RoomsPort
from sfu.api.schemas import DevelopmentToken, DevelopmentTokenRequest
from sfu.api.settings import Settings
from sfu.auth.grants import VideoGrants
from sfu.auth.origins import Origins
from sfu.auth.tokens import mint
from sfu.errors import ConfigurationError, NotAuthorized, NotFound

KEY_NAME = "development"
LIFETIME = 21_600.0
MESSAGE = "Development mode: no keys are configured. Everyone on this machine can join every room with any identity."
OWN_ORIGIN = Origins()
"""Ignores `http.allowed_origins`: pages that may use the API must not obtain development tokens."""
LOOPBACK = ("127.0.0.1", "::1")
ALL_ADDRESSES = ("0.0.0.0", "::")


class Development:
    """Issues tokens with a random key, which is valid until the server stops."""

    def __init__(self, secret: str = "") -> None:
        """`secret`: the key that the workers of a server share; empty: a random one."""
        self.secret = secret or secrets.token_urlsafe(32)

    @property
    def keys(self) -> dict[str, str]:
        """The key for the Verifier."""
        return {KEY_NAME: self.secret}

    def token(self, asked: DevelopmentTokenRequest, rooms: RoomsPort) -> DevelopmentToken:
        identity = asked.identity or f"guest-{secrets.token_hex(4)}"
        admin = _lacks_admin(asked.room, rooms) if asked.admin is None else asked.admin
        now = time.time()
        grants = VideoGrants(
            room=asked.room,
            room_join=True,
            room_create=admin,
            room_list=admin,
            room_admin=admin,
            room_record=admin,
            room_egress=admin,
        )
        token = mint(
            KEY_NAME,
            self.secret,
            identity=identity,
            name=asked.name,
            video=grants,
            now=now,
            lifetime=LIFETIME,
            token_id=secrets.token_hex(16),
        )
        return DevelopmentToken(token=token, identity=identity, expires_at=now + LIFETIME)


def _lacks_admin(room: str, rooms: RoomsPort) -> bool:
    try:
        return not any(participant.permissions.admin for participant in rooms.find(room).members)
    except NotFound:
        return True


def check_local(host: str | None, origin: str | None, remote: str | None) -> None:
    """Checks a request's Host and Origin headers and its address. Raises NotAuthorized unless all are local."""
    if not host or not _is_loopback(_hostname(f"http://{host}")):
        raise NotAuthorized("Development tokens are for pages at http://localhost only.")
    if origin is not None and not OWN_ORIGIN.accepts(origin, host):
        raise NotAuthorized("Development tokens are for this server's own page only.")
    if remote is None or not _is_loopback(remote):
        raise NotAuthorized("Development tokens are for this machine only.")


def listen_addresses(settings: Settings, *, development: bool) -> tuple[str, ...]:
    """Addresses to listen on; this machine may lack all but the first.

    Raises ConfigurationError for a non-loopback address in development mode.
    """
    if not development:
        return (settings.host,) if settings.host else ALL_ADDRESSES
    if not settings.host:
        return LOOPBACK
    if not _is_loopback(settings.host):
        raise ConfigurationError(
            f"http.host is {settings.host}, but without auth.keys the server issues tokens to every client and therefore "
            "listens on 127.0.0.1 only. Configure a key (`openssl rand -base64 32` creates a secret) or unset http.host."
        )
    return LOOPBACK if settings.host == "localhost" else (settings.host,)


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
