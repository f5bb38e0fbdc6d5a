"""Credentials for TURN servers that share a secret with this one ("TURN REST API", draft-uberti-behave-turn-rest-00).

The user name is the time at which it expires, so that the TURN server needs no list of users; coturn's `use-auth-secret`
and STUNner's `ephemeral` know the scheme.
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
    "TURN servers that clients are told of at join, e.g. `turns:turn.example.org:443?transport=tcp`; with `turn.secret`."
    secret: str = field(default="", repr=False, metadata={"secret": True})
    "The secret that the TURN servers share with this one."
    lifetime: Annotated[float, Meta(ge=60, le=86_400)] = 600.0
    "Seconds that a client's TURN credentials can be used to begin with; what has begun goes on."

    def __post_init__(self) -> None:
        for url in self.urls:
            if not url.startswith(SCHEMES):
                raise ConfigurationError(f"turn.urls: {url!r} should begin with turn:, turns: or stun:.")
        if any(url.startswith("turn") for url in self.urls) and not self.secret:
            raise ConfigurationError(
                "turn.urls needs turn.secret (or turn.secret_file), from which credentials are made."
            )


@dataclass(frozen=True, slots=True)
class Credentials:
    username: str
    password: str


def credentials(secret: str, name: str, now: float, lifetime: float) -> Credentials:
    """For `name` (an opaque id, for the TURN server's log) from `now`, seconds since 1970."""
    username = f"{int(now + lifetime)}:{name}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return Credentials(username, base64.b64encode(digest).decode())
