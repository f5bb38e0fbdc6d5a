"""Time-limited credentials for TURN servers with a shared secret ("TURN REST API", draft-uberti-behave-turn-rest-00).

The user name contains its expiry time, so the TURN server needs no user database. coturn (`use-auth-secret`) and STUNner
(`ephemeral`) support the scheme.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from sfu.errors import ConfigurationError

SCHEMES = ("turn:", "turns:", "stun:", "stuns:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    urls: tuple[str, ...] = ()
    "URLs of TURN servers for clients, e.g. `turns:turn.example.org:443?transport=tcp`; requires `turn.secret`."
    secret: str = field(default="", repr=False, metadata={"secret": True})
    "Secret shared with the TURN servers."
    lifetime: Annotated[float, Meta(ge=60, le=86_400)] = 600.0
    "Seconds during which TURN credentials can open an allocation; existing allocations outlive them."

    def __post_init__(self) -> None:
        for url in self.urls:
            if not url.startswith(SCHEMES):
                raise ConfigurationError(f"turn.urls: {url!r} must start with turn:, turns:, stun: or stuns:.")
        if any(url.startswith("turn") for url in self.urls) and not self.secret:
            raise ConfigurationError(
                "turn.urls requires turn.secret (or turn.secret_file), from which credentials are derived."
            )


@dataclass(frozen=True, slots=True)
class Credentials:
    username: str
    password: str


def credentials(secret: str, name: str, now: float, lifetime: float) -> Credentials:
    """Credentials valid for `lifetime` seconds from `now` (Unix time). `name`: an opaque id for the TURN server's log."""
    username = f"{int(now + lifetime)}:{name}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return Credentials(username, base64.b64encode(digest).decode())
